"""Stamps of messages that tests make."""

from __future__ import annotations

from builtin_interfaces.msg import Time


def stamp_of(seconds: float) -> Time:
    """A stamp from seconds."""
    total = round(seconds * 1_000_000_000)
    return Time(sec=total // 1_000_000_000, nanosec=total % 1_000_000_000)
