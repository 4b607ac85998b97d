"""What the tests of the pose node ask it: its people, its state, its parameters."""

from __future__ import annotations

import time

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters

from smap_ros.msg import BodyArray

BRIGHT, GREY, BLACK = 250, 128, 0
FRAME = "robot/camera_optical"
NODE = "pose3d_node"
ENGINE = {"engine": "onnxruntime", "threads": 1}


def stamp_of(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


def answer(observer, bodies, stamp):
    """The people of the image of a stamp."""
    return observer.wait(
        lambda: next((m for m in list(bodies) if stamp_of(m) == stamp), None),
        f"the people of {stamp}",
    )


def change_state(observer, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    return observer.call(ChangeState, f"{NODE}/change_state", request).success


def state(observer):
    return observer.call(GetState, f"{NODE}/get_state", GetState.Request()).current_state.id


def set_parameter(observer, name, value, node=NODE):
    kinds = {
        bool: (ParameterType.PARAMETER_BOOL, "bool_value"),
        str: (ParameterType.PARAMETER_STRING, "string_value"),
        int: (ParameterType.PARAMETER_INTEGER, "integer_value"),
        float: (ParameterType.PARAMETER_DOUBLE, "double_value"),
    }
    kind, field = kinds[type(value)]
    parameter = Parameter(name=name, value=ParameterValue(type=kind, **{field: value}))
    request = SetParameters.Request(parameters=[parameter])
    return observer.call(SetParameters, f"{node}/set_parameters", request).results[0]


def calibrated_node(start, observer, eye, scene_bundle):
    """The node, active and calibrated, and the people it publishes."""
    node = start(NODE, bundle=scene_bundle, **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    eye.ready()
    observer.wait(lambda: observer.node.count_publishers("bodies_raw"), "a publisher of people")
    shown = []

    def first():  # best effort: until the first gets through
        eye.calibrate()
        shown.append(eye.show())
        time.sleep(0.2)
        return any(stamp_of(m) in shown for m in list(bodies))

    observer.wait(first, "the first people")
    return node, bodies
