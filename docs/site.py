"""What `make docs` adds to MkDocs: pages from outside docs/, with links that lead from one to the other."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# Where a page of the site comes from, if not from docs/.
OUTSIDE = {
    "readme.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "reporting.md": "SECURITY.md",
    "model_card.md": "add_model/weights/README.md",
}
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside."""
    for name, source in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Make links lead to where their target lies in the site."""
    here = page.file.src_uri
    source = OUTSIDE.get(here, f"docs/{here}")

    def lead(link: re.Match[str]) -> str:
        target = link[2]
        if re.match(r"[a-z]+:", target):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        inside = {v: k for k, v in OUTSIDE.items()}.get(path)
        if inside is None and path.startswith("docs/"):
            inside = path.removeprefix("docs/")
        if inside is None:
            return link[0]  # MkDocs warns of it
        relative = os.path.relpath(inside, posixpath.dirname(here) or ".")
        return f"{link[1]}{relative}{link[3] or ''}{link[4]}"

    return _LINK.sub(lead, markdown)
