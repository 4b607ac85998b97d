"""People as other software takes them: REP-155's topics and vision_msgs, over DDS."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from smap_ros.bodies import Body
from smap_ros.doctor import machine as doctor
from smap_ros.msg import Body as BodyMessage
from smap_ros.msg import BodyArray
from smap_ros.nodes.detections import position_covariance
from smap_ros.nodes.humans import body_id, region, skeleton_points
from smap_ros.skeletons import COCO17, HRI18, MPI15
from tests.ros.message_packages import end
from tests.ros.test_markers import message, person

NODE = "markers_node"
SIZE = (640, 480)

# Writes down who is tracked, and what comes on the topics of each of them while they are.
LISTENER = """
import json, rclpy
from geometry_msgs.msg import PointStamped
from hri_msgs.msg import IdsList, NormalizedRegionOfInterest2D, Skeleton2D
KINDS = {"position": PointStamped, "skeleton2d": Skeleton2D, "roi": NormalizedRegionOfInterest2D}
READ = {
    "position": lambda m: [m.point.x, m.point.y, m.point.z],
    "skeleton2d": lambda m: [[p.x, p.y, p.c] for p in m.skeleton],
    "roi": lambda m: [m.xmin, m.ymin, m.xmax, m.ymax, m.c],
}
made = {}
def write(topic, header, said):
    print(json.dumps([topic, header.frame_id, header.stamp.sec, said]), flush=True)
def listen(identity, name):
    topic = f"/humans/bodies/{identity}/{name}"
    take = lambda m: write(f"{identity}/{name}", m.header, READ[name](m))
    return node.create_subscription(KINDS[name], topic, take, 10)
def tracked(message):
    for identity in message.ids:
        if identity not in made:
            made[identity] = [listen(identity, name) for name in KINDS]
    for identity in [*made]:
        if identity not in message.ids:
            for one in made.pop(identity):
                node.destroy_subscription(one)
    write("tracked", message.header, list(message.ids))
