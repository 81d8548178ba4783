"""The synthetic world's public face: frames and drives by number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from add_model.geometry.camera import Camera
from training.data.sample import Sample
from training.data.world import raster, shading, textures
from training.data.world.annotate import annotate
from training.data.world.course import COURSES, Course
from training.data.world.faces import project_faces
from training.data.world.motion import Pose, placements
from training.data.world.placement import Placement
from training.data.world.shading import Light
from training.data.world.street import Street, street

_CAMERA_STREAM = 4
_GROUND_TO = 250.0  # metres: what lies beyond counts as sky; 16-bit depth images end there
_STEEPEST = 5.0  # degrees
_WANDER_SCALE = 18.0  # metres of road over which the camera sways by one radian


@dataclass(frozen=True)
class World:
    """Endless street scenes with exact labels and depth, deterministic by (seed, index). Ranges are uniform.

    width, height:     of the image, pixels
    focal:             focal length in pixels; the default is KITTI's at 1242 x 375
    focal_range:       factor on `focal`, drawn for each street
    principal_range:   shift of the principal point from the image's centre, share of the width
    baseline:          P's fourth column as a translation (x, y, z) in metres: the camera sees a point of the label's
                       frame at point + baseline. The default is KITTI's left colour camera.
    camera_height:     metres above the ground
    pitch, roll:       tilt of the ground against the camera, degrees. Objects stand upright in the camera frame, as
                       KITTI's labels do, each with its bottom on the tilted ground.
    size_spread:       factor on KITTI's standard deviations of object sizes
    size_range:        if given, sizes are instead the class means times a common factor from this range
    reach:             metres beyond which objects are DontCare
    smallest:          lower objects are DontCare: a share of the focal length (the default is 13 pixels in KITTI)
    brightness, noise: the camera's exposure and its noise's standard deviation in grey levels
    seed:              another seed is another world: other streets, textures and roads
    """

    width: int = 1242
    height: int = 375
    focal: float = 721.0
    focal_range: tuple[float, float] = (0.97, 1.03)
    principal_range: tuple[float, float] = (-0.012, 0.012)
    baseline: tuple[float, float, float] = (0.06, -0.0003, 0.0035)
    camera_height: tuple[float, float] = (1.5, 1.8)
    pitch: tuple[float, float] = (-1.0, 1.0)
    roll: tuple[float, float] = (-0.6, 0.6)
    size_spread: float = 1.0
    size_range: tuple[float, float] | None = None
    reach: float = 75.0
    smallest: float = 0.018
    brightness: tuple[float, float] = (1.0, 1.7)
    noise: tuple[float, float] = (1.0, 5.0)
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError that names the field where a value makes no picture."""
        for name in ("width", "height", "focal", "reach"):
            if not getattr(self, name) > 0:
                raise ValueError(f"World: {name} must be positive, got {getattr(self, name)}")
        for name in (
            "focal_range",
            "principal_range",
            "camera_height",
            "pitch",
            "roll",
            "size_range",
            "brightness",
            "noise",
        ):
            given = getattr(self, name)
            if given is not None and not given[0] <= given[1]:
                raise ValueError(f"World: {name} must be (lowest, highest), got {tuple(given)}")
        for name in ("focal_range", "camera_height", "size_range", "brightness"):
            given = getattr(self, name)
            if given is not None and given[0] <= 0:
                raise ValueError(f"World: {name} must be positive, got {tuple(given)}")
        if max(map(abs, (*self.pitch, *self.roll))) > _STEEPEST:
            raise ValueError(f"World: pitch and roll must be within +-{_STEEPEST:g} degrees: objects stand upright")
        if self.seed < 0:
            raise ValueError(f"World: seed must not be negative, got {self.seed}")

    def sample(self, index: int) -> Sample:
        """Frame `index` (any integer from 0), each from a street of its own."""
        return next(self.clip(index, 1))

    def clip(self, index: int, frames: int, rate: float = 10.0) -> Iterator[Sample]:
        """A drive of `frames` frames at `rate` Hz along street `index`; its first frame is `sample(index)`.

        Frame k is at k / rate seconds; its id is '<index>' for the first frame and '<index>_<k>' after that.
        """
        return (frame.sample for frame in self.drive(index, frames, rate))

    def drive(self, index: int, frames: int, rate: float = 10.0, course: str = "straight") -> Iterator[DriveFrame]:
        """`clip` with each object's track and the camera's motion.

        Args:
            index: of the street.
            frames: how many.
            rate: Hz.
            course: how the camera moves, one of `training.data.world.course.COURSES`.

        Raises:
            ValueError: where there is no such course.
        """
        if course not in COURSES:
            raise ValueError(f"course must be one of {', '.join(COURSES)}, got {course!r}")
        drive, tracks = _Drive.start(self, index), {-1: -1}
        for frame in range(frames):
            name = f"{index:06d}" if frame == 0 else f"{index:06d}_{frame:06d}"
            moment = drive.at(frame / rate, COURSES[course])
            grain = index * 131 + frame * 61, index * 17 + frame * 97
            sample, identities = _photograph(name, moment, drive, grain)
            ids = [tracks.setdefault(identity, len(tracks) - 1) for identity in identities.tolist()]
            yield DriveFrame(frame / rate, sample, np.array(ids, dtype=np.int64), _rigid(moment, drive.scene))

    def moment(self, index: int, time: float = 0.0) -> Moment:
        """What the frame of street `index` at `time` seconds is a picture of."""
        return _Drive.start(self, index).at(time)


