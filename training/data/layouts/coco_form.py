"""Files in the form of COCO, read entry by entry: ``images``, and ``annotations`` of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from smap_ros.errors import reason
from smap_train.data.layouts.json_stream import entries

MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)

One = TypeVar("One")
Problem = tuple[str, str]  # how messages call an entry, and what is wrong with it


@dataclass(frozen=True)
class Picture(Generic[One]):
    """An entry of ``images`` with what was read of the annotations of its people.

    Attributes:
        place: for messages.
        image: the entry; empty where annotations have no picture.
        people: in the order of the file.
        bad: annotations that can't be read.
    """

    place: str
    image: dict[str, Any]
    people: list[One] = field(default_factory=list)
    bad: list[Problem] = field(default_factory=list)

    @property
    def file(self) -> Path:
        """Of the picture."""
        return file_of(self.image)


def file_of(image: dict[str, Any]) -> Path:
    """The file of an entry of ``images``; empty if it doesn't say."""
    name = image.get("file_name")
    return Path(name) if isinstance(name, str) else Path()


def annotation_id(annotation: dict[str, Any]) -> object:
    """How messages call an annotation."""
    return annotation.get("id")


def pictures(path: Path, read: Callable[[dict[str, Any]], One]) -> Iterator[Picture[One]]:
    """The pictures of a file in their order, and one without an entry for people of none.

    Args:
        path: the JSON file.
        read: an annotation; what it raises of :data:`MALFORMED` makes it a bad one.

    Raises:
        InputError: if the file can't be read.
    """
    people: dict[Any, list[One]] = defaultdict(list)
    bad: dict[Any, list[Problem]] = defaultdict(list)
    lost: list[Problem] = []
    for number, entry in enumerate(entries(path, "annotations")):
        place = f"{path}, annotation {number}"
        try:
            key = entry["image_id"]
            hash(key)
        except MALFORMED as error:
            lost.append((place, f"is malformed: {reason(error)}"))
            continue
        try:
            people[key].append(read(entry))
        except MALFORMED as error:
            bad[key].append((place, f"is malformed: {reason(error)}"))
    for number, image in enumerate(entries(path, "images")):
        if not isinstance(image, dict) or not isinstance(image.get("id"), int | str):
            lost.append((f"{path}, image {number}", "is malformed: expected an object with an id"))
            continue
        key = image["id"]
        yield Picture(f"{path}, image {key}", image, people.pop(key, []), bad.pop(key, []))
    lost += [
        (str(path), f"has people of image {key}, which it doesn't have")
        for key in people.keys() | bad.keys()
    ]
    if lost:
        yield Picture(str(path), {}, [], lost)