names = [name for name in dir(type(Skeleton2D)) if name.isupper()]
constants = {name: getattr(Skeleton2D, name) for name in names}
constants = {name: value for name, value in constants.items() if isinstance(value, int)}
rclpy.init()
node = rclpy.create_node("hri_listener")
print(json.dumps(["constants", "", 0, constants]), flush=True)
node.create_subscription(IdsList, "/humans/bodies/tracked", tracked, 10)
rclpy.spin(node)
"""


@pytest.fixture
def listen(tmp_path):
    """Starts a program that prints lines of JSON; what it has printed."""
    running = []

    def begin(program):
        path = tmp_path / "heard.jsonl"
        with path.open("wb") as file:
            running.append(subprocess.Popen([sys.executable, "-c", program], stdout=file))
        return lambda: [json.loads(line) for line in path.read_text().split("\n")[:-1]]

    yield begin
    for process in running:
        end(process)


@pytest.fixture
def bodies(observer, start):
    """Starts the node; a publisher of people for it."""

    def begin(**parameters):
        node = start(NODE, **parameters)
        publisher = observer.publisher(BodyArray, "bodies")
        observer.wait(publisher.get_subscription_count, "the node")
        publisher.node_process = node
        return publisher

    return begin


def topics(observer):
    return {name for name, _ in observer.node.get_topic_names_and_types()}


def test_tracked_people_have_the_topics_of_rep_155(observer, with_hri, bodies, listen):
    heard = listen(LISTENER)
    publisher = bodies()
    # Half of the second person is out of the picture; the third has no track.
    people = [person((0.2, 0.1, 3), 4), person((2.1, 0, 3), 7), person((-1, 0, 5), None)]

    def everything():
        publisher.publish(message(2.5, *people))
        time.sleep(0.1)
        found = {topic: (frame, sec, said) for topic, frame, sec, said in heard()}
        wanted = {f"{k}/{name}" for k in ("b4", "b7") for name in ("position", "skeleton2d", "roi")}
        return found if wanted <= set(found) else None

    found = observer.wait(everything, "all topics of two people")
    assert found["tracked"] == ("eye", 2, ["b4", "b7"])
    assert all(frame == "eye" and sec == 2 for t, (frame, sec, _) in found.items() if "b" in t[:1])
    assert found["b4/position"][2] == pytest.approx((0.2, 0.1, 3), abs=1e-6)

    points = np.array(found["b4/skeleton2d"][2])
    assert points.shape == (18, 3)
    constants = found["constants"][2]
    assert sorted(constants.values()) == list(range(18))
    for name, index in constants.items():
        joint = name.lower().replace("left_", "l_").replace("right_", "r_")
        assert HRI18.joints[index] == joint
    pixels = people[0].joints_2d[[MPI15.index(j) for j in HRI18.joints[1:14]]]
    np.testing.assert_allclose(points[1:14, :2] * SIZE - 0.5, pixels, atol=1e-3)
    np.testing.assert_allclose(points[1:14, 2], 0.8, atol=1e-6)
    assert not points[[0, 14, 15, 16, 17]].any()  # no face in our joints

    box = np.array(found["b4/roi"][2])
    x, y, width, height = people[0].box
    edges = (np.array([x, y, x + width, y + height]) + 0.5) / (*SIZE, *SIZE)
    np.testing.assert_allclose(box, [*edges, 0.8], atol=1e-5)
    cut = np.array(found["b7/skeleton2d"][2])
    gone = np.array([people[1].joints_2d[MPI15.index(j), 0] > 639.5 for j in HRI18.joints[1:14]])
    assert gone.any() and not gone.all()
    assert not cut[1:14][gone].any() and (cut[1:14][~gone, 2] > 0).all()
    assert found["b7/roi"][2][2] == 1.0

    assert not any("joint_states" in name for name in topics(observer))


def test_topics_go_with_the_people_and_all_of_them_when_nothing_comes(
    observer, with_hri, bodies, listen
):
    heard = listen(LISTENER)
    publisher = bodies()
    first, second = person((0, 0, 3), 4), person((1, 0, 4), 7)

    def until(condition, sent, what):
        def look():
            publisher.publish(sent)
            time.sleep(0.1)
            return condition()

        observer.wait(look, what)

    def tracked():
        return next((said for topic, _, _, said in reversed(heard()) if topic == "tracked"), None)

    def counted(identity):
        return [
            observer.node.count_publishers(f"/humans/bodies/{identity}/{name}")
            for name in ("position", "skeleton2d", "roi")
        ]

    until(lambda: tracked() == ["b4", "b7"], message(1.0, first, second), "two people")
    observer.wait(lambda: counted("b4") == counted("b7") == [1, 1, 1], "their topics")
    until(lambda: tracked() == ["b7"], message(2.0, second), "one of them")
    observer.wait(lambda: counted("b4") == [0, 0, 0] and counted("b7") == [1, 1, 1], "the other's")
    # Who is predicted stays, but nothing is told of a picture in which they weren't seen.
    observer.wait(lambda: any(h[0] == "b7/skeleton2d" for h in heard()), "a skeleton")
    until(
        lambda: any(h[0] == "b7/position" and h[2] == 3 for h in heard()),
        message(3.0, second, predicted=True),
        "a predicted position",
    )
    assert not any(h[0] in ("b7/skeleton2d", "b7/roi") and h[2] == 3 for h in heard())
    observer.wait(lambda: tracked() == [], "nobody, as nothing comes")
    observer.wait(lambda: counted("b7") == [0, 0, 0], "no topics")
    values = observer.wait(lambda: observer.values(NODE), "diagnostics")
    assert values["REP-155"] == "published"
    assert publisher.node_process.alive


def test_rep_155_can_be_switched_off(observer, with_hri, bodies):
    publisher = bodies(hri=False)  # the bare word off in YAML
    publisher.publish(message(1.0, person((0, 0, 3), 4)))
    values = observer.wait(lambda: observer.values(NODE), "diagnostics")
    assert values["REP-155"] == "off"
    assert not any(name.startswith("/humans") for name in topics(observer))


@pytest.mark.skipif(find_spec("hri_msgs") is not None, reason="hri_msgs is installed")
@pytest.mark.parametrize("hri", ["auto", "on"])
def test_without_hri_msgs_it_is_said(observer, bodies, hri):
    publisher = bodies(hri=hri)

    def fed():
        publisher.publish(message(1.0, person((0, 0, 3), 4)))
        status = observer.status(NODE)
        return status if status and observer.values(NODE)["people"] == "1" else None

    status = observer.wait(fed, "diagnostics of a node that is fed")
    assert observer.values(NODE)["REP-155"] == "hri_msgs isn't installed"
    log = publisher.node_process.log
    if hri == "auto":
        assert status.level == DiagnosticStatus.OK and "WARN" not in log
    else:
        assert status.level == DiagnosticStatus.WARN
        for text in (status.message, log):
            assert "hri is on, but hri_msgs isn't installed" in text and "jazzy-hri-msgs" in text


@pytest.mark.parametrize(
    ("identity", "prefix", "expected"),
    [
        (4, "", "b4"),
        (12, "front/", "b12_front"),
        (0, "robot/left/", "b0_robot_left"),
        (3, "2nd__cam-", "b3_2nd_cam"),
        (3, "é/", "b3"),
    ],
)
def test_ids_can_be_part_of_a_topic(identity, prefix, expected):
    assert body_id(identity, prefix) == expected


def test_a_face_and_a_neck_are_told_where_the_joints_have_them():
    """COCO's 17 joints: all but the neck, which is between the shoulders."""
    rng = np.random.default_rng(3)
    pixels = rng.uniform((0, 0), (639, 479), (17, 2)).astype(np.float32)
    scores = rng.uniform(0.2, 1, 17).astype(np.float32)
    body = Body(np.zeros((17, 3), np.float32), pixels, scores, 0.7, 1, COCO17)
    points = skeleton_points(body, SIZE)
    for name in COCO17.joints:
        k, j = HRI18.index(name), COCO17.index(name)
        np.testing.assert_allclose(points[k], [*(pixels[j] + 0.5) / SIZE, scores[j]], atol=1e-6)
    pair = [COCO17.index("l_shoulder"), COCO17.index("r_shoulder")]
    middle = (pixels[pair].mean(axis=0) + 0.5) / SIZE
    np.testing.assert_allclose(points[HRI18.index("neck")], [*middle, scores[pair].mean()], 1e-5)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((-0.5, -0.5, 639.5, 479.5), (0, 0, 1, 1)),
        ((-100, 119.5, 319.5, 1000), (0, 0.25, 0.5, 1)),
        ((700, 10, 800, 20), None),  # out of the picture
        ((0, 0, 0, 0), None),  # what a body without pixels has
    ],
)
def test_a_region_is_what_of_the_box_is_in_the_picture(box, expected):
    got = region(np.array(box, float), SIZE)
    assert got == (None if expected is None else pytest.approx(expected))


