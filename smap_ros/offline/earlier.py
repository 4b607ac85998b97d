"""Which files a run writes, told by its people: the next run removes these and nobody else's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from smap_ros.bodies import BodyFrame
from smap_ros.offline.names import PICTURES, PLOT, SHEET, VIDEO
from smap_ros.sources.files import IMAGE_SUFFIXES


class Names:
    """Gives the files of one run their names; equal ones are numbered from 2 on.

    Examples:
        >>> names = Names()
        >>> names.picture("a/x.png"), names.picture("x.jpg"), names.video("clip.mp4", first=True)
        ('annotated/x.jpg', 'annotated/x_2.jpg', 'annotated.mp4')
    """

    def __init__(self) -> None:
        self._given: set[str] = set()

    def picture(self, source: str) -> str:
        """The annotated picture of an image."""
        return self._unique(f"{PICTURES}/{picture_name(source)}", ".jpg")

    def video(self, source: str, *, first: bool) -> str:
        """The annotated video of a source; the first of a run has the plain name."""
        return self._unique(VIDEO if first else video_name(source), ".mp4")

    def _unique(self, base: str, suffix: str) -> str:
        name, k = f"{base}{suffix}", 1
        while name in self._given:
            k += 1
            name = f"{base}_{k}{suffix}"
        self._given.add(name)
        return name


def picture_name(source: str) -> str:
    """Name of an image's annotated picture, without suffix."""
    return Path(source).stem or "image"


def video_name(source: str) -> str:
    """Name of a source's annotated video where there are several, without suffix."""
    # Of a bag (bag:/topic) its own name; a film may be called 12:30.mp4.
    return f"{VIDEO}_{Path(source.partition(':/')[0]).stem}"


def written(frames: Iterable[BodyFrame]) -> list[str]:
    """The files that a run with these frames wrote beside its bodies.json, as far as they tell.

    The video of a film that doesn't tell it is left out.
    """
    files = [file for _, file in with_files(frames) if file]
    return [SHEET, PLOT, *files] if files else []


def with_files(frames: Iterable[BodyFrame]) -> Iterator[tuple[list[BodyFrame], str]]:
    """The frames by source, each with the picture or video that its run wrote of them.

    It is empty of a folder that is a film and not the first source, as its frames don't name it.
    """
    names = Names()
    for number, group in enumerate(by_source(frames)):
        source, file = group[0].source, ""
        if _single(group):
            file = names.picture(source)
        elif number == 0 or not of_picture(source):
            file = names.video(source, first=number == 0)
        yield group, file


def by_source(frames: Iterable[BodyFrame]) -> list[list[BodyFrame]]:
    """The frames of each film, and each picture that is of none alone.

    Each picture of a film names its own file; a film goes on as long as numbers and stamps rise.
    Pictures that are no film have no stamps.
    """
    groups: list[list[BodyFrame]] = []
    seen: set[int] = set()
    for frame in frames:
        if groups and _continues(groups[-1][-1], frame) and frame.index not in seen:
            groups[-1].append(frame)
        else:
            groups.append([frame])
            seen = set()
        seen.add(frame.index)
    return groups


def _continues(before: BodyFrame, frame: BodyFrame) -> bool:
    """Whether a frame may be of the same film."""
    if not of_picture(frame.source):
        return frame.source == before.source
    return of_picture(before.source) and frame.stamp > before.stamp and frame.index > before.index


def _single(group: list[BodyFrame]) -> bool:
    """Whether it is a scene of its own, in which nobody has an identity."""
    head = group[0]
    alone = len(group) == 1 and head.stamp == 0 and of_picture(head.source)
    return alone and all(body.id is None for body in head)


def of_picture(name: str) -> bool:
    """Whether a source is the file of a picture."""
    return "://" not in name and Path(name).suffix.lower() in IMAGE_SUFFIXES
