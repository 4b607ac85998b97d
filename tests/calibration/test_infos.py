"""Which CameraInfo an image belongs to: by frame and by stamp."""

import pytest

from smap_ros.calibration import CameraInfos
from smap_ros.calibration.infos import MAX_CHANGES
from smap_ros.errors import CameraError
from tests.bag_messages import K, camera_info

ZERO = (0.0,) * 9


def focal(fx: float) -> tuple[float, ...]:
    return (fx, *K[1:4], fx, *K[5:])


def take(*messages) -> CameraInfos:
    infos = CameraInfos()
    for message in messages:
        infos.take(message)
    return infos


def test_the_newest_that_is_not_later_than_the_image_counts():
    infos = take(*(camera_info(t, k=focal(500 + t)) for t in (1, 2, 2.5, 4)))
    found = [infos.calibration("cam", t).k[0] for t in (1, 1.9, 2, 3.9, 4, 99)]
    assert found == [501, 501, 502, 502.5, 504, 504]


def test_an_image_before_all_has_the_first_that_is_calibrated():
    infos = take(camera_info(1, k=ZERO), camera_info(3, k=focal(503)), camera_info(4, k=focal(504)))
    assert infos.calibration("cam", 0.5).k[0] == infos.calibration("cam", 2).k[0] == 503
    assert take(camera_info(1, k=ZERO)).calibration("cam", 5).k == ZERO


def test_a_camera_that_is_calibrated_no_more_has_no_calibration():
    infos = take(camera_info(1), camera_info(2, k=ZERO))
    assert infos.calibration("cam", 1).k == K
    assert infos.calibration("cam", 3).k == ZERO


def test_messages_without_stamp_count_from_their_arrival():
    infos = take(camera_info(0, k=focal(500)), camera_info(0, k=focal(600)))
    assert infos.calibration("cam", 7).k[0] == 600


def test_a_recording_that_begins_anew_forgets_what_comes_later():
    infos = take(camera_info(100, k=focal(500)), camera_info(1, k=focal(600)))
    assert infos.calibration("cam", 200).k[0] == 600


def test_a_live_image_from_long_before_all_is_of_another_clock_and_has_the_newest():
    """Images stamped by the device's uptime, while its lens is changed."""
    infos = take(*(camera_info(1000 + t, k=focal(500 + t)) for t in (0, 1)))
    assert infos.calibration("cam", 60, live=True).k[0] == 501
    assert infos.calibration("cam", 996, live=True).k[0] == 500  # just before its calibration
    assert infos.calibration("cam", 60).k[0] == 500
    assert infos.calibration("cam", 1000.5, live=True).k[0] == 500


def test_each_frame_has_its_own():
    infos = take(camera_info(1, "left"), camera_info(1, "right", k=focal(500)))
    assert infos.calibration("right", 1).k[0] == 500
    with pytest.raises(CameraError, match=r"frame 'top' \(frames with one: 'left', 'right'\)"):
        infos.calibration("top", 1, any_frame=True)
    only = take(camera_info(1, "left"))
    assert only.calibration("top", 1, any_frame=True).k == K
    with pytest.raises(CameraError, match="no CameraInfo for frame 'top'"):
        only.calibration("top", 1)


def test_a_flood_of_frames_and_changes_does_not_fill_the_memory():
    infos = take(*(camera_info(k + 1, f"frame {k}") for k in range(100)))
    infos = take(*(camera_info(k + 1, k=focal(500 + k)) for k in range(1000)))
    assert infos.calibration("cam", 2000).k[0] == 1499
    assert len(infos._histories["cam"]) == MAX_CHANGES


def test_an_image_from_before_what_is_remembered_has_nobodys_calibration():
    """A lens that zooms: the oldest that is known would be a wrong one."""
    infos = take(*(camera_info(100 + k / 30, k=focal(500 + k)) for k in range(1000)))
    oldest = 1000 - MAX_CHANGES
    assert infos.calibration("cam", 100 + (oldest + 0.5) / 30).k[0] == 500 + oldest
    with pytest.raises(CameraError, match=r"older than the last 240 changes .* expected images"):
        infos.calibration("cam", 100 + (oldest - 1) / 30)
    assert infos.calibration("cam", 0).k[0] == 1499  # without a stamp it is as new as what came
