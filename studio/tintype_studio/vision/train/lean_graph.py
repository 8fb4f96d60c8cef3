"""Makes an exported graph faster to run, and leaves what it answers as it is.

ONNX Runtime optimises a graph when it opens it. What stands here is what it does not find by itself: that
the normalisation of pixels can be part of a convolution's weights, and that maps are enlarged faster in the
blocked layout of its convolutions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

BLOCK = 16
"""Channels in a block of that layout."""
BLOCKED = {"Conv", "Relu", "Add", "MaxPool", "Resize"}
"""What gives it, as far as it has been given it."""


def lean(model: onnx.ModelProto) -> None:
    """Take out of a model what need not be done."""
    _scale_weights(model.graph)
    _enlarge_blocked(model)


def _scale_weights(graph: onnx.GraphProto) -> None:
    """Have the weights of a convolution divided instead of all its input."""
    constants = _constants(graph)
    for node in list(graph.node):
        if node.op_type != "Div" or node.input[1] not in constants:
            continue
        users = _users(graph, node.output[0])
        if [each.op_type for each in users] != ["Conv"] or users[0].input[1] not in constants:
            continue
        (conv,) = users
        weights, by = constants[conv.input[1]], constants[node.input[1]]
        # One number, or one for each channel; of groups, channels are counted anew in each.
        if by.size > 1 and (by.shape[-3:] != (weights.shape[1], 1, 1) or by.size != weights.shape[1]):
            continue
        name = f"{conv.input[1]}_scaled"
        scaled = (weights / by.reshape(1, -1, 1, 1)).astype(weights.dtype)
        graph.initializer.append(numpy_helper.from_array(scaled, name))
        conv.input[0], conv.input[1] = node.input[0], name
        graph.node.remove(node)


def _enlarge_blocked(model: onnx.ModelProto) -> None:
    """Put a convolution that changes nothing before a map is enlarged for another one, at the small size.

    A map gets the layout from a convolution, and keeps it until somebody needs the plain one; enlarging takes
    a third of the time in it.
    """
    graph = model.graph
    widths = {
        each.name: each.type.tensor_type.shape.dim[1].dim_value
        for each in onnx.shape_inference.infer_shapes(model).graph.value_info
        if len(each.type.tensor_type.shape.dim) == 4
    }
    made = {name: node for node in graph.node for name in node.output}
    for place, node in reversed(list(enumerate(graph.node))):
        if node.op_type != "Resize" or _attribute(node, "mode") != b"linear":
            continue
        source, width = made.get(node.input[0]), widths.get(node.input[0], 0)
        if source is None or source.op_type in BLOCKED or not width or width % BLOCK:
            continue
        if all(each.op_type != "Conv" for each in _users(graph, node.output[0])):
            continue
        ones, name = f"{node.output[0]}_ones", f"{node.output[0]}_small"
        graph.initializer.append(numpy_helper.from_array(np.ones((width, 1, 1, 1), np.float32), ones))
        same = helper.make_node("Conv", [node.input[0], ones], [name], name, kernel_shape=[1, 1], group=width)
        node.input[0] = name
        graph.node.insert(place, same)


def _constants(graph: onnx.GraphProto) -> dict[str, Any]:
    found = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _users(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    outputs = [node for node in graph.node if name in node.input]
    # An output of the graph is used by whoever asked.
    return [*outputs, onnx.NodeProto()] if any(each.name == name for each in graph.output) else outputs


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), None)
