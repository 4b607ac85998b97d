"""When the camera node shows images, and the stamps that they get."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo

from smap_ros.bags.messages import image_from_message
from smap_ros.images import encode_compressed
from smap_ros.nodes import qos
from smap_ros.nodes.pacing import (
    LONGEST_GAP,
    ConsumerPace,
    PatientPace,
    RealTimePace,
    Spacing,
)
from tests.bag_messages import camera_info, raw_image, write_bag
from tests.ros.consumer import Consumer

NODE = "camera_node"


class SimulatedTime:
    """A clock that only waiting and working move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def shown_at(rate: float, work: list[float]) -> list[float]:
    """When images are shown, from the first on, if working on each takes so long."""
    clock = SimulatedTime()
    pace, times = RealTimePace(Spacing(rate), clock, clock.pass_by), []
    for duration in work:
        pace.wait(0.0)
        times.append(clock.now - 100.0)
        clock.pass_by(duration)
    return times


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        ([0.0] * 4, [0.0, 0.1, 0.2, 0.3]),
        # Images that take nearly as long, or vary, don't shift those that follow.
        ([0.09, 0.02, 0.09, 0.0], [0.0, 0.1, 0.2, 0.3]),
        # A little late: the next one is on time again.
        ([0.15, 0.0, 0.0], [0.0, 0.15, 0.2]),
        # More than a period late: the schedule begins anew, no burst catches up.
        ([0.0, 0.45, 0.0, 0.0, 0.0], [0.0, 0.1, 0.55, 0.65, 0.75]),
    ],
)
def test_real_time_pace_neither_bursts_nor_drifts(work, expected):
    assert shown_at(10, work) == pytest.approx(expected)


def test_no_rate_shows_each_image_as_it_comes():
    assert shown_at(0, [0.3, 0.0, 0.2, 0.0]) == pytest.approx([0.0, 0.3, 0.3, 0.5])


@pytest.mark.parametrize(
    ("rate", "recorded", "stamps", "expected"),
    [
        (10, False, [5.0, 5.5, 5.1], [0, 0.1, 0.1]),
        (0, False, [5.0, 5.5, 5.1], [0, 0, 0]),
        (10, True, [5.0, 5.5, 5.7, 5.75], [0, 0.5, 0.2, 0.05]),
        # Another round; stamps that stand still.
        (10, True, [5.0, 5.5, 5.0, 5.2, 5.2], [0, 0.5, 0.1, 0.2, 0.1]),
        (10, True, [5.0, 3605.0, 3605.1], [0, LONGEST_GAP, 0.1]),
    ],
)
def test_images_are_as_far_apart_as_they_were_recorded(rate, recorded, stamps, expected):
    spacing = Spacing(rate, recorded)
    assert [spacing.after(stamp) for stamp in stamps] == pytest.approx(expected)


def test_real_time_follows_the_stamps_of_an_irregular_recording():
    clock = SimulatedTime()
    pace, times = RealTimePace(Spacing(10, recorded=True), clock, clock.pass_by), []
    for stamp in (7.0, 7.05, 7.4, 7.45):
        pace.wait(stamp)
        times.append(clock.now - 100.0)
        clock.pass_by(0.01)
    assert times == pytest.approx([0.0, 0.05, 0.4, 0.45])


def test_nothing_is_shown_faster_than_it_was_recorded_however_fast_it_is_consumed():
    recorded = [3.0, 3.02, 3.10, 3.11, 3.0, 3.02]
    pace, shown = ConsumerPace(60.0, Spacing(20, recorded=True)), []
    for stamp in recorded:
        pace.wait(stamp)
        shown.append(time.monotonic())
        pace.consumed(stamp)
        assert pace.published(stamp)
    # A machine that is busy can only be slower.
    assert np.all(np.diff(shown) >= np.array([0.02, 0.08, 0.01, 0.05, 0.02]) - 1e-9)


def test_answers_of_the_round_before_are_no_answer():
    pace = ConsumerPace(timeout=0.05, spacing=Spacing(0))
    pace.consumed(9.0)
    assert pace.published(9.0)
    assert pace.published(1.0) and pace.missed == 1
    pace.consumed(1.0)
    assert pace.published(1.0) and pace.missed == 1


def test_of_images_of_one_stamp_each_waits_for_an_answer_of_its_own():
    """As in a simulation whose clock stands still."""
    pace = ConsumerPace(timeout=0.05, spacing=Spacing(0))
    pace.consumed(0.0)
    assert pace.published(0.0) and pace.missed == 0
    assert pace.published(0.0) and pace.missed == 1
    pace.consumed(0.0)  # as fast as that
    assert pace.published(0.0) and pace.missed == 1


def test_patient_pace_waits_for_people_and_keeps_the_source_s_pace():
    consumer = ConsumerPace(timeout=600.0, spacing=Spacing(20), retry=0.05)
    signs = iter([False, False])
    pace = PatientPace(consumer, RealTimePace(Spacing(20)), lambda: next(signs, True), pytest.fail)
    pace.start(lambda: True)
    pace.wait(0.0)
    begun = time.monotonic()
    assert not pace.published(1.0)  # nobody answers yet
    pace.consumed(1.0)
    assert pace.published(1.0)
    pace.wait(0.0)
    assert time.monotonic() - begun >= 0.05
    went_on = threading.Event()
    thread = threading.Thread(target=lambda: pace.published(2.0) and went_on.set())
    thread.start()
    assert not went_on.wait(0.2)  # the people of an earlier image are no answer
    pace.consumed(2.0)
    assert went_on.wait(60) and pace.missed == 0
    thread.join()
    pace.stop()


