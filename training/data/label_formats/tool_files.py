"""Reading tools' files: JSON, and numbers in it, with errors that name file and object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.data.label_formats.cuboids import LabelFormatError
from training.data.sample import NOT_GIVEN, UNKNOWN
from training.data.text_files import read_text


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises LabelFormatError where it is none."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise LabelFormatError(f"{path}: not JSON: {error}") from None


def numbers(value: Any, keys: Sequence[str] | int, where: str) -> list[float]:
    """The numbers of a mapping by their keys, or of a list of that length.

    Raises LabelFormatError where one is missing or not a finite number.
    """
    if isinstance(keys, int):
        found = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
        found = found if len(found) == keys else []
        wanted = f"a list of {keys} numbers"
    else:
        found = [value.get(key) for key in keys] if isinstance(value, Mapping) else []
        wanted = f"numbers {', '.join(keys)}"
    try:
        result = [float(item) for item in found]
    except (TypeError, ValueError, OverflowError):
        result = []
    if not result or not np.isfinite(result).all():
        raise LabelFormatError(f"{where}: {wanted} needed, got {str(value)[:80]}")
    return result


def matrix(value: Any, where: str) -> np.ndarray:
    """The (3, 3) matrix of a list of rows. Raises LabelFormatError where it is none."""
    rows = value if isinstance(value, list) and len(value) == 3 else [None]
    return np.array([numbers(row, 3, f"{where}, rows of a 3x3 matrix") for row in rows])


def sides(values: Sequence[float], where: str) -> list[float]:
    """The same three numbers, which are sizes. Raises LabelFormatError where one is not above 0."""
    if min(values) <= 0:
        raise LabelFormatError(f"{where}: sizes must be above 0, got {', '.join(f'{v:g}' for v in values)}")
    return list(values)


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """The same value, which has keys. Raises LabelFormatError where it is of another type."""
    if not isinstance(value, Mapping):
        raise LabelFormatError(f"{where}: an object with keys is needed, got {str(value)[:80]}")
    return value


def entry(value: Any, key: str, kind: type, where: str) -> Any:
    """value[key] of a type. Raises LabelFormatError where it is not there, or of another type."""
    found = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(found, kind):
        raise LabelFormatError(f"{where}: '{key}' is missing or no {kind.__name__}")
    return found


def stored_code(values: Mapping[str, Any]) -> int | None:
    """KITTI's code, as this project writes it beside a tool's own value; None where there is none."""
    code = values.get("occlusion_code")
    return code if isinstance(code, int) and not isinstance(code, bool) and NOT_GIVEN <= code <= UNKNOWN else None
