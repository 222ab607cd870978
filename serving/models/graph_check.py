"""Safety check of an ONNX file before ONNX Runtime loads it: known operators and no external files.

An ONNX file may refer to other files for its weights (CVE-2022-25882 and its successors) and to operators of other
domains. Serving does not install the `onnx` package and needs few fields, so it reads the protocol buffer directly:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

from retort.shared.base.errors import BundleError

# Operators that ONNX Runtime contains; any other domain would require a third-party library.
KNOWN_DOMAINS = frozenset({"", "ai.onnx", "com.microsoft"})
MAX_DEPTH = 8

# Field numbers of the messages that are walked.
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_FUNCTION_NODE = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE, _NODE_DOMAIN = 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_graph(model: bytes) -> None:
    """Check a serialised ONNX model.

    Raises:
        BundleError: The bytes are not a model, or it uses external weights, sparse weights or unknown operators.
    """
    view = memoryview(model)
    functions = [name for number, name in _messages(view) if number == _MODEL_FUNCTIONS]
    graphs = [body for number, body in _messages(view) if number == _MODEL_GRAPH]
    if len(graphs) != 1:
        raise BundleError("the graph is not an ONNX model; export it again.")
    _check_graph(graphs[0], 0)
    for function in functions:
        for number, node in _messages(function):
            if number == _FUNCTION_NODE:
                _check_node(node, 0)


def _check_graph(graph: memoryview, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BundleError("the graph is nested too deeply; export it again.")
    for number, body in _messages(graph):
        if number == _GRAPH_NODE:
            _check_node(body, depth)
        elif number == _GRAPH_INITIALIZER:
            _check_tensor(body)
        elif number == _GRAPH_SPARSE:
            raise BundleError("the graph holds sparse weights, which this server does not support; export it again.")


def _check_node(node: memoryview, depth: int) -> None:
    for number, body in _messages(node):
        if number == _NODE_DOMAIN:
            domain = bytes(body).decode("utf-8", "replace")
            if domain not in KNOWN_DOMAINS:
                raise BundleError(
                    f"the graph uses operators of {domain!r}, which this server does not support; export it again."
                )
        elif number == _NODE_ATTRIBUTE:
            for kind, value in _messages(body):
                if kind in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                    _check_graph(value, depth + 1)
                elif kind in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                    _check_tensor(value)


def _check_tensor(tensor: memoryview) -> None:
    for number, wire, value, _ in _fields(tensor):
        is_external = number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and wire == _VARINT and value == 1)
        if is_external:
            raise BundleError("the graph keeps weights in another file; export it as one file.")


def _messages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (field number, body) of all fields that hold bytes."""
    for number, wire, _, body in _fields(message):
        if wire == _BYTES:
            yield number, body


def _fields(message: memoryview) -> Iterator[tuple[int, int, int, memoryview]]:
    """Yield (field number, wire type, integer, bytes) of all fields."""
    at, end, empty = 0, len(message), message[:0]
    while at < end:
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, wire, value, empty
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise _truncated()
        if at + size > end:
            raise _truncated()
        yield number, wire, 0, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _truncated()


def _truncated() -> BundleError:
    return BundleError("the graph is not an ONNX model, or is truncated; export it again.")
