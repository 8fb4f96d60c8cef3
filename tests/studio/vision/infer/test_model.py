"""ONNX Runtime on graphs whose answers are known: batches, sizes, threads, and files that are no models."""

import threading

import numpy as np
import pytest

pytest.importorskip("onnx")

from support.onnx_models import blob_detector, constant_model
from support.ready_models import scene

from tintype_studio.errors import Cancelled, InvalidInput, Unavailable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.infer import model as models
from tintype_studio.vision.infer.model import BATCH, OnnxModel, open_model
from tintype_studio.vision.tasks import Signature, Task

BLOBS = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64, nms_iou=0.5)


def test_objects_are_found_where_they_are_whatever_the_size():
    model = OnnxModel.from_bytes(blob_detector(BLOBS), threads=1)
    assert model.signature == BLOBS
    pictures = [scene(64, 64, (1, 2, "red")), scene(640, 480, (3, 0, "blue"), (0, 1, "red")), scene(32, 64)]
    small, large, none = model.predict(pictures, threshold=0.5)
    assert [(f.label, f.box) for f in small.objects] == [(0, (16, 32, 32, 48))]
    assert {(f.label, f.box) for f in large.objects} == {(1, (480, 0, 640, 160)), (0, (0, 160, 160, 320))}
    assert none.objects == []
    assert large.objects[0].score == pytest.approx(1, abs=1e-5)


def test_a_batch_says_what_single_pictures_say():
    model = OnnxModel.from_bytes(blob_detector(BLOBS))
    rng = np.random.default_rng(0)
    pictures = [
        scene(*rng.integers(40, 200, 2), (int(rng.integers(4)), int(rng.integers(4)), "red"))
        for _ in range(2 * BATCH + 3)
    ]
    together = model.predict(pictures, threshold=0.2)
    assert together == [model.predict([picture], threshold=0.2)[0] for picture in pictures]
    assert model.predict([], threshold=0.2) == []


def test_a_call_is_given_up_between_batches():
    model = OnnxModel.from_bytes(blob_detector(BLOBS), threads=1)
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 2:
            raise Cancelled("gone")

    with pytest.raises(Cancelled):
        model.predict([scene(64, 64)] * (BATCH + 1), threshold=0.5, check=check)


@pytest.mark.parametrize(
    ("task", "outputs"),
    [
        (Task.CLASSIFICATION, [np.array([0, 2])]),
        (Task.SEMANTIC, [np.stack([np.zeros((8, 8)), np.full((8, 8), 2), np.zeros((8, 8))])]),
        (
            Task.INSTANCES,
            [np.array([(8, 8, 40, 40)]), np.array([(0.9, 0)]), np.ones((1, 2)), np.ones((2, 16, 16))],
        ),
    ],
)
def test_every_task_comes_out_in_its_own_way(task, outputs):
    signature = Signature(task, "test", ("a", "b"), 64)
    found = OnnxModel.from_bytes(constant_model(signature, outputs), threads=1).predict(
        [scene(96, 64)], threshold=0.5
    )[0]
    if task is Task.CLASSIFICATION:
        assert found.scores.argmax() == 1
    elif task is Task.SEMANTIC:
        assert (found.regions == 1).all()
        assert found.certainty.min() == pytest.approx(np.exp(2) / (np.exp(2) + 2), abs=1e-4)
    else:
        assert found.objects[0].box == (12, 12, 60, 60)
        assert found.objects[0].mask.all()


def other_model():
    import onnx
    from onnx import TensorProto, helper

    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [info], [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    ])  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.ModelProto.SerializeToString(made)


@pytest.mark.parametrize("data", [b"", b"no model", None, "half"])
def test_other_files_are_refused(data):
    if data is None:
        data = other_model()
    elif data == "half":
        data = blob_detector(BLOBS)[:300]
    with pytest.raises(InvalidInput) as refused:
        OnnxModel.from_bytes(data)
    assert refused.value.code == "not_our_model"


def test_a_process_opens_a_model_once_and_few_at_a_time(tmp_path, monkeypatch):
    kept = models.OpenFiles(OnnxModel.from_bytes, models.KEPT_IN_MEMORY)
    monkeypatch.setattr(models, "_open", kept)
    blobs = Blobs(str(tmp_path / "blobs"))
    made = [
        blobs.put(blob_detector(Signature(Task.DETECTION, "yolox", ("red", "blue"), 64, nms_iou=0.1 * n)))
        for n in range(1, models.KEPT_IN_MEMORY + 2)
    ]
    opened = []
    threads = [threading.Thread(target=lambda: opened.append(open_model(blobs, made[0]))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(model) for model in opened}) == 1
    for sha256 in made[1:]:
        open_model(blobs, sha256)
    assert len(kept._open) == len(kept._opening) == models.KEPT_IN_MEMORY
    assert open_model(blobs, made[0]) is not opened[0]
    with pytest.raises(Unavailable, match="stored file"):
        open_model(blobs, "0" * 64)
