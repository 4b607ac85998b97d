"""What an ONNX file holds, read without the onnx package: robots don't have it.

ONNX files are protocol buffers. Only the fields that tell opset, nodes, attributes and ranks are
looked at (numbers as in onnx.proto3), and whether all weights are in the file; weights are stepped
over, never copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from smap_ros.errors import EngineError, InputError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BITS = 70
_GRAPH, _OPSETS, _FUNCTIONS = 7, 8, 25  # of a model
_MAX_DEPTH = 16  # graphs inside of graphs

_NOTHING = memoryview(b"")

Attribute = int | str | tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        operator: ``Conv`` for example; with its domain, ``domain:name``, unless that is ONNX's.
        inputs, outputs: names of tensors; empty where left out.
        attributes: numbers, texts and lists of whole numbers; others are left out.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute]


@dataclass(frozen=True)
class OnnxGraph:
    """An ONNX file, as far as a runtime's demands go.

    Attributes:
        opset: version of ONNX's own operators; 0 if the file states none.
        nodes: all operations, those of branches and loop bodies included.
        ranks: number of dimensions of the tensors for which the file tells it.
        constants: tensors whose values lie in the file.
        elsewhere: names of the files beside it in which there are values.
    """

    opset: int
    nodes: tuple[Node, ...]
    ranks: dict[str, int]
    constants: frozenset[str]
    elsewhere: tuple[str, ...] = ()

    @property
    def operators(self) -> dict[str, int]:
        """How often each operator occurs, the commonest first."""
        return dict(Counter(node.operator for node in self.nodes).most_common())


def read_graph(model: bytes) -> OnnxGraph:
    """Read an ONNX file.

    Args:
        model: its content.

    Raises:
        InputError: if it isn't one, or is cut off.
    """
    found = _Found()
    opset = 0
    for number, value in _fields(memoryview(model)):
        if number == _OPSETS:
            domain, version = _opset(_bytes(value))
            opset = version if domain == "" else opset
        elif number == _GRAPH:
            _read_graph(_bytes(value), found, depth=0)
        elif number == _FUNCTIONS:  # nodes of other domains, whose weights count all the same
            for node in _inside(_bytes(value), 7):
                _read_node(node, _Found(elsewhere=found.elsewhere), depth=1)
    if not found.nodes:
        raise InputError("this is not an ONNX file: it has no operations; export the model again")
    constants, elsewhere = frozenset(found.constants), tuple(sorted(found.elsewhere))
    return OnnxGraph(opset, tuple(found.nodes), found.ranks, constants, elsewhere)


def check_whole(model: bytes) -> None:
    """Refuse a network with weights in other files, which nobody checked.

    Runtimes look for them in the folder where the process was started, whatever is there.

    Args:
        model: content of the ONNX file.

    Raises:
        EngineError: if it has such weights.
        InputError: if it isn't an ONNX file, or is truncated.
    """
    elsewhere = read_graph(model).elsewhere
    if elsewhere:
        raise EngineError(
            f"weights of the network are in other files ({', '.join(elsewhere)}), for which "
            "bundle.yaml doesn't vouch; export it with all weights in the ONNX file"
        )


@dataclass
class _Found:
    """What has been read so far."""

    nodes: list[Node] = field(default_factory=list)
    ranks: dict[str, int] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)


def _read_graph(data: memoryview, found: _Found, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InputError(f"this ONNX file nests graphs more than {_MAX_DEPTH} deep")
    for number, value in _fields(data):
        if number == 1:
            _read_node(_bytes(value), found, depth)
        elif number == 5:
            name, rank = _weights(_bytes(value), found.elsewhere)
            found.constants.add(name)
            found.ranks[name] = rank
        elif number == 15:
            _sparse_weights(_bytes(value), found.elsewhere)
        elif number in (11, 12, 13):  # inputs, outputs, intermediate tensors
            name, known = _tensor(_bytes(value))
            if known is not None:
                found.ranks[name] = known


def _read_node(data: memoryview, found: _Found, depth: int) -> None:
    texts: dict[int, list[str]] = {1: [], 2: [], 4: [], 7: []}  # inputs, outputs, operator, domain
    attributes: dict[str, Attribute] = {}
    for number, value in _fields(data):
        if number in texts:
            texts[number].append(_text(value))
        elif number == 5:
            name, content, graphs = _attribute(_bytes(value), found.elsewhere)
            if content is not None:
                attributes[name] = content
            for graph in graphs:
                _read_graph(graph, found, depth + 1)
    operator, domain = "".join(texts[4]), "".join(texts[7])
    if domain not in ("", "ai.onnx"):
        operator = f"{domain}:{operator}"
    if operator == "Constant":
        found.constants.update(texts[2])
    found.nodes.append(Node(operator, tuple(texts[1]), tuple(texts[2]), attributes))


def _attribute(
    data: memoryview, elsewhere: set[str]
) -> tuple[str, Attribute | None, list[memoryview]]:
    """Name, value if it is of a kind that counts, and the graphs inside."""
    name, numbers, graphs = "", list[int](), list[memoryview]()
    value: Attribute | None = None
    for number, content in _fields(data):
        if number == 1:
            name = _text(content)
        elif number == 3 and isinstance(content, int):
            value = content
        elif number == 4:
            value = _text(content)
        elif number == 8:
            numbers += [content] if isinstance(content, int) else list(_packed(content))
        elif number in (6, 11):
            graphs.append(_bytes(content))
        elif number in (5, 10):
            _weights(_bytes(content), elsewhere)
        elif number in (22, 23):
            _sparse_weights(_bytes(content), elsewhere)
    return name, tuple(numbers) if numbers else value, graphs


def _opset(data: memoryview) -> tuple[str, int]:
    """Domain, empty for ONNX's own, and version."""
    domain, version = "", 0
    for number, value in _fields(data):
        if number == 1:
            domain = _text(value)
        elif number == 2 and isinstance(value, int):
            version = value
    return "" if domain == "ai.onnx" else domain, version


