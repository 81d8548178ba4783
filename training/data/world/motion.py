"""How the camera and the street's actors move, and where all of it is in the camera's frame at one moment."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.data.world import mesh, people, props
from training.data.world.cast import Actor
from training.data.world.placement import Placement
from training.data.world.scene import actors
from training.data.world.street import Street
from training.data.world.textures import pool

_BEHIND = 12.0  # metres behind the camera at which things end
_WOODS = 190.0  # metres to the horizon


@dataclass(frozen=True)
class Pose:
    """The camera on the street at one moment.

    along, lateral: metres along the road and to the right of its centre line
    yaw:   radians to the right, in the world frame
    height: metres above the ground below it
    slope: the ground's rise in the camera frame: dy of the ground per metre (forward, to the right)
    """

    along: float
    lateral: float
    yaw: float
    height: float
    slope: tuple[float, float]

    def ground(self, K: np.ndarray) -> np.ndarray:
        """(3,) a, b, c: the ground's inverse depth at pixel (u, v) of a camera K (3, 3) is a u + b v + c."""
        forward, right = self.slope
        return np.array([-right, 1.0, -forward]) / self.height @ np.linalg.inv(K)


def place(street: Street, pose: Pose, actor: Actor, time: float) -> Placement:
    """The actor at this time as the camera at this pose has it: upright, its bottom on the ground below its centre.

    `time` is the actor's own: in a convoy, the seconds that it has driven.
    """
    along, lateral = actor.along + actor.speed[0] * time, actor.lateral + actor.speed[1] * time
    dx = street.centre(along) + lateral - street.centre(pose.along) - pose.lateral
    dz = along - pose.along
    cosine, sine = math.cos(pose.yaw), math.sin(pose.yaw)
    x, z = cosine * dx - sine * dz, sine * dx + cosine * dz
    turn = street.direction(along) + actor.heading - pose.yaw
    length, width, height = actor.size
    bottom = pose.height + pose.slope[0] * z + pose.slope[1] * x - actor.lift
    rotation_y = (turn + math.pi / 2) % (2 * math.pi) - math.pi
    steps = len(actor.steps)
    # A stride's cycle covers about 1.4 m on foot; pedals turn once in 3 m.
    cycle = 1.4 if actor.label == "Pedestrian" else 3.0
    phase = actor.phase + math.hypot(*actor.speed) * time / cycle * people.STRIDES
    return Placement(
        actor.steps[int(phase) % steps],
        np.array([x, bottom - height / 2, z, length, width, height, rotation_y]),
        actor.colours,
        actor.label,
        actor.paper,
        actor.paper_metres,
        actor.shadow,
        actor.identity,
    )


def placements(
    street: Street, pose: Pose, time: float, reach: float, sideways: float, driven: float | None = None
) -> list[Placement]:
    """All that may be in view at this time, up to `reach` metres ahead and `sideways` times as far to the side.

    `driven` as `scene.actors` takes it.
    """
    found = _backdrop(street, pose)
    for actor in actors(street, pose.along - _BEHIND, pose.along + reach, time, driven):
        own = time if driven is None or not actor.in_convoy else driven
        ahead = actor.along + actor.speed[0] * own - pose.along
        if not -_BEHIND < ahead < 1.1 * reach:
            continue
        placement = place(street, pose, actor, own)
        x, _, z = placement.box[:3].tolist()
        radius = math.hypot(actor.size[0], actor.size[1]) / 2
        if -radius < z < reach and abs(x) - radius < sideways * (z + radius) + 1:
            found.append(placement)
    return found


def _backdrop(street: Street, pose: Pose) -> list[Placement]:
    """Woods on the horizon, so far away that they keep their distance."""
    found = []
    for height, azimuth in zip(street.backdrop, (-0.7, 0.0, 0.7), strict=True):
        if not height:
            continue
        turn = azimuth - pose.yaw
        x, z = _WOODS * math.sin(turn), _WOODS * math.cos(turn)
        bottom = pose.height + pose.slope[0] * z + pose.slope[1] * x + 2
        # A board looks along its own x axis.
        box = np.array([x, bottom - height / 2, z, 1.0, 1.5 * _WOODS, height, turn - math.pi / 2])
        colours = np.full((mesh.MATERIALS, 3), 0.8)
        found.append(Placement(props.board(), box, colours, paper=pool(street.seed).treeline, shadow=False))
    return found
