"""Files as they come from other systems: texts of any Unicode encoding, and what the systems leave beside them."""

from __future__ import annotations

import codecs
from pathlib import Path

# Longer marks first: UTF-32's begins with UTF-16's.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LEFT_BEHIND = {"thumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "__macosx", "@eadir", "lost+found"}


def is_left_behind(name: str) -> bool:
    """Whether a file or folder is hidden (macOS's ._NAME and .DS_Store), Windows' own or a disk's: never data."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def decode_text(data: bytes, errors: str = "strict") -> str:
    """Text by its byte order mark, else UTF-8, with line ends of \\n alone.

    Raises UnicodeDecodeError where errors is 'strict' and the bytes are no such text.
    """
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    if encoding is None:  # Windows' editors may leave out the mark
        encoding = {(True, False): "utf-16-be", (False, True): "utf-16-le"}.get(_zeros(data), "utf-8")
    return data.decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: str | Path) -> str:
    """The text of a file; bytes that are none become replacement characters, which its reader then names."""
    return decode_text(Path(path).read_bytes(), "replace")


def _zeros(data: bytes) -> tuple[bool, bool]:
    """Whether all even bytes of the start are 0, and whether all odd ones are."""
    start = data[:64]
    return bool(start[::2]) and not any(start[::2]), bool(start[1::2]) and not any(start[1::2])
