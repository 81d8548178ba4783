"""Tracks from detections: who is who from image to image, smoothed, with velocity where the camera's motion is known.

`Tracker` is all that others need: a Kalman filter over all tracks at once (`kalman`), headings whose front and back may
be mixed up (`heading`), who is who (`association`), and the frame in which all of it lives (`anchor`).
"""

from add_model.tracking.colours import track_colour
from add_model.tracking.settings import MotionModel, TrackerSettings
from add_model.tracking.tracker import Tracker
from add_model.tracking.tracks import Tracks

__all__ = ["MotionModel", "Tracker", "TrackerSettings", "Tracks", "track_colour"]
