"""What rclpy's lifecycle nodes lack."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode


def refuse_wrong_transitions(node: LifecycleNode) -> None:
    """Make a transition that the node's state doesn't have a refused request.

    In rclpy it raises out of the service, which ends the process and leaves the caller waiting.
    """
    for service in node.services:
        if service.srv_name.rpartition("/")[2] == "change_state":
            service.callback = _guarded(node, service.callback)


def _guarded(node: LifecycleNode, change_state: Any) -> Any:
    def answer(request: Any, response: Any) -> Any:
        try:
            return change_state(request, response)
        except RuntimeError as error:  # RCLError is one
            wanted = request.transition.label or request.transition.id
            node.get_logger().error(f"transition {wanted!r} is refused: {error}")
            response.success = False
            return response

    return answer
