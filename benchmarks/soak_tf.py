"""A node with a target frame, over DDS: missing, circular, jumping, impossible, malformed and flooding transforms."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from soak_dds import Bench, detector
from vision_msgs.msg import Detection3DArray

_FAR = 1e8  # metres; what the node takes at most
_FLOOD = 200  # messages at once, of 20 transforms each


class TfBench(Bench):
    """A camera `lens` on `base` in `map`, of which anybody may say anything."""

    def starts(self) -> bool:
        from tf2_msgs.msg import TFMessage

        self.impossible = 0
        self.answers_of: dict[int, Detection3DArray] = {}
        self.moving = self.node.create_publisher(TFMessage, "/tf", 100)
        pixels = np.random.default_rng(7).integers(0, 255, (12, 40, 3), np.uint8)
        self.pixels = cv2.resize(pixels, (640, 192)).tobytes()
        self.node.create_subscription(Detection3DArray, "detections", self._check, 100)
        self.first = self.recovers(60.0)
        return self.first is not None

    def _check(self, message: Detection3DArray) -> None:
        self.answers_of[message.header.stamp.sec] = message
        for found in message.detections:
            pose = found.bbox.center
            values = [getattr(pose.position, axis) for axis in "xyz"]
            values += [getattr(pose.orientation, axis) for axis in "xyzw"]
            values += list(found.results[0].pose.covariance)
            self.impossible += not (np.isfinite(values).all() and np.abs(values[:3]).max() < 2 * _FAR)

    def say(
        self,
        parent: str,
        child: str,
        shift: tuple[float, ...] = (0, 0, 0),
        turn: tuple[float, ...] = (0, 0, 0, 1),
        sec: int | None = None,
        nanosec: int = 0,
    ) -> None:
        from tf2_msgs.msg import TFMessage

        self.moving.publish(TFMessage(transforms=[transform(parent, child, shift, turn, sec or self.sent, nanosec)]))

    def truth(self) -> None:
        """What holds where nobody lies, around the stamp of the last image."""
        for sec in (self.sent - 1, self.sent, self.sent + 1):
            self.say("map", "base", (10, 20, 30), sec=sec)
            self.say("base", "lens", (1, 2, 3), (0.5, -0.5, 0.5, -0.5), sec=sec)

    def frame(self, name: str = "lens") -> int:
        image, info = self.good()
        image.data = self.pixels
        image.header.frame_id = info.header.frame_id = name
        self.send(image, info)
        return self.sent

    def recovers(self, patience: float) -> Detection3DArray | None:
        """The answer to a good frame with true transforms; None where none comes."""
        end = time.monotonic() + patience
        while time.monotonic() < end and self.process.is_running():
            self.sent += 1
            self.truth()
            self.spin(0.05)
            stamp = self.frame()
            self.truth()
            self.spin(0.3)
            if stamp in self.answers_of:
                return self.answers_of[stamp]
        return None


def transform(
    parent: str, child: str, shift: tuple[float, ...], turn: tuple[float, ...], sec: int, nanosec: int
) -> object:
    """A geometry_msgs/TransformStamped."""
    from geometry_msgs.msg import TransformStamped

    said = TransformStamped(child_frame_id=child)
    said.header.frame_id, said.header.stamp.sec, said.header.stamp.nanosec = parent, sec, nanosec
    move, rotation = said.transform.translation, said.transform.rotation
    move.x, move.y, move.z = map(float, shift)
    rotation.x, rotation.y, rotation.z, rotation.w = map(float, turn)
    return said


def _missing(bench: TfBench, rng: np.random.Generator) -> None:
    bench.frame(str(rng.choice(["lost", "", "/lens", "lens/", "\x00", "\x1b[2J", "l" * 255])))


def _circle(bench: TfBench, rng: np.random.Generator) -> None:
    ring = [*(f"ring{n}" for n in range(rng.integers(1, 30))), "base", "lens"]
    for sec in (bench.sent, bench.sent + 1, bench.sent + 2):
        for child, parent in zip(ring, [*ring[1:], ring[0]], strict=True):
            bench.say(parent, child, sec=sec)
    bench.frame()


def _jump(bench: TfBench, rng: np.random.Generator) -> None:
    for n in range(5):
        bench.say("map", "base", tuple(rng.uniform(-1e7, 1e7, 3)), nanosec=n)
    bench.say("base", "lens")
    bench.frame()


def _impossible(bench: TfBench, rng: np.random.Generator) -> None:
    bad = [np.nan, np.inf, -np.inf, 1e9, -1e300, 5e-324]
    values = np.array([1, 2, 3, 0, 0, 0, 1], float)
    values[rng.integers(7)] = rng.choice(bad)
    sent = bench.sent + 1
    for sec in (sent - 1, sent, sent + 1):
        bench.say("map", "base", tuple(values[:3]), tuple(values[3:]), sec)
        bench.say("base", "lens", sec=sec)
    bench.frame()


def _not_unit(bench: TfBench, rng: np.random.Generator) -> None:
    turn = rng.normal(size=4)
    turn *= rng.choice([0, 0.9, 0.994, 1.006, 7, 1e200]) / np.linalg.norm(turn)
    bench.say(*rng.choice([["map", "base"], ["base", "lens"]]), turn=tuple(turn), sec=bench.sent + 1)
    bench.frame()


def _malformed(bench: TfBench, rng: np.random.Generator) -> None:
    names = ["", "/", "lens", "map", "/base", "\x00", "\x1b[2J", "n" * 100_000, "\u202e", "NO_PARENT"]
    bench.say(*map(str, rng.choice(names, 2)), sec=bench.sent + 1)
    bench.moving.publish(b"\x00\x01\x00\x00" + rng.bytes(int(rng.integers(0, 400))))
    bench.frame()


def _stamps(bench: TfBench, rng: np.random.Generator) -> None:
    sec = int(rng.choice([0, 1, -1, -(2**31), 2**31 - 1, bench.sent + 1000, bench.sent - 1000]))
    child = rng.choice([["map", "base"], ["base", "lens"]])
    bench.say(*child, sec=sec, nanosec=int(rng.choice([0, 2**32 - 1])))
    bench.frame()


def _parents(bench: TfBench, rng: np.random.Generator) -> None:
    bench.say(str(rng.choice(["other", "map", "lens"])), str(rng.choice(["base", "lens", "map"])))
    bench.frame()


def _flood(bench: TfBench, rng: np.random.Generator) -> None:
    from tf2_msgs.msg import TFMessage

    start = int(rng.integers(10**6))
    for n in range(_FLOOD):
        names = [f"flood{start + 20 * n + k}" for k in range(20)]
        said = [transform("map", name, (1, 2, 3), (0, 0, 0, 1), bench.sent, n) for name in names]
        bench.moving.publish(TFMessage(transforms=said))
    bench.frame()


ATTACKS: dict[str, Callable[[TfBench, np.random.Generator], None]] = {
    "missing": _missing,
    "circular": _circle,
    "jumping": _jump,
    "impossible": _impossible,
    "quaternions": _not_unit,
    "malformed": _malformed,
    "stamps": _stamps,
    "parents": _parents,
    "floods": _flood,
}


def transforms(folder: Path, seconds: float, seed: int) -> tuple[str, int]:
    """(figures, failures): after each attack a good frame is answered with the very boxes of the first one."""
    if importlib.util.find_spec("tf2_ros") is None:
        return "left out: there is no tf2_ros here (benchmarks/build_tf2.py)", 0
    rng = np.random.default_rng(seed)
    frames = ("target_frame:=map", "level_frame:=map", "ground_frame:=map")  # 33 m below the camera
    parameters = (*frames, "score_threshold:=0.0", "transform_timeout:=0.1")
    counts, slowest, wrong = dict.fromkeys(ATTACKS, 0), 0.0, []
    with detector(*parameters, bench=TfBench) as bench:
        if not bench.first.detections:
            raise RuntimeError("no detections in the target frame")
        before, end = bench.process.memory_info().rss, time.monotonic() + seconds
        while time.monotonic() < end and not wrong:
            name = str(rng.choice(list(ATTACKS)))
            for _ in range(rng.integers(1, 6)):
                ATTACKS[name](bench, rng)
                bench.spin(0.02)
            counts[name] += 1
            began = time.monotonic()
            found = bench.recovers(30.0)
            slowest = max(slowest, time.monotonic() - began)
            if found is None:
                wrong.append(f"no answer after {name}")
            elif not _same(found, bench.first):
                wrong.append(f"other boxes after {name}")
        grown = (bench.process.memory_info().rss - before) / 1e6
        if bench.impossible:
            wrong.append(f"{bench.impossible} impossible boxes")
    listed = ", ".join(f"{count} {name}" for name, count in counts.items())
    worst = f"; not survived: {', '.join(wrong)}" if wrong else ""
    return f"{listed}; answered again within {slowest:.1f} s; memory {grown:+.0f} MB{worst}", len(wrong)


def _same(found: Detection3DArray, expected: Detection3DArray) -> bool:
    def values(message: Detection3DArray) -> list[list[float]]:
        poses = [one.bbox.center for one in message.detections]
        return [[getattr(p.position, a) for a in "xyz"] + [getattr(p.orientation, a) for a in "xyzw"] for p in poses]

    return found.header.frame_id == "map" and np.allclose(values(found), values(expected), atol=1e-6)
