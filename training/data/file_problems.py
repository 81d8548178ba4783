"""What is wrong with the files of a data set, gathered by kind, so that one message names all of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from training.errors import DataSetError

_LISTED = 10  # files that an error names per kind of problem


@dataclass
class FileProblems:
    """kinds: kind of problem -> the files that have it. frames: those that cannot be used."""

    kinds: dict[str, list[str]] = field(default_factory=dict)
    frames: set[str] = field(default_factory=set)

    def note(self, kind: str, frame: str, text: str) -> None:
        """Take one problem of a frame; `text` names the file and what is wrong with it."""
        self.kinds.setdefault(kind, []).append(text)
        self.frames.add(frame)

    def report(self, folder: Path, count: int, hints: tuple[str, ...] = ()) -> str:
        """What is wrong with the files of `count` frames in a folder, which it names once, for people."""
        lines = [f"{folder}: {len(self.frames)} of {count} frames cannot be used"]
        for kind, files in sorted(self.kinds.items()):
            lines.append(f"  {kind} ({len(files)}):")
            lines += [f"    {file}".replace(f"{folder}/", "") for file in files[:_LISTED]]
            if len(files) > _LISTED:
                lines.append(f"    ... and {len(files) - _LISTED} more")
        return "\n".join([*lines, *hints])

    def require_none(self, folder: Path, count: int) -> None:
        """Raise DataSetError where there is any."""
        if self.kinds:
            raise DataSetError(self.report(folder, count, ("Download these files again.",)), self.kinds)
