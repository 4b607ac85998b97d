"""The subscriber that docs/nearest.md begins with, run as it stands there."""

from __future__ import annotations

import subprocess
import sys
import time

from geometry_msgs.msg import Point, Pose

from smap_ros.msg import Body, BodyArray
from tests.docs.pages import ROOT, blocks


def person(number: int, x: float, y: float, z: float) -> Body:
    return Body(id=number, pose=Pose(position=Point(x=x, y=y, z=z)))


def heard(people, log) -> str:
    """What the example has written by the time that it hears us.

    It may find us later than we find it, and what is sent between is lost to it.
    """
    for number in range(100, 130):
        people.publish(BodyArray(bodies=[person(number, 0.0, 0.0, 1.0)]))
        end = time.monotonic() + 1
        while time.monotonic() < end:
            if f"person {number} is 1.0 m away" in (written := log.read_text()):
                return written
            time.sleep(0.01)
    raise AssertionError("the example hears nothing for 30 s")


def test_the_nearest_person_in_python(observer, tmp_path):
    script, log = tmp_path / "nearest.py", tmp_path / "log"
    (code,) = blocks(ROOT / "docs" / "nearest.md", "python")
    assert len(code.strip().splitlines()) <= 22
    script.write_text(code)
    people = observer.publisher(BodyArray, "bodies")
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, script], stdout=file, stderr=file)
    try:
        observer.wait(people.get_subscription_count, "the example's subscription")
        before = len(heard(people, log))
        people.publish(BodyArray())  # nobody: no message, no crash
        # 3 is further along the axis, but nearer than 7, who stands far to the side.
        people.publish(BodyArray(bodies=[person(7, 4.0, 0.0, 2.0), person(3, 0.0, 0.0, 3.0)]))
        observer.wait(lambda: "away" in log.read_text()[before:], "a line of the example")
    finally:
        process.terminate()
        process.wait(60)
    written = log.read_text()[before:]
    assert "person 3 is 3.0 m away" in written
    assert written.count("away") == 1
