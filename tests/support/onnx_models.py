"""Models made by hand, without torch: small graphs whose answers are known.

``Constant`` answers for every picture the same; ``brightness`` looks at its middle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import orjson
from onnx import TensorProto, helper, numpy_helper

from tintype_studio.vision.tasks import METADATA_KEY, OUTPUTS, Signature, Task

OPSET = 17
IR = 8
"""Read by every ONNX Runtime from 1.12 on."""


def constant_model(signature: Signature, outputs: Sequence[np.ndarray]) -> bytes:
    """A model that gives ``outputs`` (one row each) for every picture, times nothing of it."""
    nodes, tensors, infos = [], [], []
    # Something of the input must be used: zero times the mean of each picture, added to every output.
    nodes.append(helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1))
    tensors.append(numpy_helper.from_array(np.float32(0), "zero"))
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    for name, value in zip(OUTPUTS[signature.task], outputs, strict=True):
        value = np.asarray(value, np.float32)
        tensors.append(numpy_helper.from_array(value[None], f"{name}_value"))
        shape = [-1] + [1] * value.ndim
        tensors.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}_shape"))
        nodes.append(helper.make_node("Reshape", ["nothing", f"{name}_shape"], [f"{name}_nothing"]))
        nodes.append(helper.make_node("Add", [f"{name}_nothing", f"{name}_value"], [name]))
        infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *value.shape]))
    return _file(signature, nodes, tensors, infos)


def blob_detector(signature: Signature, *, cells: int = 4) -> bytes:
    """Detection: the picture in ``cells`` x ``cells`` boxes; the score of class 0 is how red a box is on
    average (0 to 1), of class 1 how blue. Its red and blue boxes are found exactly.
    """
    size = signature.image_size
    step = size // cells
    grid = np.array(
        [(x * step, y * step, (x + 1) * step, (y + 1) * step) for y in range(cells) for x in range(cells)],
        np.float32,
    )
    # Red minus the mean of the other two, and the same for blue, over 255.
    weights = np.zeros((2, 3, 1, 1), np.float32)
    weights[0, :, 0, 0] = np.array([1, -0.5, -0.5]) / 255
    weights[1, :, 0, 0] = np.array([-0.5, -0.5, 1]) / 255
    tensors = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(grid[None], "grid"),
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.array([0, 2, -1], np.int64), "flat"),
        numpy_helper.from_array(np.array([-1, 1, 1], np.int64), "rows"),
    ]
    nodes = [
        helper.make_node(
            "AveragePool", ["images"], ["cells"], kernel_shape=[step, step], strides=[step, step]
        ),
        helper.make_node("Conv", ["cells", "weights"], ["raw"]),
        helper.make_node("Clip", ["raw", "zero"], ["positive"]),
        helper.make_node("Reshape", ["positive", "flat"], ["by_class"]),
        helper.make_node("Transpose", ["by_class"], ["scores"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "rows"], ["none_of_it"]),
        helper.make_node("Add", ["none_of_it", "grid"], ["boxes"]),
    ]
    infos = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", cells * cells, 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", cells * cells, 2]),
    ]
    assert signature.task is Task.DETECTION
    assert len(signature.classes) == 2
    return _file(signature, nodes, tensors, infos)


def _file(signature: Signature, nodes: list, tensors: list, outputs: list) -> bytes:
    size = signature.image_size
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, size, size])
    graph = helper.make_graph(nodes, "test", [images], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    helper.set_model_props(model, {METADATA_KEY: orjson.dumps(signature.as_json()).decode()})
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
