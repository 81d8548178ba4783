"""A data set in nuScenes' format, table by table and byte by byte, made of samples of the synthetic world.

Poses go through scipy's rotations, and tokens are what the original's are: 32 hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from training.data.sample import Sample
from training.data.world import World

# Axes of a camera (x right, y down, z forward) in its vehicle's (x forward, y left, z up).
FORWARD_CAMERA = Rotation.from_matrix([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
CATEGORIES = {
    "Car": "vehicle.car",
    "Pedestrian": "human.pedestrian.adult",
    "Cyclist": "vehicle.bicycle",
    "Van": "vehicle.emergency.police",
    "Truck": "vehicle.truck",
}
LEVELS = ("v0-40", "v40-60", "v60-80", "v80-100")
PERIOD = 500_000  # microseconds between key frames


@dataclass(frozen=True)
class Pose:
    """Of a vehicle in the world, or of a sensor on the vehicle."""

    rotation: Rotation
    translation: tuple[float, float, float]

    def points(self, inside: np.ndarray) -> np.ndarray:
        """Points (N, 3) of the inner frame in the outer one."""
        return self.rotation.apply(inside) + self.translation

    def inverse_points(self, outside: np.ndarray) -> np.ndarray:
        """The inverse of `points`."""
        return self.rotation.inv().apply(np.asarray(outside) - self.translation)

    def row(self) -> dict[str, list[float]]:
        """As tables have it: the quaternion is w, x, y, z."""
        x, y, z, w = self.rotation.as_quat().tolist()
        return {"translation": list(self.translation), "rotation": [w, x, y, z]}


@dataclass(frozen=True)
class Scan:
    """Points (N, 3) of the world as the LiDAR measures them when its vehicle is at `pose`, `lag` us after the image."""

    world_points: np.ndarray
    pose: Pose
    lag: int = 0


@dataclass(frozen=True)
class Shot:
    """One key frame: what its camera saw, and where the vehicle was; scans, the key frame's last."""

    sample: Sample
    pose: Pose
    scans: Sequence[Scan] = ()
    seen: Sequence[str] | None = None  # visibility of each object, by level


@dataclass
class Tables:
    """Rows by table, in the order in which they are written."""

    rows: dict[str, list[dict]] = field(default_factory=dict)

    def add(self, table: str, key: object, /, **columns: object) -> str:
        """Add a row; returns its token."""
        token = token_of(table, key)
        self.rows.setdefault(table, []).append({"token": token, **columns})
        return token

    def write(self, folder: Path) -> None:
        """The original's files have a line for each value, and no indentation."""
        folder.mkdir(parents=True)
        for table in TABLES:
            (folder / f"{table}.json").write_text(json.dumps(self.rows.get(table, []), indent=0))


TABLES = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "log",
    "map",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
)


def token_of(*name: object) -> str:
    """A token: 32 hexadecimal digits."""
    return hashlib.md5(repr(name).encode()).hexdigest()


def write(
    root: Path,
    scenes: Mapping[str, Sequence[Mapping[str, Shot]]],
    mounts: Mapping[str, Pose],
    lidar: Pose,
    version: str = "v1.0-mini",
) -> Tables:
    """Write scenes: name -> key frames -> channel -> what that camera saw; annotations are those of all cameras."""
    tables = Tables()
    _constants(root, tables, scenes)
    sensors = {name: tables.add("sensor", name, channel=name, modality="camera") for name in mounts}
    sensors["LIDAR_TOP"] = tables.add("sensor", "LIDAR_TOP", channel="LIDAR_TOP", modality="lidar")
    start = 1_532_402_927_000_000
    for scene, frames in scenes.items():
        samples = [token_of("sample", (scene, k)) for k in range(len(frames))]
        tables.add(
            "scene", scene, log_token=token_of("log", "log"), nbr_samples=len(frames),
            first_sample_token=samples[0], last_sample_token=samples[-1], name=scene, description="Synthetic",
        )  # fmt: skip
        for k, shots in enumerate(frames):
            start += PERIOD
            tables.add(
                "sample", (scene, k), timestamp=start, prev=samples[k - 1] if k else "",
                next=samples[k + 1] if k + 1 < len(frames) else "", scene_token=token_of("scene", scene),
            )  # fmt: skip
            for channel, shot in shots.items():
                _image(root, tables, (scene, k, channel), samples[k], sensors[channel], mounts[channel], shot, start)
                _annotate(tables, (scene, k, channel), samples[k], mounts[channel], shot, lidar)
            scans = [scan for shot in shots.values() for scan in shot.scans]
            _scans(root, tables, (scene, k), samples[k], sensors["LIDAR_TOP"], lidar, scans, start)
    tables.write(root / version)
    return tables


def _constants(root: Path, tables: Tables, scenes: Mapping[str, object]) -> None:
    for number, level in enumerate(LEVELS, 1):  # the one table whose tokens are no digests
        row = {
            "description": f"visibility of whole object is between {level[1:]}%",
            "token": str(number),
            "level": level,
        }
        tables.rows.setdefault("visibility", []).append(row)
    for name in CATEGORIES.values():
        tables.add("category", name, name=name, description="")
    tables.add("attribute", "vehicle.moving", name="vehicle.moving", description="Vehicle is moving.")
    log = tables.add(
        "log", "log", logfile="n015-2018-07-24-11-22-45+0800", vehicle="n015", date_captured="2018-07-24",
        location="singapore-onenorth",
    )  # fmt: skip
    (root / "maps").mkdir(parents=True)
    name = f"maps/{token_of('map', 'picture')}.png"
    cv2.imwrite(str(root / name), np.zeros((8, 8), np.uint8))
    tables.rows["map"] = [
        {"category": "semantic_prior", "token": token_of("map", "map"), "filename": name, "log_tokens": [log]}
    ]


