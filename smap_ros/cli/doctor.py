"""`smap-ros doctor`."""

from __future__ import annotations

from smap_ros.cli import tables
from smap_ros.doctor import machine, topic
from smap_ros.errors import InputError


def run(image_topic: str | None, duration: float | None, info_topic: str | None) -> None:
    """Show the report of this machine, or of a camera's topic.

    Raises:
        InputError: if the topic isn't fine, or options for topics are given without one.
    """
    if image_topic is None:
        if duration is not None or info_topic is not None:
            raise InputError("--seconds and --camera-info are for --topic, which isn't given")
        tables.console().print(machine.render(machine.report()))
        return
    section = topic.listen(image_topic, 10.0 if duration is None else duration, info_topic or "")
    tables.console().print(machine.render([section]))
    wrong = topic.problems(section)
    if wrong:
        names = ", ".join(check.name for check in wrong)
        raise InputError(f"{image_topic} isn't fine ({names}): see above")
