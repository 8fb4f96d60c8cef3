"""Attribute heads made by hand, without torch: which colour a crop has."""

from __future__ import annotations

import numpy as np
import onnx
import orjson
from onnx import TensorProto, helper, numpy_helper

from tintype_studio.vision.heads import METADATA_KEY, HeadsSignature

CHANNELS = ("red", "green", "blue")


def colour_heads(attributes: dict[str, dict[str, list[str]]], size: int = 32) -> bytes:
    """Heads whose options are named after channels: the logit of each is how bright that is on average (0 to
    10); an option that is no channel gets 0.
    """
    signature = HeadsSignature.of(attributes, size)
    weights = np.zeros((3, signature.outputs), np.float32)
    for head in signature.heads:
        for place, option in enumerate(head.options, head.start):
            if option in CHANNELS:
                weights[CHANNELS.index(option), place] = 10 / 255
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "heads",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", signature.outputs])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: orjson.dumps(signature.as_json()).decode()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
