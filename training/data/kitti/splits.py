"""Lists of frame ids: text files, and the published split of KITTI's object training set.

The 3712 training and 3769 validation frames are the ones that nearly every publication since Chen et al.,
'3D Object Proposals for Accurate Object Class Detection' (NeurIPS 2015) uses. No drive is in both parts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.text_files import read_text

PUBLISHED = ("chen_train", "chen_val", "trainval")
_FRAMES = 7481
_SHOWN = 10  # ids in a line
# Bit i, most significant first: frame i is in the training part, otherwise in the validation part.
_CHEN_TRAIN = (
    "917ee226aa5e53c89ff1bf99dd47f1d574a6ee36be18f8c442a6e35e58c2dc07f4913ca78bb9a24e2632728c4219930896008638e5e1"
    "f36d40aef32039a04e516ab65b7896cc3427faf0ef37c0c715c6d25e87e9dac7e54557f19a2d339457b821cdfd6d00876edef92615ec"
    "fb80b3b9af6a634d47c47335a4896a16fedc40c98feacdc8de80e1e53c2946856aa042210dcef304e20cecf919154281a0a2800fb4a4"
    "7e07d9ff812d0d26ebf43142e9fec66b6e68894fdadaf93a3eb9e693907a1d8b6b52b92c805349da2baa8f6add550def47b9a908189c"
    "b3f1986dd36550cfcb16799436ef756048e3693053973bfe6021309f5e7cb7841ae21741a9a3c1c1151df68498a9f0e62d264e05fe3c"
    "291baca7b71cbe47331ee94c95df7244c0c645ce7a951307b2d897540e38f3ecc4331e5ddc90ff90ed56a41af63905c2d771c314b21d"
    "dc05f2eb94a531eb3adb8b39d06dc82b101eb5032922f2fecb933184d7c4b6307b5acfe02b8070b6d2f35cbd26a805ed0d368a20cfed"
    "280dcc50598e975e5d68c955f4a83915b69ad4a0ed5ac6cd2912365ec4af9b672f76511524c3cf9acc29f05aef9f828007a9914fee1b"
    "7b08dd06063c5eea360eee6d18cf69f477ff322d50680feab2c9e2f0c707fca664ed7e0fc4a7c7ae89e79d5225f5c5cbbef567591c29"
    "c589abc765e59e95f59396b15f75060f7bc7151b2eea375a8aa65320b0110714f1010760ffa0e7d898f0577a8d0c66fce91308c28a5c"
    "a49e14b13f4619be363184fcc0198866d555b94f088979f6b23c05f1e2b3dc1959a2f4ef06d55915760697833e482087908111d48417"
    "36c51b3ce47a74c839b86eed07c0668fba625c2bd93424d843944dfd6a91849758ab57513b901c25081dd8fab13f127a422ba1845461"
    "30d8bdf989c99315ae75e68656b70f62248b1818a9fe69268b98fff3fafcc8dba213c38e1294bcdfbccfeb65551e6079c33141e70fdb"
    "0ebc8c4f934573336abec6431bf22e620edb4bffbc0d9728e7c1cbde2ff42f7bb48ab1e2881088eacf636d8b96d917d28b117e409480"
    "5590c4c9e87a14cdc188db6f5657aa3b3d8dc5d75aede33d749fde89055c7fb19f4397e1c432837507a39687e88e360f8211e1fd3109"
    "856b1e87423380b5f2a52b1d18d523c7e1de1311ae8e4749d0d9f05af80e69a19b2e041243909a5164624df333a69054d51692ae82c5"
    "9bdb5f1c3586576b91e95a69446cc019ce326aa254022ed6f96a5bc24f1bd9813514efdc1254aba92d54f2518e086605e478ecc88f2c"
    "283e77ac303ae18a82605d825a1b5c41a900"
)


def published_split(name: str) -> list[str]:
    """The six-digit ids of 'chen_train' (3712), 'chen_val' (3769) or 'trainval' (both), ascending.

    Raises ValueError on other names.
    """
    if name not in PUBLISHED:
        raise ValueError(f"no published split is called {name!r}; there are {', '.join(PUBLISHED)}")
    if name == "trainval":
        return [f"{i:06d}" for i in range(_FRAMES)]
    train = np.unpackbits(np.frombuffer(bytes.fromhex(_CHEN_TRAIN), np.uint8))[:_FRAMES].astype(bool)
    return [f"{i:06d}" for i in np.flatnonzero(train if name == "chen_train" else ~train)]


def read_ids(source: str | Path, root: str | Path = "") -> list[str]:
    """The ids of a text file, one a line, in their order; or those of a published split.

    Blank lines and lines that start with '#' are passed over.

    Args:
        source: the file, by its path from here or from the root, or the split's name.
        root: the folder of the data set.

    Raises:
        ValueError: where the file has no ids, two on a line or the same one twice.
        FileNotFoundError: where it does not exist.
    """
    if str(source) in PUBLISHED:
        return published_split(str(source))
    path = Path(source) if Path(source).is_file() else Path(root, source)
    if not path.is_file():
        there = f" or {path}" if path != Path(source) else ""
        raise FileNotFoundError(
            f"no file of frame ids at {source}{there}; give a text file with one id per line, or one of"
            f" {', '.join(PUBLISHED)}"
        )
    lines: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if len(text.split()) > 1 or "/" in text or "\\" in text:
            raise ValueError(f"{path}, line {number}: one frame id per line is needed, such as 000123, found {text!r}")
        if text in lines:
            raise ValueError(f"{path}, line {number}: id {text} stands in line {lines[text]} already; remove one")
        lines[text] = number
    if not lines:
        raise ValueError(f"{path}: no frame ids in this file; one id per line is needed, such as 000123")
    return list(lines)


def listed(names: list[str]) -> str:
    """The names, or the first ones of many, in a line."""
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def lacking(ids: list[str], what: str, lacked: str) -> list[str]:
    """One line, such as '2 frames have no scan: 000002, 000005'; none where there are no ids."""
    return [f"{len(ids)} {what}{' has' if len(ids) == 1 else 's have'} no {lacked}: {listed(ids)}"] if ids else []
