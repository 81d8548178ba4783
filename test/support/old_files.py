"""Files that older versions wrote, from test/data/old_files."""

import lzma
from pathlib import Path

from support.paths import ROOT

OLD = ROOT / "test" / "data" / "old_files"


def unpack(name: str, folder: Path) -> Path:
    """A packed file, where a user has it."""
    path = folder / Path(name).name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.decompress((OLD / f"{name}.xz").read_bytes()))
    return path
