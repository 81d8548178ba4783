"""What a training looks at before its first step: labels alone, of some frames."""

from __future__ import annotations

from collections.abc import Sequence

from training.data.frame_sources import LabelledFrames
from training.data.inspection.judgement import judge
from training.data.inspection.survey import Survey
from training.errors import DataSetError
from training.spread import spread

_FRAMES = 200


def require_sound(folders: Sequence[LabelledFrames]) -> None:
    """Look at some labels of each folder. Raises DataSetError for faults that make training useless."""
    for frames in folders:
        survey = Survey()
        for index in spread(len(frames), _FRAMES):
            survey.add(frames.ids[index], frames.objects(index), frames.camera(index), None)
        # Doubtful calibrations are in the folder's notes, and may be trusted.
        if found := judge(survey, {}, [], {}).faults:
            raise DataSetError(f"{frames.folder}: {'; '.join(found)}. add-ros data check shows more")


def shared_frames(train: LabelledFrames, val: LabelledFrames) -> str | None:
    """A sentence where frames to validate on are trained on, else None."""
    shared = sorted(set(train.ids) & set(val.ids)) if train.folder == val.folder else []
    if not shared:
        return None
    return f"{len(shared)} of {len(val)} frames to validate on are trained on ({shared[0]}): their scores say little"
