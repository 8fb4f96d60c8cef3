"""Published RF-DETR weights: the library's answers, other heads, and plain errors without them."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from support.rf_detr import tiny_rf_detr

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
transformers = pytest.importorskip("transformers", reason="the extra 'train' is not installed")

from tintype_studio.errors import Unavailable  # noqa: E402
from tintype_studio.vision.train.config import read_config  # noqa: E402
from tintype_studio.vision.train.export_onnx import TOLERANCE, export  # noqa: E402
from tintype_studio.vision.train.nets.rf_detr_masks import ExportedMasks, RfDetrMasks  # noqa: E402
from tintype_studio.vision.train.pipelines import pipeline_of  # noqa: E402
from tintype_studio.vision.train.published import open_published  # noqa: E402
from tintype_studio.vision.train.trainers.rfdetr_segmentation import RfDetrSegmentation  # noqa: E402

PIPELINE = "rfdetr_segmentation"


def network(classes=5):
    return tiny_rf_detr("RfDetrForInstanceSegmentation", classes, intermediate_size=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "rf-detr-tiny"
    network().save_pretrained(path)
    return path


def built(pretrained, classes=("a", "b"), size=96):
    config, _ = read_config(pipeline_of(PIPELINE), {"image_size": size, "pretrained": str(pretrained)})
    trainer = RfDetrSegmentation()
    signature = trainer.signature(classes, config)
    return trainer, signature, config, trainer.build(signature, config)


def test_the_answers_are_those_of_the_library():
    theirs = network()
    ours = ExportedMasks(RfDetrMasks(theirs, 96)).eval()
    images = torch.rand(2, 3, 96, 96) * 255
    mean, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        wanted = theirs((images / 255 - mean) / spread)
        boxes, scores, coefficients, prototypes = ours(images)
    middle, half = wanted.pred_boxes[..., :2], wanted.pred_boxes[..., 2:] / 2
    corners = torch.cat([middle - half, middle + half], -1).clamp(0, 1) * 96
    masks = torch.einsum("nqk,nkhw->nqhw", coefficients, prototypes)
    assert torch.allclose(boxes, corners, atol=1e-3)
    assert torch.allclose(scores, wanted.logits.sigmoid(), atol=1e-5)
    assert torch.allclose(masks, wanted.pred_masks, atol=1e-4)
    assert boxes.std() > 1
    assert masks.std() > 1e-2


def test_a_folder_of_published_weights_is_taken_but_for_the_classes(folder):
    trainer, signature, config, made = built(folder)
    assert made.initialization.startswith("pretrained: rf-detr-tiny")
    assert "class heads" in made.initialization
    mine, theirs = made.module.state_dict(), network().state_dict()
    name = "model.bbox_embed.layers.0.weight"
    assert torch.equal(mine["detector.network.bbox_embed.layers.0.weight"], theirs[name])
    assert mine["detector.network.class_embed.weight"].shape[0] == 2
    rates = {group["lr"] for group in trainer.parameter_groups(made.module, config)}
    assert len(rates) == 2
    assert max(rates) < config.learning_rate
    held = sum(p.numel() for g in trainer.parameter_groups(made.module, config) for p in g["params"])
    assert held == sum(p.numel() for p in made.module.parameters())
    images = np.random.default_rng(0).uniform(0, 255, (3, 3, 96, 96)).astype(np.float32)
    assert export(trainer.exportable(made.module), signature, images).difference <= TOLERANCE


def test_an_image_size_that_the_transformer_cannot_take_is_resized_inside(folder):
    trainer, signature, _, made = built(folder, size=128)  # 128 is no multiple of 24
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, 128, 128)).astype(np.float32)
    exportable = trainer.exportable(made.module).eval()
    with torch.inference_mode():
        boxes = exportable(torch.from_numpy(images))[0]
    assert 64 < boxes.max() <= 128
    assert export(exportable, signature, images).difference <= TOLERANCE


def refused(pretrained):
    with pytest.raises(Unavailable) as caught:
        built(pretrained)
    assert caught.value.code == "needs_weights"
    assert caught.value.fix
    return caught.value.message


def test_what_does_not_fit_is_refused_plainly(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "vit"}))
    assert "'vit'" in refused(other)
    (other / "config.json").write_text("{")
    assert "does not say what model" in refused(other)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((folder / "config.json").read_text())
    assert "not there" in refused(bare)
    (bare / "model.safetensors").write_bytes(b"nothing")
    assert "cannot be read" in refused(bare)
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty)


def test_weights_of_another_network_are_refused(folder, tmp_path):
    """The right configuration with weights of which next to nothing fits."""
    from safetensors.torch import save_file

    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "config.json").write_text((folder / "config.json").read_text())
    save_file({"something.weight": torch.zeros(3)}, wrong / "model.safetensors", metadata={"format": "pt"})
    assert "do not fit" in refused(wrong)


def test_without_a_network_the_answer_comes_at_once(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    assert "cannot be fetched" in refused("someone/rf-detr-that-nobody-has")
    assert time.monotonic() - started < 10


def test_our_own_weights_are_left_to_their_reader(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"")
    for own in (tmp_path, tmp_path / "model.pt"):
        assert open_published("RfDetrForInstanceSegmentation", ("rf_detr",), str(own), PIPELINE) is None
