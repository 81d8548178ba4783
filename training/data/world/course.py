"""How the camera moves along its street, beside what the road itself does."""

from __future__ import annotations

import math
from dataclasses import dataclass

_STOP_CYCLE = (2.0, 2.0, 2.0, 2.0)  # seconds at full speed, braking, standing, starting again


@dataclass(frozen=True)
class Course:
    """One way of moving.

    swerve: metres to either side between which a driving camera swerves
    period: metres along the road of one swerve
    pan:    radians by which a standing camera turns to either side
    pan_period: seconds of one such turn
    stops:  whether it brakes, stands and starts again and again
    """

    swerve: float = 0.0
    period: float = 30.0
    pan: float = 0.0
    pan_period: float = 6.0
    stops: bool = False

    def driven(self, time: float) -> float:
        """The seconds at full speed that cover the same way as `time` seconds of this."""
        if not self.stops:
            return time
        cruise, brake, stand, start = _STOP_CYCLE
        cycles, rest = divmod(time, sum(_STOP_CYCLE))
        way = cycles * (cruise + brake / 2 + start / 2) + min(rest, cruise)
        braking = min(max(rest - cruise, 0.0), brake)
        starting = max(rest - cruise - brake - stand, 0.0)
        return way + braking - braking**2 / (2 * brake) + starting**2 / (2 * start)

    def aside(self, time: float, speed: float) -> float:
        """Metres to the right of where it would drive otherwise; `speed` is the full speed in m/s."""
        return self.swerve * math.sin(2 * math.pi * speed * self.driven(time) / self.period)

    def turn(self, time: float, speed: float) -> float:
        """Radians by which it looks farther to the right than it would otherwise."""
        if speed == 0:
            return self.pan * math.sin(2 * math.pi * time / self.pan_period)
        wave = 2 * math.pi / self.period
        return math.atan(self.swerve * wave * math.cos(wave * speed * self.driven(time)))


COURSES = {
    "straight": Course(),
    "turning": Course(swerve=1.2, pan=0.35),
    "stopping": Course(stops=True),
}
