"""The node's parameter services: a request that can't be read is refused and answered."""

from __future__ import annotations

from collections.abc import Sequence

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter
from rclpy.parameter_service import ParameterService

from add_ros.node.parameter_checks import type_problem, unknown_problem


class CheckedParameterService(ParameterService):
    """rclpy's services with an answer to every request, in the words that the node has for its parameters at start.

    rclpy raises at a type number or a value that it does not know: the caller waits for ever, and a node that lets the
    exception through ends. For nodes that are made with `start_parameter_services=False`.
    """

    def _set_parameters_callback(
        self, request: SetParameters.Request, response: SetParameters.Response
    ) -> SetParameters.Response:
        response.results = [self._set_one(parameter) for parameter in request.parameters]
        return response

    def _set_parameters_atomically_callback(
        self, request: SetParametersAtomically.Request, response: SetParametersAtomically.Response
    ) -> SetParametersAtomically.Response:
        try:
            if problem := self._problem(request.parameters):
                response.result = SetParametersResult(successful=False, reason=problem)
                return response
            return super()._set_parameters_atomically_callback(request, response)
        except Exception as error:  # whatever a request holds, it is answered
            response.result = _refusal(error)
            return response

    def _set_one(self, parameter: ParameterMessage) -> SetParametersResult:
        request = SetParametersAtomically.Request(parameters=[parameter])
        return self._set_parameters_atomically_callback(request, SetParametersAtomically.Response()).result

    def _problem(self, parameters: Sequence[ParameterMessage]) -> str | None:
        """What is wrong with the first of these whose name or type is wrong, None where all are right."""
        node = self._get_node()
        for given in map(Parameter.from_parameter_msg, parameters):
            if not node.has_parameter(given.name):
                return unknown_problem(given.name)
            own = node.get_parameter(given.name)
            if given.type_ not in (own.type_, Parameter.Type.NOT_SET):
                kind = own.type_.name.lower().replace("_array", "[]")
                example = list(own.value) if kind.endswith("[]") else own.value
                return type_problem(given.name, kind, example)
        return None


def _refusal(error: Exception) -> SetParametersResult:
    return SetParametersResult(
        successful=False, reason=f"the request can't be read: {type(error).__name__}: {str(error)[:200]}"
    )
