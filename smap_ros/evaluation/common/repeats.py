"""What comes twice where each may come once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

Value = TypeVar("Value", bound=Hashable)


def repeated(values: Iterable[Value]) -> Value | None:
    """The first of the values that was there before; None if each is there once."""
    seen: set[Value] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
