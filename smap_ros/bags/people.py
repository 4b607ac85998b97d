"""The people in a bag: the topics they are on, and which image each of their messages is of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rosbags.highlevel import AnyReader

from smap_ros.bags.messages import body_from_message
from smap_ros.bags.reader import NANOSECONDS, READ_ERRORS, raw_header, read_messages, stamp_ns
from smap_ros.bags.topics import ImageTopic, image_topics, shared_parts
from smap_ros.bodies import Body
from smap_ros.skeletons import get_skeleton
from smap_ros.stamps import belong_together

BODIES = "smap_ros/msg/BodyArray"
# Topics of the graph's people, their last parts.
RAW, SMOOTHED = "bodies_raw", "bodies"


@dataclass
class People:
    """What one topic says of the people in a camera's images.

    The messages of a stamp are those of the images of this stamp, in order.

    Attributes:
        topic: its whole name.
        bodies: by number of the image: the people.
        predicted: likewise: of each of these people, whether they were only predicted.
        latency_ms: milliseconds from the stamp of an image, which no other has, to the arrival of
            its message at the recorder, where stamps and its clock belong together.
        unclear: images whose messages can't be told from those of others.
        problems: what can't be told or isn't known, one line each, for people to read.
    """

    topic: str
    bodies: dict[int, tuple[Body, ...]] = field(default_factory=dict)
    predicted: dict[int, tuple[bool, ...]] = field(default_factory=dict)
    latency_ms: list[float] = field(default_factory=list)
    unclear: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The last part of the topic."""
        return last_part(self.topic)


def last_part(topic: str) -> str:
    """The name of a topic without its namespace."""
    return topic.rpartition("/")[2]


def short_names(topics: Iterable[str]) -> dict[str, str]:
    """Topics by name: their last part, or all of it where others have the same last part."""
    topics = sorted(topics)
    alike = Counter(map(last_part, topics))
    return {last_part(t) if alike[last_part(t)] == 1 else t: t for t in topics}


def matching(wanted: str, topics: Iterable[str]) -> list[str]:
    """The topics that a name means: the one of this whole name, or else all that end so."""
    topics = list(topics)
    whole = [t for t in topics if t == wanted]
    if not whole and "/" in wanted:
        whole = [t for t in topics if t.lstrip("/") == wanted.lstrip("/")]
    return whole or [t for t in topics if last_part(t) == wanted]


def images_of_people(reader: AnyReader) -> dict[str, list[ImageTopic]]:
    """Of each topic of people, the images that they were found in.

    These have the people's frames and stamps. Cameras that fire together may have both in common:
    then it is those with the most in common in their names.
    """
    cameras = [topic for topic in image_topics(reader) if topic.camera]
    images = {topic.name: _headers(reader, topic.name) for topic in cameras}
    found = {}
    # Topics that something came on.
    for name in sorted({c.topic for c in reader.connections if c.msgtype == BODIES and c.msgcount}):
        headers = _headers(reader, name)
        seen = [topic for topic in cameras if headers & images[topic.name]]
        near = [shared_parts(topic.name, name) for topic in seen]
        found[name] = [topic for topic, k in zip(seen, near, strict=True) if k == max(near)]
    return found


def _headers(reader: AnyReader, topic: str) -> set[tuple[int, str]]:
    """Stamp and frame of each message of a topic."""
    connections = [c for c in reader.connections if c.topic == topic]
    headers: set[tuple[int, str] | None] = set()
    with suppress(*READ_ERRORS):  # damage, which is told where the messages are read
        for connection, _, raw in reader.messages(connections=connections):
            headers.add(raw_header(reader, connection.msgtype, raw))
    return {header for header in headers if header is not None}


def read_people(reader: AnyReader, topic: str, image_stamps: Sequence[int], again: int) -> People:
    """The people of images on a topic.

    Args:
        reader: of the bag.
        topic: its whole name.
        image_stamps: of the images in order, nanoseconds.
        again: how many messages more the first image may have, as it was shown so often.
    """
    images: defaultdict[int, list[int]] = defaultdict(list)
    for number, stamp in enumerate(image_stamps):
        images[stamp].append(number)
    said: defaultdict[int, list[tuple[int, Any]]] = defaultdict(list)
    for arrived, message in read_messages(reader, topic):
        if (stamp := stamp_ns(message)) in images:
            said[stamp].append((arrived, message))
    people = People(topic)
    several = 0
    for stamp, messages in said.items():
        numbers = images[stamp]
        spare = again if numbers[0] == 0 else 0
        del messages[: min(max(0, len(messages) - len(numbers)), spare)]
        if len(numbers) == 1:
            several += len(messages) > 1
            arrived, message = messages[-1]
            _take(people, numbers[0], message)
            # None of a replay with the stamps of its recording.
            if belong_together((arrived - stamp) / NANOSECONDS):
                people.latency_ms.append((arrived - stamp) * 1e-6)
        elif len(messages) == len(numbers):
            for number, (_, message) in zip(numbers, messages, strict=True):
                _take(people, number, message)
        else:
            people.unclear += len(numbers)
    _say(people, several, images)
    return people


def _take(people: People, number: int, message: Any) -> None:
    """The people of an image, from its message."""
    skeleton = get_skeleton(message.skeleton)
    people.bodies[number] = tuple(body_from_message(body, skeleton) for body in message.bodies)
    people.predicted[number] = tuple(bool(body.predicted) for body in message.bodies)


def _say(people: People, several: int, images: Mapping[int, Collection[int]]) -> None:
    """Tell what is not as it should be, and leave out latencies that nobody can believe."""
    stuck = sum(len(numbers) for numbers in images.values() if len(numbers) > 1)
    if stuck:
        people.problems.append(
            f"{stuck} images have stamps that others have too: the messages on {people.topic} are "
            "taken in their order, and tell no latency"
        )
    if people.unclear:
        people.problems.append(
            f"{people.unclear} of them are left out: there aren't as many messages on "
            f"{people.topic} as images of their stamps, so which is of which can't be told"
        )
    if several:
        people.problems.append(
            f"{several} images have more than one message on {people.topic}: the last counts"
        )
    behind = [latency for latency in people.latency_ms if latency < 0]
    if behind:
        count = len(people.latency_ms)
        people.latency_ms = [latency for latency in people.latency_ms if latency >= 0]
        people.problems.append(
            f"{len(behind)} of {count} messages on {people.topic} arrived before their images' "
            f"stamps, by up to {-min(behind):.0f} ms: the recorder's clock is behind. Latencies "
            "below 0 are left out, and others may be too low"
        )
