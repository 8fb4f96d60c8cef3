"""Graphs with less to do: the same answers, and left alone where something else is meant."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra 'train' is not installed")
torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from tintype_studio.vision.train.lean_graph import lean  # noqa: E402

SIDE = 8


def made(nodes, weights, outputs=("found",)):
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", None, None, None]) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def answers(model):
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, SIDE, SIDE)).astype(np.float32)
    return session.run(None, {"images": images})


def leaner(model):
    """The model made lean, which answers as before; its operators."""
    before = answers(model)
    lean(model)
    onnx.checker.check_model(model)
    for old, new in zip(before, answers(model), strict=True):
        assert np.allclose(old, new, rtol=1e-5, atol=1e-4)
    return [node.op_type for node in model.graph.node]


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs, [output], output, **attributes)


def random(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


CHANNELS = np.array([58.4, 57.1, 57.4], np.float32).reshape(1, 3, 1, 1)


@pytest.mark.parametrize("spread", [np.float32(58), CHANNELS], ids=["one", "per channel"])
def test_a_division_becomes_part_of_the_weights(spread):
    nodes = [
        node("Sub", ["images", "mean"], "centred"),
        node("Div", ["centred", "spread"], "normal"),
        node("Conv", ["normal", "weight", "bias"], "found", pads=[1, 1, 1, 1]),
    ]
    weights = {
        "mean": np.float32(114),
        "spread": spread,
        "weight": random(16, 3, 3, 3),
        "bias": random(16),
    }
    assert leaner(made(nodes, weights)) == ["Sub", "Conv"]


def test_a_division_that_others_need_stays():
    nodes = [
        node("Div", ["images", "spread"], "normal"),
        node("Conv", ["normal", "weight"], "found"),
        node("Relu", ["normal"], "more"),
    ]
    weights = {"spread": np.float32(58), "weight": random(16, 3, 1, 1)}
    assert leaner(made(nodes, weights, outputs=("found", "more"))) == ["Div", "Conv", "Relu"]
    assert leaner(made(nodes[:2], weights, outputs=("found", "normal"))) == ["Div", "Conv"]


def test_a_division_by_what_is_no_constant_of_channels_stays():
    nodes = [node("Div", ["images", "spread"], "normal"), node("Conv", ["normal", "weight"], "found")]
    columns = np.arange(1, SIDE + 1, dtype=np.float32)
    weights = {"spread": columns, "weight": random(16, 3, 1, 1)}
    assert leaner(made(nodes, weights)) == ["Div", "Conv"]
    by_itself = [
        node("GlobalAveragePool", ["images"], "mean"),
        node("Div", ["images", "mean"], "normal"),
        node("Conv", ["normal", "weight"], "found"),
    ]
    assert leaner(made(by_itself, weights)) == ["GlobalAveragePool", "Div", "Conv"]


def test_weights_that_two_convolutions_share_are_divided_for_one():
    nodes = [
        node("Div", ["images", "spread"], "normal"),
        node("Conv", ["normal", "weight"], "first"),
        node("Conv", ["images", "weight"], "second"),
        node("Add", ["first", "second"], "found"),
    ]
    weights = {"spread": np.float32(58), "weight": random(16, 3, 1, 1)}
    assert leaner(made(nodes, weights)) == ["Conv", "Conv", "Add"]


def enlarged(before, *, width=16, mode="linear", after="Conv"):
    nodes = [
        node("Conv", ["images", "weight"], "map"),
        node(before, ["map"], "changed", **({"perm": [0, 1, 3, 2]} if before == "Transpose" else {})),
        node(
            "Resize",
            ["changed", "", "scales"],
            "large",
            mode=mode,
            coordinate_transformation_mode="half_pixel" if mode == "linear" else "asymmetric",
            **({} if mode == "linear" else {"nearest_mode": "floor"}),
        ),
        node(after, ["large", "last"] if after == "Conv" else ["large"], "found"),
    ]
    weights = {
        "weight": random(width, 3, 1, 1),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "last": random(16, width, 1, 1),
    }
    return made(nodes, weights)


def test_a_map_is_enlarged_in_the_layout_of_convolutions():
    assert leaner(enlarged("Transpose")) == ["Conv", "Transpose", "Conv", "Resize", "Conv"]


@pytest.mark.parametrize(
    "options",
    [{"width": 12}, {"mode": "nearest"}, {"after": "Relu"}],
    ids=["no whole blocks", "nearest", "for no convolution"],
)
def test_other_maps_are_left_alone(options):
    assert leaner(enlarged("Transpose", **options)).count("Conv") == 2 - (options.get("after") == "Relu")


def test_a_map_that_has_the_layout_is_left_alone():
    assert leaner(enlarged("Relu")) == ["Conv", "Relu", "Resize", "Conv"]


@pytest.mark.parametrize("pipeline", ["sm_pytorch", "rfdetr_segmentation", "detectron2"])
def test_our_networks_enlarge_by_constants(pipeline):
    """With sizes that are computed, ONNX Runtime does it outside of that layout, in three times the time."""
    from tintype_studio.vision.train.config import read_config
    from tintype_studio.vision.train.export_onnx import export
    from tintype_studio.vision.train.loop import trainer_of
    from tintype_studio.vision.train.pipelines import pipeline_of
    from tintype_studio.vision.train.session import Order

    config, _ = read_config(pipeline_of(pipeline), {"image_size": 96})
    trainer = trainer_of(Order("r", "", "", pipeline, config, ""))
    signature = trainer.signature(("a", "b"), config)
    torch.manual_seed(0)
    module = trainer.build(signature, config).module
    samples = np.random.default_rng(0).uniform(0, 255, (2, 3, 96, 96)).astype(np.float32)
    graph = onnx.load_from_string(export(trainer.exportable(module), signature, samples).data).graph
    constants = {each.name for each in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    resized = [node for node in graph.node if node.op_type == "Resize"]
    assert resized
    assert all(len(node.input) == 3 and node.input[2] in constants for node in resized)
    assert all(node.op_type != "Div" or node.input[0] != "images" for node in graph.node)