@dataclass(frozen=True, eq=False)
class DriveFrame:
    """One frame of a drive.

    time:   seconds
    sample: as `World.clip` has it
    tracks: (N,) the track of each object, numbered from 0 in the order in which they are seen first; -1 for DontCare
    pose:   (4, 4) from the frame of the camera's P to one that is fixed to the road, y down. Exact in the plane; that
            the car pitches and rolls is not in it, since objects stand upright in the camera's frame.
    """

    time: float
    sample: Sample
    tracks: np.ndarray
    pose: np.ndarray


@dataclass(frozen=True, eq=False)
class Moment:
    """The street before the camera at one moment: `things` are in the camera's own frame."""

    camera: Camera
    pose: Pose
    things: list[Placement]


@dataclass(frozen=True, eq=False)
class _Drive:
    """A camera's way along one street."""

    world: World
    scene: Street
    camera: Camera
    light: Light
    height: float
    tilt: tuple[float, float]  # pitch and roll at rest, radians
    lateral: float
    look: float  # radians that the camera looks to the right of the road's direction
    wander: float  # metres to either side
    bounce: float  # radians
    phases: tuple[float, ...]

    @classmethod
    def start(cls, world: World, index: int) -> _Drive:
        if index < 0:
            raise ValueError(f"streets are numbered from 0, got {index}")
        scene = street(world.seed, index, world.size_spread, world.size_range)
        light = shading.light(world.seed, index, world.brightness, world.noise)
        rng = np.random.default_rng(np.random.SeedSequence([world.seed, index, _CAMERA_STREAM]))
        focal = world.focal * rng.uniform(*world.focal_range)
        centre = (np.array([world.width, world.height]) - 1) / 2 + rng.uniform(*world.principal_range, 2) * world.width
        K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])
        camera = Camera(np.hstack([K, (K @ np.array(world.baseline))[:, None]]), world.width, world.height)
        height = rng.uniform(*world.camera_height)
        tilt = tuple(np.radians([rng.uniform(*world.pitch), rng.uniform(*world.roll)]).tolist())
        offset, wander, look = rng.normal(0, 0.25), rng.uniform(0.0, 0.25), rng.normal(0, 0.02)
        phases, bounce = rng.uniform(0, 2 * np.pi, 4), np.radians(rng.uniform(0.05, 0.25))
        lateral = scene.profile.own[0] + offset
        return cls(world, scene, camera, light, height, tilt, lateral, look, wander, bounce, tuple(phases.tolist()))

    def at(self, time: float, course: Course = COURSES["straight"]) -> Moment:
        scene, phases, K = self.scene, self.phases, self.camera.P[:, :3]
        driven, turn = course.driven(time), course.turn(time, scene.speed)
        along = scene.speed * driven
        swing = along / _WANDER_SCALE + phases[0]
        bounce = self.bounce * min(scene.speed / 5, 1.0)
        yaw = scene.direction(along) + math.atan(self.wander / _WANDER_SCALE * math.cos(swing)) + self.look + turn
        pitch = self.tilt[0] + bounce * (math.sin(7.0 * time + phases[1]) + 0.6 * math.sin(2.1 * time + phases[2]))
        roll = self.tilt[1] + 0.5 * bounce * math.sin(3.3 * time + phases[3])
        lateral = self.lateral + self.wander * math.sin(swing) + course.aside(time, scene.speed)
        pose = Pose(along, lateral, yaw, self.height, (math.tan(pitch), math.tan(roll)))
        sideways = max(K[0, 2], self.world.width - 1 - K[0, 2]) / K[0, 0]
        return Moment(self.camera, pose, placements(scene, pose, time, 1.25 * self.world.reach, sideways, driven))


def _rigid(moment: Moment, scene: Street) -> np.ndarray:
    """From the frame of P to one that is fixed to the road."""
    pose, matrix = moment.pose, np.eye(4)
    cosine, sine = math.cos(pose.yaw), math.sin(pose.yaw)
    matrix[:3, :3] = [[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]
    matrix[:3, 3] = scene.centre(pose.along) + pose.lateral, -pose.height, pose.along
    matrix[:3, 3] += matrix[:3, :3] @ moment.camera.translation
    return matrix


def _photograph(name: str, moment: Moment, drive: _Drive, grain: tuple[int, int]) -> tuple[Sample, np.ndarray]:
    world, camera, light = drive.world, moment.camera, drive.light
    K, pool = camera.P[:, :3], textures.pool(world.seed)
    faces = project_faces(moment.things, K, world.width, world.height)
    ground = moment.pose.ground(K)
    buffers = raster.rasterise(faces, moment.things, K, ground, world.width, world.height, _GROUND_TO)
    image = shading.paint(buffers, faces, moment.things, drive.scene, moment.pose, light, K, pool)
    image = shading.expose(image, light, pool, grain)
    depth = np.divide(1, buffers.inverse, out=np.zeros_like(buffers.inverse), where=buffers.inverse > 0)
    objects, identities = annotate(moment.things, buffers, camera, world.reach, world.smallest)
    return Sample(name, image, camera, objects, depth), identities
