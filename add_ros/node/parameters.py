"""Declares, checks and documents the parameters of `parameter_list`.

`python -m add_ros.node.parameters` prints the table in docs/user/node.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from add_ros.node.parameter_checks import (
    ground_problem,
    range_problem,
    tracking_problem,
    type_problem,
    unknown_problem,
)
from add_ros.node.parameter_list import PARAMETERS, Parameter, Value


def declare(node: Any) -> dict[str, Value]:
    """Declare all parameters on a node, keep live ones checked, and return their values at start.

    Raises ValueError in one sentence where a given value has the wrong type or is refused.
    """
    from rcl_interfaces.msg import SetParametersResult

    values: dict[str, Value] = {}
    for parameter in PARAMETERS:
        values[parameter.name] = _declare(node, parameter, parameter.name, parameter.default)
    given = getattr(node, "_parameter_overrides", {})
    for name, (_, parameter) in _of_cameras(values["cameras"]).items():
        if name in given:
            values[name] = _declare(node, parameter, name, values[parameter.name])
    cameras = {camera: of_camera(values, camera) for camera in values["cameras"]}
    for camera, held in cameras.items():
        if problem := range_problem(held):
            raise ValueError(f"parameter {camera}.{problem}" if camera else f"parameter {problem}")
        if problem := tracking_problem(held):
            raise ValueError(f"camera {camera}: parameter {problem}" if camera else f"parameter {problem}")
    if problem := ground_problem(cameras, {name for name in cameras if f"{name}.ground_slope_std" in values}):
        raise ValueError(f"parameter {problem}")
    for name in unknown(given, values["cameras"]):
        node.get_logger().warning(unknown_problem(name))

    def check(changes: list[Any]) -> Any:
        known = {parameter.name: parameter for parameter in PARAMETERS}
        known |= {name: parameter for name, (_, parameter) in _of_cameras(values["cameras"]).items()}
        problems = [known[c.name].problem(c.value) for c in changes if c.name in known]
        reason = "; ".join(problem for problem in problems if problem)
        return SetParametersResult(successful=not reason, reason=reason)

    node.add_on_set_parameters_callback(check)
    return values


def of_camera(values: Mapping[str, Value], camera: str) -> dict[str, Value]:
    """The values that hold for one camera: its own where they are given, else those of all."""
    names = {parameter.name: f"{camera}.{parameter.name}" for parameter in PARAMETERS}
    return {name: values.get(own, values[name]) for name, own in names.items()}


def live(node: Any, camera: str) -> dict[str, Value]:
    """The same now, of the parameters that change at any time."""
    names = {p.name: f"{camera}.{p.name}" for p in PARAMETERS if p.dynamic}
    return {name: node.get_parameter(own if node.has_parameter(own) else name).value for name, own in names.items()}


def _declare(node: Any, parameter: Parameter, name: str, default: Value) -> Value:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    descriptor = ParameterDescriptor(description=parameter.description, read_only=not parameter.dynamic)
    if parameter.choices:
        descriptor.additional_constraints = f"one of: {', '.join(parameter.choices)}"
    if parameter.limits and parameter.type == "integer":
        low, high = map(int, parameter.limits)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    elif parameter.limits:
        low, high = map(float, parameter.limits)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    try:
        value = node.declare_parameter(name, default, descriptor).value
    except InvalidParameterTypeException as error:
        raise ValueError(type_problem(name, parameter.type, parameter.default)) from error
    except InvalidParameterValueException as error:
        raise ValueError(f"parameter {name} is refused: {error}") from error
    if problem := parameter.problem(value):
        raise ValueError(f"parameter {problem}" if name == parameter.name else f"parameter {name}: {problem}")
    return list(value) if isinstance(parameter.default, list) else value


def _of_cameras(cameras: Any) -> dict[str, tuple[str, Parameter]]:
    """NAME.PARAMETER -> camera and parameter."""
    named = [camera for camera in cameras or [] if camera]
    return {f"{camera}.{p.name}": (camera, p) for camera in named for p in PARAMETERS if p.per_camera}


def unknown(overrides: Mapping[str, Any], cameras: Any = ()) -> list[str]:
    """Names that were given to the node but that it does not have."""
    names = {parameter.name for parameter in PARAMETERS} | {"use_sim_time", "start_type_description_service"}
    names |= set(_of_cameras(cameras))
    return sorted(name for name in overrides if name not in names and not name.startswith("qos_overrides."))


def table() -> str:
    """All parameters as a Markdown table."""
    rows = ["| name | type | default | allowed | live | by camera | |", "|---|---|---|---|---|---|---|"]
    for parameter in PARAMETERS:
        allowed = ", ".join(f"`{choice}`" for choice in parameter.choices)
        if parameter.limits:
            allowed = f"{parameter.limits[0]:g} to {parameter.limits[1]:g}"
        live, own = ("yes" if is_so else "no" for is_so in (parameter.dynamic, parameter.per_camera))
        rows.append(
            f"| `{parameter.name}` | {parameter.type} | `{parameter.default!r}` | {allowed} | {live} | {own} "
            f"| {parameter.description} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
