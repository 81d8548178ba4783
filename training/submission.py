"""Result files as KITTI's test server takes them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from add_model.atomic_io import write_atomically

NAME = "submission.zip"


def write_submission(results: Path) -> Path:
    """Put a folder's result files into an archive without folders, beside it; returns its path.

    The same results give the same bytes.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(results.glob("*.txt")):
            file.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    write_atomically(results.parent / NAME, archive.getvalue())
    return results.parent / NAME
