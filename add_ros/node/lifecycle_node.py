"""The managed node: `ros2 run add_ros lifecycle_detector`, for lifecycle managers such as Nav2's.

configure loads the model, activate subscribes and detects, deactivate stops and clears the markers, cleanup takes model
and topics away.
"""

from __future__ import annotations

import sys

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from add_model.errors import ModelError
from add_ros.node import parameters
from add_ros.node.detector_core import DetectorCore
from add_ros.node.detector_node import run
from add_ros.node.parameter_service import CheckedParameterService


class LifecycleDetectorNode(LifecycleNode):
    """Node `detector` with managed states. Raises ValueError where a parameter is refused."""

    def __init__(self) -> None:
        super().__init__("detector", start_parameter_services=False)
        self._checked_parameters = CheckedParameterService(self)
        self._values = parameters.declare(self)
        self.core: DetectorCore | None = None  # while unconfigured

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model; the node stays unconfigured, and says why, where it can't be used."""
        try:
            self.core = DetectorCore(self, self._values, active=False)
            self.core.load()
        except (ModelError, ValueError, RuntimeError) as error:
            self.get_logger().error(str(error))
            self._clean()
            return TransitionCallbackReturn.FAILURE
        self.core.start()
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Detect, while somebody subscribes."""
        self.core.activate(True)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Receive nothing, and leave no markers behind."""
        self.core.activate(False)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the model back."""
        self._clean()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The same, from any state."""
        self._clean()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The same, so that the node can be configured again."""
        self._clean()
        return TransitionCallbackReturn.SUCCESS

    def _clean(self) -> None:
        core, self.core = self.core, None
        if core is not None:
            core.stop()
            core.destroy()


def main(args: list[str] | None = None) -> int:
    """`run` with the managed node."""
    return run(LifecycleDetectorNode, args)


if __name__ == "__main__":
    sys.exit(main())
