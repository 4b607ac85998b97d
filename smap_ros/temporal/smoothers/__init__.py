"""Smoothers by name; a new one adds a line here and a file beside the others.

A smoother meets the protocol :class:`~smap_ros.temporal.smoothers.base.Smoother`: all people of
a picture at once, as arrays. It is imported when it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from smap_ros.errors import InputError

if TYPE_CHECKING:  # numpy comes with it, which a command's help does without
    from smap_ros.temporal.smoothers.base import Smoother

__all__ = ["AUTO", "IMAGE_BASED", "MAX_DELAY", "SMOOTHERS", "check_delay", "create_smoother"]

AUTO = "auto"
# The image-based MAED: a model of kind video looks at people's crops over time, where the images
# are, and what it finds is smooth. Nothing is left to do but to say who is who.
IMAGE_BASED = "maed_video"
MAX_DELAY = 8  # pictures; later people are of no use, and nothing gets better
_HERE = "smap_ros.temporal.smoothers"
# name -> module and class, and the delays that it can use.
_SMOOTHERS: dict[str, tuple[str, str, Collection[int]]] = {
    "one_euro": (f"{_HERE}.one_euro", "OneEuroSmoother", (0,)),
    "split": (f"{_HERE}.split", "SplitSmoother", (0,)),
    "rts": (f"{_HERE}.rts", "RtsSmoother", range(MAX_DELAY + 1)),
    "maed": (f"{_HERE}.maed", "MaedSmoother", (0, 2, 4)),
}
# What auto means where the learned one isn't better, or learned from another detector: the best
# filter that was measured at no delay, and with one; see docs/temporal.md.
_BEST_AT_ONCE, _BEST_DELAYED = "split", "rts"
_WITHOUT = ("none", IMAGE_BASED)  # a smoother of their own
SMOOTHERS = (AUTO, "none", *_SMOOTHERS, IMAGE_BASED)


def resolve(name: str, delay: int, learned: Collection[int] = ()) -> str:
    """The smoother that a name means: that of ``auto`` depends on the delay.

    Args:
        name: one of :data:`SMOOTHERS`.
        delay: pictures to look ahead.
        learned: delays at which the learned smoother is the best for this detector's people.
    """
    if name != AUTO:
        return name
    if delay in learned:
        return "maed"
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
    delays = (0,) if chosen in _WITHOUT else _SMOOTHERS[chosen][2]
    if delay not in delays:
        able = [other for other, (_, _, known) in _SMOOTHERS.items() if delay in known]
        ahead = "doesn't look" if len(delays) == 1 else f"looks {' or '.join(map(str, delays))}"
        raise InputError(
            f"smoother {name!r} {ahead} ahead, so it can't use a delay of {delay} pictures; choose "
            f"{' or '.join((AUTO, *able))}, or delay 0"
        )


def create_smoother(name: str, joints: int, delay: int = 0, **settings: Any) -> Smoother | None:
    """A smoother by name; None for ``none`` and for :data:`IMAGE_BASED`.

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
    if name in _WITHOUT:
        return None
    module, kind, delays = _SMOOTHERS[name]
    create = getattr(importlib.import_module(module), kind)
    made: Smoother = create(joints, **({"delay": delay} if len(delays) > 1 else {}), **settings)
    return made
