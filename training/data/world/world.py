"""The synthetic world's public face: frames and drives by number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from add_model.camera import Camera
from training.data.sample import Sample
from training.data.world import raster, shading, textures
from training.data.world.annotate import annotate
from training.data.world.motion import Pose, placements
from training.data.world.scene import Street, street

_CAMERA_STREAM = 4


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
    smallest:          pixels; lower objects are DontCare
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
    smallest: float = 7.0
    brightness: tuple[float, float] = (1.0, 1.7)
    noise: tuple[float, float] = (1.0, 5.0)
    seed: int = 0

    def sample(self, index: int) -> Sample:
        """Frame `index` (any integer from 0), each from a street of its own."""
        return next(self.clip(index, 1))

    def clip(self, index: int, frames: int, rate: float = 10.0) -> Iterator[Sample]:
        """A drive of `frames` frames at `rate` Hz along street `index`; its first frame is `sample(index)`.

        Frame k is at k / rate seconds; its id is '<index>' for the first frame and '<index>_<k>' after that.
        """
        scene = street(self.seed, index, self.size_spread, self.size_range)
        camera, drive = self._camera(index, scene)
        for frame in range(frames):
            time = frame / rate
            name = f"{index:06d}" if frame == 0 else f"{index:06d}_{frame:06d}"
            yield self._render(name, index, frame, scene, camera, drive(time), time)

    def _camera(self, index: int, scene: Street):
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, index, _CAMERA_STREAM]))
        focal = self.focal * rng.uniform(*self.focal_range)
        centre = (np.array([self.width, self.height]) - 1) / 2 + rng.uniform(*self.principal_range, 2) * self.width
        K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])
        shift = np.array(self.baseline)
        camera = Camera(np.hstack([K, (K @ shift)[:, None]]), self.width, self.height)
        height = rng.uniform(*self.camera_height)
        pitch, roll = np.radians([rng.uniform(*self.pitch), rng.uniform(*self.roll)])
        offset, wander, look = rng.normal(0, 0.25), rng.uniform(0.0, 0.25), rng.normal(0, 0.02)
        phases, bounce = rng.uniform(0, 2 * np.pi, 4), np.radians(rng.uniform(0.05, 0.25))

        def drive(time: float) -> Pose:
            along = scene.speed * time
            swing = along / 18 + phases[0]
            moving = min(scene.speed / 5, 1.0)
            yaw = scene.direction(along) + np.arctan(wander / 18 * np.cos(swing)) + look
            nod = bounce * moving * (np.sin(7.0 * time + phases[1]) + 0.6 * np.sin(2.1 * time + phases[2]))
            lean = 0.5 * bounce * moving * np.sin(3.3 * time + phases[3])
            lateral = scene.profile.own[0] + offset + wander * np.sin(swing)
            return Pose(along, lateral, yaw, height, (np.tan(pitch + nod), np.tan(roll + lean)))

        return camera, drive

    def _render(
        self, name: str, index: int, frame: int, scene: Street, camera: Camera, pose: Pose, time: float
    ) -> Sample:
        K = camera.P[:, :3]
        pool = textures.pool(self.seed)
        light = shading.light(self.seed, index, self.brightness, self.noise)
        sideways = max(K[0, 2], self.width - 1 - K[0, 2]) / K[0, 0]
        things = placements(scene, pose, time, 1.25 * self.reach, sideways)
        forward, right = pose.slope
        ground = np.array([-right, 1.0, -forward]) / pose.height @ np.linalg.inv(K)
        faces = raster.faces(things, K, self.width, self.height)
        buffers = raster.rasterise(faces, things, K, ground, self.width, self.height, 4 * self.reach)
        image = shading.paint(buffers, faces, things, scene, pose, light, K, pool)
        image = shading.expose(image, light, pool, (index * 131 + frame * 61, index * 17 + frame * 97))
        depth = np.divide(1, buffers.inverse, out=np.zeros_like(buffers.inverse), where=buffers.inverse > 0)
        objects = annotate(things, buffers, camera, self.reach, self.smallest)
        return Sample(name, image, camera, objects, depth)
