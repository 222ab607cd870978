"""External files, unknown operators and malformed graphs never reach ONNX Runtime."""

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from retort.serving.models.bundles import load_bundle
from retort.serving.models.graph_check import check_graph
from retort.shared.base.errors import BundleError
from retort.shared.model.bundle import MODEL
from tests.serving._graphs import graph_bytes, item_vectors
from tests.serving.models.test_bundles import copy, reseal

__all__ = ["copy"]  # the fixture

GOOD = graph_bytes(item_vectors(20))


def changed(**changes: object) -> bytes:
    """The good graph with one thing wrong."""
    model = onnx.load_from_string(GOOD)
    if "domain" in changes:
        model.graph.node[0].domain = str(changes["domain"])
    if "external" in changes:
        tensor = model.graph.initializer[0]
        set_external_data(tensor, location="../../secret")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
    if "nested" in changes:
        inner = helper.make_graph([helper.make_node("Evil", [], ["x"], domain="evil")], "inner", [], [])
        model.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner))
    if "constant" in changes:
        tensor = numpy_helper.from_array(np.zeros(1, np.float32), "t")
        tensor.data_location = TensorProto.EXTERNAL
        model.graph.node.append(helper.make_node("Constant", [], ["z"], value=tensor))
    if "function" in changes:
        body = [helper.make_node("Evil", [], ["x"], domain="evil")]
        model.functions.append(helper.make_function("local", "f", [], ["x"], body, [helper.make_opsetid("", 18)]))
    payload: bytes = model.SerializeToString()
    return payload


def test_a_good_graph_passes() -> None:
    check_graph(GOOD)
    check_graph(changed(domain="com.microsoft"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"domain": "evil"}, "evil"),
        ({"external": True}, "another file"),
        ({"nested": True}, "evil"),
        ({"constant": True}, "another file"),
        ({"function": True}, "evil"),
    ],
)
def test_external_weights_and_unknown_operators_are_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence):
        check_graph(changed(**change))


def test_a_bundle_with_external_weights_is_refused(copy: Path) -> None:
    (copy / MODEL).write_bytes(changed(external=True))
    reseal(copy, MODEL)
    with pytest.raises(BundleError, match="another file"):
        load_bundle(copy)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_never_crashes_the_check(place: int, value: int) -> None:
    data = bytearray(GOOD)
    data[place] = value
    with contextlib.suppress(BundleError):  # anything else is a crash
        check_graph(bytes(data))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        check_graph(data)