def _calibrate(tables: Tables, name: object, sensor: str, mount: Pose, intrinsic: list) -> str:
    return tables.add("calibrated_sensor", name, sensor_token=sensor, **mount.row(), camera_intrinsic=intrinsic)


def _image(root, tables, name, sample, sensor, mount, shot, stamp) -> None:
    seen = shot.sample
    calibrated = _calibrate(tables, name, sensor, mount, seen.camera.P[:, :3].tolist())
    ego = tables.add("ego_pose", name, timestamp=stamp, **shot.pose.row())
    file = f"samples/{name[2]}/n015-2018-07-24-11-22-45+0800__{name[2]}__{stamp}.jpg"
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / file), seen.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    tables.add(
        "sample_data", name, sample_token=sample, ego_pose_token=ego, calibrated_sensor_token=calibrated,
        timestamp=stamp, fileformat="jpg", is_key_frame=True, height=seen.camera.height, width=seen.camera.width,
        filename=file, prev="", next="",
    )  # fmt: skip


def _annotate(tables, name, sample, mount, shot, lidar) -> None:
    objects = shot.sample.objects
    for row, box in enumerate(objects.boxes):
        if not np.isfinite(box).all():
            continue
        centre = shot.pose.points(mount.points(box[None, :3]))[0]
        x, z = np.cos(box[6]), -np.sin(box[6])
        ahead = shot.pose.rotation.apply(mount.rotation.apply([x, 0, z]))
        turn = Pose(Rotation.from_euler("z", np.arctan2(ahead[1], ahead[0])), tuple(centre))
        instance = tables.add(
            "instance", (name, row), category_token=token_of("category", CATEGORIES[str(objects.names[row])]),
            nbr_annotations=1, first_annotation_token=token_of("sample_annotation", (name, row)),
            last_annotation_token=token_of("sample_annotation", (name, row)),
        )  # fmt: skip
        level = shot.seen[row] if shot.seen else "v80-100"
        hits = sum(_inside(scan, turn, box[3:6]) for scan in shot.scans)
        tables.add(
            "sample_annotation", (name, row), sample_token=sample, instance_token=instance,
            visibility_token=str(LEVELS.index(level) + 1), attribute_tokens=[], translation=turn.row()["translation"],
            size=[box[4], box[3], box[5]], rotation=turn.row()["rotation"], prev="", next="", num_lidar_pts=hits,
            num_radar_pts=0,
        )  # fmt: skip


def _inside(scan: Scan, turn: Pose, size: np.ndarray) -> int:
    inner = turn.inverse_points(scan.world_points)
    return int((np.abs(inner) <= size / 2 + 0.05).all(axis=1).sum())


def _scans(root, tables, name, sample, sensor, mount, scans, stamp) -> None:
    names = [(*name, "LIDAR_TOP", number) for number in range(len(scans))]
    for number, (row, scan) in enumerate(zip(names, scans, strict=True)):
        key = number == len(scans) - 1
        points = mount.inverse_points(scan.pose.inverse_points(scan.world_points))
        file = f"{'samples' if key else 'sweeps'}/LIDAR_TOP/n015__LIDAR_TOP__{stamp}_{number}.pcd.bin"
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        np.hstack([points, np.zeros((len(points), 2))]).astype("<f4").tofile(root / file)
        ego = tables.add("ego_pose", row, timestamp=stamp + scan.lag, **scan.pose.row())
        tables.add(
            "sample_data", row, sample_token=sample, ego_pose_token=ego,
            calibrated_sensor_token=_calibrate(tables, row, sensor, mount, []), timestamp=stamp + scan.lag,
            fileformat="pcd", is_key_frame=key, height=0, width=0, filename=file,
            prev=token_of("sample_data", names[number - 1]) if number else "",
            next="" if key else token_of("sample_data", names[number + 1]),
        )  # fmt: skip


WORLD = World(width=310, height=94, focal=180, baseline=(0, 0, 0))
MOUNTS = {
    "CAM_FRONT": Pose(FORWARD_CAMERA, (1.7, 0.0, 1.5)),
    "CAM_BACK": Pose(Rotation.from_euler("z", 180, degrees=True) * FORWARD_CAMERA, (0.0, 0.1, 1.6)),
}
LIDAR = Pose(Rotation.from_euler("z", -90, degrees=True), (0.94, 0.0, 1.84))
AT, LATER = (Pose(Rotation.from_euler("z", yaw), (x, 1180.0, 0.3)) for yaw, x in ((0.7, 411.0), (0.74, 411.9)))


def of_world(shot: Shot, mount: Pose, points: np.ndarray) -> np.ndarray:
    """Points in the camera's frame -> the world."""
    return shot.pose.points(mount.points(points))


def surfaces(sample: Sample) -> np.ndarray:
    """(N, 3) what the depth map shows, in the camera's frame."""
    v, u = np.nonzero(sample.depth)
    return sample.camera.lift(np.stack([u, v, sample.depth[v, u]], axis=1))[::7]


def street(index: int, mount: Pose, pose: Pose, scan_pose: Pose | None = None) -> Shot:
    """A street of the world before a camera, with a scan by a vehicle at `scan_pose`."""
    sample = WORLD.sample(index)
    one = Shot(replace(sample, objects=sample.objects[np.isfinite(sample.objects.boxes).all(axis=1)]), pose)
    if scan_pose is None:
        return one
    return replace(one, scans=[Scan(of_world(one, mount, surfaces(sample)), scan_pose, 31_000)])
