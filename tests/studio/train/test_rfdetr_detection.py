"""The pipeline rfdetr_detection: it learns, its file answers as it does, as do published weights."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from support.rf_detr import tiny_rf_detr

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
transformers = pytest.importorskip("transformers", reason="the extra 'train' is not installed")
pytest.importorskip("scipy", reason="the extra 'train' is not installed")

from tintype_studio.errors import TintypeError, Unavailable  # noqa: E402
from tintype_studio.vision.evaluate.evaluator import evaluate  # noqa: E402
from tintype_studio.vision.evaluate.truth import Truth  # noqa: E402
from tintype_studio.vision.infer.decode import decode  # noqa: E402
from tintype_studio.vision.tasks import Signature, Task  # noqa: E402
from tintype_studio.vision.train import export_onnx  # noqa: E402
from tintype_studio.vision.train.config import read_config  # noqa: E402
from tintype_studio.vision.train.export_onnx import (  # noqa: E402
    TOLERANCE,
    differences,
    export,
    onnx_answer,
)
from tintype_studio.vision.train.nets.rf_detr import ExportedBoxes, RfDetr, places_of_map  # noqa: E402
from tintype_studio.vision.train.pipelines import pipeline_of  # noqa: E402
from tintype_studio.vision.train.protocol import Target  # noqa: E402
from tintype_studio.vision.train.trainers.rfdetr_detection import RfDetrDetection  # noqa: E402
from tintype_studio.vision.train.validate import torch_answer  # noqa: E402

NAME = "rfdetr_detection"
SIZE = 96
CLASSES = ("disc", "square")


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other are slow when other tests run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def made(classes=CLASSES, size=SIZE, **raw):
    config, _ = read_config(pipeline_of(NAME), {"image_size": size, **raw})
    trainer = RfDetrDetection()
    signature = trainer.signature(classes, config)
    return trainer, signature, config, trainer.build(signature, config)


def batch(count):
    """Noisy squares with a disc and a square, and what is true of them."""
    squares, targets = [], []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        image = rng.normal(rng.uniform(60, 110), 12, (SIZE, SIZE, 3)).astype(np.float32)
        (x, y), r = rng.uniform(22, 30, 2), rng.uniform(10, 16)
        left, top, side = rng.uniform(48, 56), rng.uniform(20, 56), rng.uniform(20, 32)
        cv2.circle(image, (round(x), round(y)), round(r), (220, 60, 50), -1)
        corner = (round(left + side), round(top + side))
        cv2.rectangle(image, (round(left), round(top)), corner, (50, 90, 230), -1)
        boxes = [(x - r, y - r, x + r, y + r), (left, top, left + side, top + side)]
        squares.append(np.clip(image, 0, 255).transpose(2, 0, 1))
        targets.append(Target(np.array(boxes, np.float32), np.arange(2)))
    return np.ascontiguousarray(np.stack(squares)), targets


def train(trainer, config, module, images, targets, steps, rate):
    optimizer = torch.optim.AdamW(trainer.parameter_groups(module, config), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    module.train()
    for _ in range(steps):
        losses = trainer.loss(module, torch.from_numpy(images), targets)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return {name: float(value.detach()) for name, value in losses.items()}


def outputs_of(trainer, module, images):
    with torch.inference_mode():
        return [each.numpy() for each in trainer.exportable(module).eval()(torch.from_numpy(images))]


@pytest.mark.slow
def test_it_learns_pictures_by_heart():
    trainer, signature, config, built = made()
    images, targets = batch(4)
    train(trainer, config, built.module, images, targets, steps=140, rate=2e-3)
    outputs = outputs_of(trainer, built.module, images)
    predictions = decode(signature, outputs, [(SIZE, SIZE)] * 4, threshold=0.01)
    truths = [Truth(SIZE, SIZE, t.boxes, t.labels, []) for t in targets]
    metrics = evaluate(signature, predictions, truths).metrics
    assert metrics["mAP_50"] > 0.95
    assert metrics["mAP"] > 0.5
    certain = decode(signature, outputs, [(SIZE, SIZE)] * 4, threshold=0.4)
    assert all(sorted(f.label for f in each.objects) == [0, 1] for each in certain), "each object once"


def test_its_onnx_file_gives_the_contract_and_what_torch_gives():
    trainer, signature, _, built = made()
    assert signature == Signature(Task.DETECTION, NAME, CLASSES, SIZE, None)
    assert built.initialization == "random"
    assert "M parameters" in built.architecture
    images, _ = batch(3)
    built.module.train()
    built.module(torch.from_numpy(images))  # batch norms have seen something
    boxes, scores = outputs_of(trainer, built.module, images)
    assert boxes.shape == (3, scores.shape[1], 4)
    assert scores.shape[::2] == (3, 2)
    assert boxes.min() >= 0
    assert boxes.max() <= SIZE
    assert (boxes[..., 2:] >= boxes[..., :2]).all()
    assert 0 <= scores.min() <= scores.max() <= 1
    assert export(trainer.exportable(built.module), signature, images).difference <= TOLERANCE


def test_flat_pictures_whose_places_all_rank_alike_do_not_keep_the_model_from_being_exported():
    trainer, signature, _, built = made()
    flat = np.full((4, 3, SIZE, SIZE), 114, np.float32)
    exported = export(trainer.exportable(built.module), signature, flat)
    assert exported.difference <= TOLERANCE
    ask_torch = torch_answer(trainer.exportable(built.module), torch.device("cpu"))
    apart = differences(onnx_answer(exported.data)(flat), ask_torch(flat))
    assert max(apart) > TOLERANCE  # else the pictures prove nothing


def test_an_export_that_answers_otherwise_is_found_out_in_spite_of_ties(monkeypatch):
    trainer, signature, _, built = made()
    honest = export_onnx.onnx_answer

    def off(data):
        answer = honest(data)
        return lambda images: [answer(images)[0] + 1, answer(images)[1]]

    monkeypatch.setattr(export_onnx, "onnx_answer", off)
    images, _ = batch(2)
    with pytest.raises(TintypeError) as refused:
        export(trainer.exportable(built.module), signature, images)
    assert refused.value.code == "export_failed"


def test_pictures_without_objects_are_learned_from_too():
    trainer, _, config, built = made()
    images, targets = batch(2)
    nothing = Target(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    for case in ([nothing, nothing], [targets[0], nothing]):
        losses = train(trainer, config, built.module, images, case, steps=1, rate=1e-4)
        assert all(np.isfinite(value) for value in losses.values())
    assert set(losses) == {"class", "box", "places"}


def test_losses_and_slopes_are_numbers_in_mixed_precision():
    trainer, _, _, built = made()
    images, targets = batch(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = trainer.loss(built.module.train(), torch.from_numpy(images), targets)
    sum(value.float() for value in losses.values()).backward()
    slopes = [p.grad for p in built.module.parameters() if p.grad is not None]
    assert len(slopes) > 50
    assert all(torch.isfinite(slope).all() for slope in slopes)


def network(classes=5):
    return tiny_rf_detr("RfDetrForObjectDetection", classes)


def test_the_answers_are_those_of_the_library():
    theirs = network()
    images = torch.rand(2, 3, 96, 96) * 255
    mean, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        wanted = theirs((images / 255 - mean) / spread)
        boxes, scores = ExportedBoxes(RfDetr(theirs, 96)).eval()(images)
    middle, half = wanted.pred_boxes[..., :2], wanted.pred_boxes[..., 2:] / 2
    assert torch.allclose(boxes, torch.cat([middle - half, middle + half], -1).clamp(0, 1) * 96, atol=1e-3)
    assert torch.allclose(scores, wanted.logits.sigmoid(), atol=1e-5)
    assert boxes.std() > 1


def test_a_folder_of_published_weights_is_taken_but_for_the_classes(tmp_path):
    network().save_pretrained(tmp_path / "rf-detr-tiny")
    trainer, signature, config, built = made(size=128, pretrained=str(tmp_path / "rf-detr-tiny"))
    assert built.initialization.startswith("pretrained: rf-detr-tiny")
    assert "class heads" in built.initialization
    mine, theirs = built.module.state_dict(), network().state_dict()
    for name in ("bbox_embed.layers.0.weight", "model.backbone.backbone.encoder.layer.0.norm1.bias"):
        assert torch.equal(mine[f"network.{name}"], theirs[name])
    assert mine["network.class_embed.weight"].shape[0] == 2
    groups = trainer.parameter_groups(built.module, config)
    assert max(group["lr"] for group in groups) < config.learning_rate
    held = sum(p.numel() for group in groups for p in group["params"])
    assert held == sum(p.numel() for p in built.module.parameters())
    images = np.random.default_rng(0).uniform(0, 255, (3, 3, 128, 128)).astype(np.float32)
    assert export(trainer.exportable(built.module), signature, images).difference <= TOLERANCE
    targets = [Target(np.array([[10, 10, 40, 40]], np.float32), np.zeros(1, np.int64))] * 3
    losses = train(trainer, config, built.module, images, targets, steps=1, rate=1e-4)
    assert all(np.isfinite(value) for value in losses.values())


def test_it_goes_on_from_our_own_weights_and_says_what_is_new(tmp_path):
    _, signature, _, first = made()
    path = tmp_path / "signs.pt"
    state = first.module.state_dict()
    torch.save({"format": "tintype-weights-1", "state_dict": state, "signature": signature.as_json()}, path)
    torch.manual_seed(7)
    same = made(pretrained=str(path))[-1]
    assert same.initialization.startswith("pretrained: signs.pt")
    assert all(torch.equal(value, same.module.state_dict()[name]) for name, value in state.items())
    other = made(classes=("a", "b", "c"), pretrained=str(path))[-1]
    assert "start at random" in other.initialization


def test_weights_that_are_not_there_need_weights():
    with pytest.raises(Unavailable) as caught:
        made(pretrained="/nowhere/at all")
    assert caught.value.code == "needs_weights"
    assert caught.value.fix


def test_only_fine_maps_have_places_at_the_edge_of_the_image():
    assert places_of_map(torch.zeros(1, 4, 49, 49))[1] is None
    places, outside = places_of_map(torch.zeros(1, 4, 50, 60))
    ring = outside.view(50, 60)
    assert ring[0].all() and ring[-1].all() and ring[:, 0].all() and ring[:, -1].all()  # noqa: PT018
    assert not ring[1:-1, 1:-1].any()
    assert (places[0][outside[0, :, 0]] == 0).all()
