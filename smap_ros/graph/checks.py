"""What is refused of the arguments of a graph before anything starts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from smap_ros.errors import InputError, shortened
from smap_ros.geometry.opening import check_field_of_view
from smap_ros.settings import Value

TOPICS = ("image", "camera_info", "bodies")  # arguments that are names of topics

# As rcl takes them behind -r: without two underscores in a row; ~ is filled in by it.
_WORD = r"(?!\w*__)[A-Za-z_]\w*"
_TOPIC = re.compile(rf"(/|~/)?{_WORD}(/{_WORD})*", re.ASCII)
_NAMESPACE = re.compile(rf"/?{_WORD}(/{_WORD})*/?", re.ASCII)
_LONGEST = 200  # characters; the middleware has names of its own about them


def check(values: Mapping[str, Value | None]) -> None:
    """Refuse openings, topics and name spaces that can't be, and people that go round in circles.

    Args:
        values: all arguments, typed.

    Raises:
        SmapError: saying what is expected.
    """
    if fov := values.get("fov_deg"):
        check_field_of_view(math.radians(float(fov)))
    for topic in TOPICS:
        name = str(values[topic])
        if not _TOPIC.fullmatch(name) or len(name) > _LONGEST:
            raise InputError(
                f"{topic} is {shortened(name)}; expected the name of a topic, of letters, digits "
                f"and underscores with slashes between, like camera/{topic}"
            )
    raw = f"/{namespace_of(values)}/bodies_raw".replace("//", "/")
    if values.get("smoother") and values["bodies"] in ("bodies_raw", raw):
        raise InputError(
            f"bodies is {values['bodies']!r}, the topic that the smoother takes raw people from; "
            "expected another one, or smoother:=false"
        )


def namespace_of(values: Mapping[str, Value | None]) -> str:
    """The name space of all nodes, without a slash at its end.

    Raises:
        InputError: if it can't be one.
    """
    stated = str(values["namespace"])
    if stated and (not _NAMESPACE.fullmatch(stated) or len(stated) > _LONGEST):
        raise InputError(
            f"namespace is {shortened(stated)}; expected names of letters, digits and underscores "
            "with slashes between, like robot2/front"
        )
    return stated.rstrip("/")