def _sparse_weights(data: memoryview, elsewhere: set[str]) -> None:
    """Where the values and the indices of a sparse tensor are."""
    for number, value in _fields(data):
        if number in (1, 2):
            _weights(_bytes(value), elsewhere)


def _weights(data: memoryview, elsewhere: set[str]) -> tuple[str, int]:
    """Name and rank of a tensor that is a constant, and where its values are if not here."""
    name, rank, place, outside = "", 0, "", False
    for number, value in _fields(data):
        if number == 1:
            rank += 1 if isinstance(value, int) else len(list(_packed(value)))
        elif number == 8:
            name = _text(value)
        elif number == 13:
            entry = dict(_fields(_bytes(value)))
            if _text(entry.get(1, _NOTHING)) == "location":
                place = _text(entry.get(2, _NOTHING))
        elif number == 14:
            outside = value == 1
    if outside:
        elsewhere.add(place)
    return name, rank


def _tensor(data: memoryview) -> tuple[str, int | None]:
    """Name and rank of an input, output or intermediate tensor; None when not told."""
    name, rank = "", None
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            for shape in _inside(_bytes(value), 1, 2):  # type -> tensor -> shape
                rank = sum(1 for n, _ in _fields(shape) if n == 1)
    return name, rank


def _inside(data: memoryview, *path: int) -> Iterator[memoryview]:
    """The messages at a path of field numbers."""
    if not path:
        yield data
        return
    for number, value in _fields(data):
        if number == path[0]:
            yield from _inside(_bytes(value), *path[1:])


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, position = _varint(data, position)
        else:
            size = _FIXED.get(kind, -1)
        if not 0 <= size <= len(data) - position:
            raise InputError("this is not an ONNX file, or it is cut off; export the model again")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """A whole number and where it ends; negative ones have the 64th bit set."""
    value = 0
    for shift in range(0, _MAX_VARINT_BITS, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value - (1 << 64) if value >> 63 else value, position
    raise InputError("this is not an ONNX file, or it is cut off; export the model again")


def _packed(value: int | memoryview) -> Iterator[int]:
    data, position = _bytes(value), 0
    while position < len(data):
        number, position = _varint(data, position)
        yield number


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise InputError("this is not an ONNX file: a number stands where a message belongs")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode("utf-8", "replace")
