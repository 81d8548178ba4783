"""Images that are in two splits: the same files, or the same picture encoded again."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from training.data.inspection.survey import compared_splits

_SIDE = 16  # pixels
_ENCODED_APART = 12  # bits of a fingerprint by which two encodings of one picture may differ
_FLAT = 2.0  # grey levels of deviation below which a picture has nothing to compare


def fingerprint(image: np.ndarray) -> bytes | None:
    """What two encodings of one picture (H, W, 3) have in common: the signs of a small image's steps to the right.

    None of a picture without contrast.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if small.std() < _FLAT:
        return None
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes()


def across_splits(prints: dict[str, bytes | None], splits: dict[str, list[str]]) -> list[str]:
    """A sentence for each two splits that share pictures.

    Args:
        prints: frame -> its fingerprint.
        splits: name -> frames.
    """
    found = []
    for a, b in compared_splits(splits):
        pairs = list(_pairs(prints, splits[a], splits[b]))
        if pairs:
            shown = ", ".join(f"{one} and {other}" for one, other in pairs[:3])
            more = ", ..." if len(pairs) > 3 else ""
            found.append(f"{len(pairs)} pictures of {b} are in {a} too ({shown}{more}): their scores say little")
    return found


def _pairs(prints: dict[str, bytes | None], first: list[str], second: list[str]) -> Iterable[tuple[str, str]]:
    known = [(name, prints[name]) for name in first if prints.get(name)]
    if not known:
        return
    table = np.unpackbits(np.frombuffer(b"".join(code for _, code in known), np.uint8).reshape(len(known), -1), axis=1)
    table = table.astype(np.int16)
    for name in second:
        code = prints.get(name)
        if code is None or name in first:
            continue
        apart = np.abs(table - np.unpackbits(np.frombuffer(code, np.uint8))).sum(axis=1)
        if apart.min() <= _ENCODED_APART:
            yield known[int(apart.argmin())][0], name
