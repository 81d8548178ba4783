"""nuScenes' official splits by scene: its development kit has them, its files have not."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from training.data.kitti.splits import read_ids
from training.errors import DataSetError

# Bit i, most significant first: scene i is in this part.
_PARTS = {
    "train": (
        "6ff01fffe07ffffffff80000000000ffff3007b7ffbfffdbf9bbfe3affffffffff80001fffffe01e5880001fffffffffeffff7bfffff"
        "fffffff7ddbf80001efff607fff7e00002bfebffff8000000001ffffffffff5fc1edffff03b7fcb787fdc00037801efdde000001ffaf"
        "efdebfffff000000000054dfc001ff8fbfffffffc0000fffe0003ffffffefe"
    ),
    "val": (
        "100fe0001b0000000000000ffffe000000000000000000000000000400000000000ffe0000000000007800e000000000000000000000"
        "0000000000000000000001f8000000fffc0000000000000076fe00000000000000000000000000000000316f803fa000000000000000"
        "0000000000fffdfff000000033d8000000000000000000001fffc000000000"
    ),
    "test": (
        "00000000000000000007fff00001ff00000bf800000000000000000000000000006001e000001fe00007ff0000000000000000000000"
        "0000000000007fffe000000000001f0000000000007bffff800000000000000000000000000000000000000000000000001f7fee0000"
        "00000000000000000dff000000000000000000003ffff00000000000000000"
    ),
}
_MINI = {
    "mini_train": (61, 553, 655, 757, 796, 1077, 1094, 1100),
    "mini_val": (103, 916),
}
SPLITS = (*_PARTS, *_MINI)


def official_scenes(split: str) -> list[str]:
    """The scenes of 'train' (700), 'val' (150), 'test' (150), 'mini_train' (8) or 'mini_val' (2), ascending."""
    if split in _MINI:
        numbers = list(_MINI[split])
    else:
        numbers = np.flatnonzero(np.unpackbits(np.frombuffer(bytes.fromhex(_PARTS[split]), np.uint8))).tolist()
    return [f"scene-{number:04d}" for number in numbers]


def scenes_of(split: str, present: Collection[str], root: Path) -> list[str]:
    """The scenes that a split's name means, or that a text file lists, one name a line.

    Args:
        split: one of `SPLITS`, or a file by its path from here or from `root`.
        present: the scenes that the tables have.
        root: the data set's folder.

    Raises:
        DataSetError: Where there is no such split or file, or the tables have none of its scenes.
    """
    if split in SPLITS:
        wanted = official_scenes(split)
    else:
        path = Path(split) if Path(split).is_file() else root / split
        try:
            wanted = read_ids(path)
        except FileNotFoundError:
            raise DataSetError(
                f"scenes {split!r}: no such file, here or in {root}; give a text file with one scene's name a line, or "
                f"one of {', '.join(SPLITS)}"
            ) from None
        except ValueError as error:
            raise DataSetError(str(error)) from None
    missing = sorted(set(wanted) - set(present))
    if missing:
        raise DataSetError(
            f"{root}: {len(missing)} of the {len(wanted)} scenes of {split} are not in the tables, such as "
            f"{missing[0]}; they have {len(present)} scenes. v1.0-mini has mini_train and mini_val"
        )
    return wanted
