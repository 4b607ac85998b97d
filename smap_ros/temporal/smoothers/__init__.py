"""Smoothers by name; a new one adds a line here and a file beside the others.

A smoother meets the protocol :class:`~smap_ros.temporal.smoothers.base.Smoother`: all people of
a picture at once, as arrays. It is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from smap_ros.errors import InputError

if TYPE_CHECKING:  # numpy comes with it, which a command's help does without
    from smap_ros.temporal.smoothers.base import Smoother

__all__ = ["AUTO", "MAX_DELAY", "SMOOTHERS", "check_delay", "create_smoother"]

AUTO = "auto"
MAX_DELAY = 8  # pictures; later people are of no use, and nothing gets better
_HERE = "smap_ros.temporal.smoothers"
# name -> module and class, and whether it can look ahead.
_SMOOTHERS = {
    "one_euro": (f"{_HERE}.one_euro", "OneEuroSmoother", False),
    "split": (f"{_HERE}.split", "SplitSmoother", False),
    "rts": (f"{_HERE}.rts", "RtsSmoother", True),
}
# What auto means: the best that was measured at no delay, and with one; see docs/temporal.md.
_BEST_AT_ONCE, _BEST_DELAYED = "split", "rts"
SMOOTHERS = (AUTO, "none", *_SMOOTHERS)


def resolve(name: str, delay: int) -> str:
    """The smoother that a name means: that of ``auto`` depends on the delay."""
    if name != AUTO:
        return name
    return _BEST_DELAYED if delay else _BEST_AT_ONCE


def check_delay(name: str, delay: int) -> None:
    """Refuse names that are unknown, and delays that a smoother can't use.

    Raises:
        InputError: saying what to choose instead.
    """
    if name not in SMOOTHERS:
        raise InputError(f"smoother is {name!r}; expected one of {', '.join(SMOOTHERS)}")
    if not 0 <= delay <= MAX_DELAY:
        raise InputError(f"delay is {delay}; expected 0 to {MAX_DELAY} pictures")
    chosen = resolve(name, delay)
    if delay and (chosen == "none" or not _SMOOTHERS[chosen][2]):
        able = [other for other, (_, _, ahead) in _SMOOTHERS.items() if ahead]
        raise InputError(
            f"smoother {name!r} doesn't look ahead, so a delay of {delay} pictures would gain "
            f"nothing; choose {' or '.join((AUTO, *able))}, or delay 0"
        )


def create_smoother(name: str, joints: int, delay: int = 0, **settings: Any) -> Smoother | None:
    """A smoother by name; None for ``none``.

    Args:
        name: one of :data:`SMOOTHERS`.
        joints: of the joint set.
        delay: pictures to look ahead.
        settings: of that smoother.

    Raises:
        InputError: see :func:`check_delay`.
    """
    check_delay(name, delay)
    name = resolve(name, delay)
    if name == "none":
        return None
    module, kind, ahead = _SMOOTHERS[name]
    create = getattr(importlib.import_module(module), kind)
    made: Smoother = create(joints, **({"delay": delay} if ahead else {}), **settings)
    return made