# --- vision_msgs --------------------------------------------------------------------------------

DETECTIONS = """
import json, rclpy
from vision_msgs.msg import Detection3DArray
def place(p):
    return [p.x, p.y, p.z]
def write(message):
    print(json.dumps([[d.id, d.header.frame_id, d.header.stamp.sec, [
        [r.hypothesis.class_id, r.hypothesis.score, place(r.pose.pose.position),
         list(r.pose.covariance)] for r in d.results],
        place(d.bbox.center.position), place(d.bbox.size)] for d in message.detections]),
        flush=True)
rclpy.init()
node = rclpy.create_node("detections_listener")
node.create_subscription(Detection3DArray, "detections", write, 10)
rclpy.spin(node)
"""


def test_people_are_detections_where_vision_msgs_is_installed(
    observer, with_vision, bodies, listen
):
    heard = listen(DETECTIONS)
    publisher = bodies()
    first, second = person((0.5, 0.1, 3), 4), person((-1, 0, 5), None)
    sent = message(2.5, first, second)
    sent.bodies[0].depth_std = 0.3

    def some():
        publisher.publish(sent)
        time.sleep(0.1)
        return heard()

    one, two = observer.wait(some, "detections")[-1]
    identity, frame, sec, ((name, score, place, covariance),), center, size = one
    assert (identity, frame, sec, name) == ("4", "eye", 2, "person")
    assert score == pytest.approx(0.8) and place == pytest.approx((0.5, 0.1, 3), abs=1e-6)
    low, high = first.joints_3d.min(axis=0), first.joints_3d.max(axis=0)
    np.testing.assert_allclose(center, (low + high) / 2, atol=1e-6)
    np.testing.assert_allclose(size, high - low, atol=1e-6)
    assert np.sqrt(np.reshape(covariance, (6, 6))[2, 2]) == pytest.approx(0.3, abs=1e-6)
    assert two[0] == "" and not any(two[3][0][3])
    values = observer.wait(lambda: observer.values(NODE), "diagnostics")
    assert values["detections"] == "published"


def test_a_distances_error_lies_on_the_ray_through_the_person():
    body = BodyMessage(depth_std=0.5)
    body.pose.position.x, body.pose.position.y, body.pose.position.z = 1.0, -2.0, 4.0
    covariance = position_covariance(body)
    rng = np.random.default_rng(0)
    depths = 4 + 0.5 * rng.normal(size=100_000)
    positions = np.array([1.0, -2.0, 4.0]) * (depths / 4)[:, None]
    np.testing.assert_allclose(covariance, np.cov(positions.T), rtol=0.03)
    assert not position_covariance(BodyMessage()).any()  # not known
    body.predicted = True  # who isn't seen may be elsewhere across the view as well
    np.testing.assert_allclose(position_covariance(body), 0.25 * np.eye(3))


def test_the_doctor_says_what_is_published(with_hri, with_vision):
    checks = {check.name: check for check in doctor._ros()}
    assert checks["hri_msgs"].ok and "/humans/bodies" in checks["hri_msgs"].detail
    assert checks["vision_msgs"].ok and "detections are published" in checks["vision_msgs"].detail


@pytest.mark.skipif(find_spec("hri_msgs") is not None, reason="hri_msgs is installed")
def test_the_doctor_says_what_is_not_published():
    checks = {check.name: check for check in doctor._ros()}
    for name, what in (("hri_msgs", "no REP-155 topics"), ("vision_msgs", "no detections")):
        assert not checks[name].ok and checks[name].optional
        assert checks[name].detail == "not installed" and what in checks[name].hint
