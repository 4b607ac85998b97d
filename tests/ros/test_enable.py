"""The enable service of the pose node: pausing it without touching its life cycle."""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from std_srvs.srv import SetBool

from smap_ros.msg import BodyArray
from tests.ros.pose3d_client import (
    ENGINE,
    NODE,
    answer,
    calibrated_node,
    change_state,
    state,
)

DISABLED = "disabled by the enable service"
LATER = "the node is not active, this holds once it is"


def enable(observer, wanted):
    answer_ = observer.call(SetBool, f"{NODE}/enable", SetBool.Request(data=wanted))
    assert answer_.success
    return answer_.message


def said(observer, text):
    return observer.wait(
        lambda: (s := observer.status(NODE)) and s.message == text and s, f"diagnostics: {text}"
    )


def test_a_disabled_node_takes_no_images_and_goes_on_where_it_was(
    start, observer, eye, scene_bundle
):
    node, bodies = calibrated_node(start, observer, eye, scene_bundle)
    assert enable(observer, False) == "disabled"
    assert said(observer, DISABLED).level == DiagnosticStatus.OK
    assert state(observer) == State.PRIMARY_STATE_ACTIVE
    observer.wait(lambda: eye.images.get_subscription_count() == 0, "nobody takes images")
    count = len(bodies)
    for _ in range(3):
        eye.show()
    time.sleep(0.5)
    assert len(bodies) == count
    assert enable(observer, False) == "disabled"  # again
    assert enable(observer, True) == enable(observer, True) == "enabled"
    eye.ready()
    # The model and the calibration were kept.
    observer.wait(lambda: (eye.show(), time.sleep(0.2), len(bodies) > count)[-1], "people again")
    assert len(answer(observer, bodies, eye.show()).bodies) == 3
    assert "Traceback" not in node.log


def test_what_is_said_to_a_node_that_is_not_active_holds_once_it_is(
    start, observer, eye, scene_bundle
):
    start(NODE, bundle=scene_bundle, autostart=False, fov_deg=80.0, **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    assert enable(observer, False) == f"disabled; {LATER}"
    assert change_state(observer, Transition.TRANSITION_CONFIGURE)
    assert change_state(observer, Transition.TRANSITION_ACTIVATE)
    said(observer, DISABLED)
    assert eye.images.get_subscription_count() == 0
    assert change_state(observer, Transition.TRANSITION_DEACTIVATE)
    said(observer, "inactive")
    assert enable(observer, True) == f"enabled; {LATER}"
    assert state(observer) == State.PRIMARY_STATE_INACTIVE
    assert change_state(observer, Transition.TRANSITION_ACTIVATE)
    observer.wait(eye.images.get_subscription_count, "the node takes images")
    observer.wait(lambda: (eye.show(), time.sleep(0.2), list(bodies))[-1], "people")
    assert change_state(observer, Transition.TRANSITION_DEACTIVATE)
    assert change_state(observer, Transition.TRANSITION_CLEANUP)
    assert enable(observer, False) == f"disabled; {LATER}"
    said(observer, "not configured")
