"""The node's parameter services: a request that can't be read is refused and answered."""

from __future__ import annotations

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.parameter_service import ParameterService


class CheckedParameterService(ParameterService):
    """rclpy's services with an answer to every request.

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
            return super()._set_parameters_atomically_callback(request, response)
        except Exception as error:  # whatever a request holds, it is answered
            response.result = _refusal(error)
            return response

    def _set_one(self, parameter: ParameterMessage) -> SetParametersResult:
        try:
            answer = super()._set_parameters_callback(
                SetParameters.Request(parameters=[parameter]), SetParameters.Response()
            )
            return answer.results[0]
        except Exception as error:  # as above
            return _refusal(error)


def _refusal(error: Exception) -> SetParametersResult:
    return SetParametersResult(
        successful=False, reason=f"the request can't be read: {type(error).__name__}: {str(error)[:200]}"
    )