def test_patient_pace_plays_on_where_nobody_looks_for_people():
    said = []
    pace = PatientPace(
        ConsumerPace(5.0, Spacing(0)), RealTimePace(Spacing(0)), lambda: False, said.append, 0.1
    )
    pace.start(lambda: False)
    assert pace.published(1.0) and pace.published(2.0) and pace.missed == 0
    assert "nobody here looks for people" in said[0]
    stopped = PatientPace(
        ConsumerPace(5.0, Spacing(0)), RealTimePace(Spacing(0)), lambda: False, said.append, 60.0
    )
    threading.Timer(0.05, stopped.stop).start()
    stopped.start(lambda: False)
    assert stopped.published(1.0) and len(said) == 1


def test_consumer_pace_counts_what_nobody_answers():
    impatient = ConsumerPace(0.05, Spacing(0), retry=0.05)
    assert not impatient.published(1.0)  # nobody there yet: show it again
    pace = ConsumerPace(0.05, Spacing(0), retry=600.0)
    threading.Timer(0.02, pace.consumed, [1.0]).start()
    assert pace.published(1.2)  # the answer to the first showing will do, at the start only
    assert pace.published(1.5)
    assert pace.published(2.0)
    assert pace.missed == 2
    pace.consumed(3.0)
    assert pace.published(3.0)
    assert pace.missed == 2
    pace.stop()
    assert pace.published(9.0)


# --- through the node ---------------------------------------------------------------------------

# Between images, seconds; the mean says nothing of them. Stamps have digits that no float holds.
GAPS = (0.05, 0.3, 0.05, 0.2)
STAMPS = [
    1_700_000_000_123_456_789 + round(1e9 * gap) for gap in itertools.accumulate(GAPS, initial=0.0)
]


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """A camera that is nothing less than steady."""

    def messages():
        for k, stamp in enumerate(STAMPS):
            image = raw_image(0.0, np.full((48, 64, 3), 40 * k, np.uint8))
            info = camera_info(0.0, size=(64, 48), k=(60, 0, 31.5, 0, 60, 23.5, 0, 0, 1))
            for topic, message in (("/cam/camera_info", info), ("/cam/image_raw", image)):
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
                yield topic, message

    return write_bag(tmp_path_factory.mktemp("bags") / "bag", messages())


def nanoseconds(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_a_bag_moves_no_faster_than_it_did_where_people_are_found_at_once(start, observer, bag):
    consumer = Consumer(observer)
    node = start(NODE, source=str(bag), pacing="as_consumed")
    assert node.wait() == 0
    shown = {consumer_shade(message): nanoseconds(message) for message in consumer.images}
    assert len(shown) == len(STAMPS)
    apart = np.diff([shown[shade] for shade in sorted(shown)]) * 1e-9
    assert np.all(apart >= np.array(GAPS) - 0.002)  # the wall clock may be set meanwhile


def consumer_shade(message) -> int:
    return int(image_from_message(message).mean())


@pytest.mark.parametrize("pacing", ["auto", "real_time", "as_consumed"])
def test_recorded_stamps_are_published_to_the_nanosecond(start, observer, bag, pacing):
    infos = observer.collect(CameraInfo, "camera_info", qos.SENSOR)
    consumer = Consumer(observer)
    node = start(NODE, source=str(bag), pacing=pacing, stamps="recorded", subscribers=1)
    assert node.wait() == 0
    stamps = [nanoseconds(message) for message in consumer.images]
    assert stamps[-1] == STAMPS[-1] and set(stamps) <= set(STAMPS) and stamps == sorted(stamps)
    if pacing != "real_time":  # a camera doesn't wait
        assert sorted(set(stamps)) == STAMPS
    assert {nanoseconds(info) for info in infos} <= set(STAMPS)
    assert [consumer_shade(message) // 40 for message in consumer.images] == [
        STAMPS.index(stamp) for stamp in stamps
    ]


def test_a_bag_that_begins_again_with_its_stamps_waits_for_people_as_before(start, observer, bag):
    consumer = Consumer(observer)
    start(NODE, source=str(bag), pacing="as_consumed", stamps="recorded", loop=True)
    observer.wait(lambda: len(consumer.images) > 3 * len(STAMPS), "three rounds")
    values = observer.wait(lambda: observer.values(NODE), "diagnostics")
    assert values["not consumed"] == "0"
    stamps = [nanoseconds(message) for message in consumer.images]
    again = stamps.index(STAMPS[1])  # the first may have been shown several times
    assert stamps[again : again + 2 * len(STAMPS)] == [*STAMPS[1:], *STAMPS, STAMPS[0]]


def test_pictures_have_no_stamps_to_keep(start, tmp_path):
    picture = tmp_path / "people.jpg"
    picture.write_bytes(encode_compressed(np.full((48, 64, 3), 200, np.uint8)))
    for source in (picture, tmp_path):
        node = start(NODE, source=str(source), stamps="recorded", fov_deg=60.0)
        assert node.wait() == 2
        assert "expected stamps:=shown" in node.log and "Traceback" not in node.log
