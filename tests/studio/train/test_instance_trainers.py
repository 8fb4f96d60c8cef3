"""The two pipelines for instance segmentation: they learn, and their files answer as they do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("transformers", reason="the extra 'train' is not installed")

from tintype_studio.errors import Unavailable  # noqa: E402
from tintype_studio.vision.infer.decode import decode  # noqa: E402
from tintype_studio.vision.letterbox import letterbox  # noqa: E402
from tintype_studio.vision.tasks import Signature, Task  # noqa: E402
from tintype_studio.vision.train.config import read_config  # noqa: E402
from tintype_studio.vision.train.export_onnx import TOLERANCE, export  # noqa: E402
from tintype_studio.vision.train.pipelines import pipeline_of  # noqa: E402
from tintype_studio.vision.train.protocol import Target  # noqa: E402
from tintype_studio.vision.train.trainers.detectron2 import Detectron2  # noqa: E402
from tintype_studio.vision.train.trainers.rfdetr_segmentation import RfDetrSegmentation  # noqa: E402

SIZE = 96
CLASSES = ("disc", "frame")
TRAINERS = {"detectron2": Detectron2, "rfdetr_segmentation": RfDetrSegmentation}
WIDTH, HEIGHT = 180, 132
"""Of the pictures: not square, so that the way back to them is tried too."""


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other are slow when other tests run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=sorted(TRAINERS))
def pipeline(request):
    return request.param


def made(pipeline, classes=CLASSES, **raw):
    config, _ = read_config(pipeline_of(pipeline), {"image_size": SIZE, **raw})
    trainer = TRAINERS[pipeline]()
    signature = trainer.signature(classes, config)
    return trainer, signature, config, trainer.build(signature, config)


def picture(seed):
    """A noisy picture with a disc and a square frame, and the rings of both, in its pixels."""
    rng = np.random.default_rng(seed)
    image = rng.normal(rng.uniform(60, 110), 12, (HEIGHT, WIDTH, 3))
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    middles = (np.array((48, 66)) + rng.uniform(-16, 16, 2), np.array((132, 66)) + rng.uniform(-16, 16, 2))
    disc = middles[0] + rng.uniform(20, 30) * np.stack([np.cos(turns), np.sin(turns)], 1)
    side = rng.uniform(26, 34)
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    frame = [middles[1] + side * square, middles[1] + side / 2 * square]
    objects = [[disc.astype(np.float32)], [each.astype(np.float32) for each in frame]]
    for rings, colour in zip(objects, ((220, 60, 50), (50, 90, 230)), strict=True):
        image[drawn(rings)] = np.array(colour) + rng.normal(0, 8, 3)
    return np.clip(image, 0, 255).astype(np.uint8), objects


def drawn(rings):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(mask, [np.round((ring - 0.5) * 16).astype(np.int32) for ring in rings], 1, shift=4)
    return mask > 0


def batch(count):
    squares, targets, truths = [], [], []
    for seed in range(count):
        image, objects = picture(seed)
        square, scale = letterbox(image, SIZE)
        rings = [[ring * np.float32(scale) for ring in each] for each in objects]
        boxes = np.array([[*r[0].min(0), *r[0].max(0)] for r in rings], np.float32)
        squares.append(square.transpose(2, 0, 1))
        targets.append(Target(boxes, np.arange(2), rings))
        truths.append([drawn(each) for each in objects])
    return np.ascontiguousarray(np.stack(squares), np.float32), targets, truths


def train(trainer, config, module, images, targets, steps, rate):
    optimizer = torch.optim.AdamW(trainer.parameter_groups(module, config), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    module.train()
    tensor = torch.from_numpy(images)
    for _ in range(steps):
        losses = trainer.loss(module, tensor, targets)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return {name: float(value.detach()) for name, value in losses.items()}


def whole(found):
    left, top, right, bottom = found.region
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = found.mask
    return mask


def iou(a, b):
    return (a & b).sum() / max(1, (a | b).sum())


@pytest.mark.slow
def test_it_learns_masks_by_heart_and_they_come_back_in_pixels_of_the_picture(pipeline):
    """Every object of six pictures: found once, under its name, with its outline and its hole."""
    trainer, signature, config, built = made(pipeline)
    images, targets, truths = batch(6)
    train(trainer, config, built.module, images, targets, steps=130, rate=2e-3)
    exportable = trainer.exportable(built.module).eval()
    with torch.inference_mode():
        outputs = [each.numpy() for each in exportable(torch.from_numpy(images))]
    predictions = decode(signature, outputs, [(WIDTH, HEIGHT)] * 6, threshold=0.4)
    overlaps = []
    for prediction, truth in zip(predictions, truths, strict=True):
        assert sorted(f.label for f in prediction.objects) == [0, 1]
        overlaps += [iou(whole(found), truth[found.label]) for found in prediction.objects]
        frame = next(f for f in prediction.objects if f.label == 1)
        middle = np.argwhere(truth[1]).mean(0).round().astype(int)
        assert not whole(frame)[tuple(middle)], "the hole is open"
    assert np.mean(overlaps) > 0.85
    assert min(overlaps) > 0.7


def test_its_onnx_file_gives_the_contract_and_what_torch_gives(pipeline):
    trainer, signature, _, built = made(pipeline)
    images, _, _ = batch(3)
    built.module.train()
    built.module(torch.from_numpy(images))  # batch norms have seen something
    exportable = trainer.exportable(built.module).eval()
    with torch.inference_mode():
        boxes, scores, coefficients, prototypes = exportable(torch.from_numpy(images))
    candidates, kinds = boxes.shape[1], prototypes.shape[1]
    assert boxes.shape == (3, candidates, 4)
    assert scores.shape == (3, candidates, 2)
    assert coefficients.shape == (3, candidates, kinds)
    assert prototypes.shape == (3, kinds, SIZE // 4, SIZE // 4)
    assert 0 <= scores.min() <= scores.max() <= 1
    exported = export(exportable, signature, images)
    assert exported.difference <= TOLERANCE


def test_pictures_without_objects_are_learned_from_too(pipeline):
    trainer, _, config, built = made(pipeline)
    images, targets, _ = batch(2)
    nothing = Target(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), [])
    for case in ([nothing, nothing], [targets[0], nothing]):
        losses = train(trainer, config, built.module, images, case, steps=1, rate=1e-4)
        assert all(np.isfinite(value) for value in losses.values())
    assert {"class", "box", "mask"} <= set(losses)


def test_signatures_say_how_to_read_the_answers():
    for name, nms in (("detectron2", 0.6), ("rfdetr_segmentation", None)):
        _, signature, _, built = made(name)
        assert signature == Signature(Task.INSTANCES, name, CLASSES, SIZE, nms)
        assert built.initialization == "random"
        assert "M parameters" in built.architecture


def test_it_goes_on_from_our_own_weights_and_says_what_is_new(pipeline, tmp_path):
    _, signature, _, first = made(pipeline)
    path = tmp_path / "signs.pt"
    values = {
        "format": "tintype-weights-1",
        "state_dict": first.module.state_dict(),
        "signature": signature.as_json(),
    }
    torch.save(values, path)
    torch.manual_seed(7)
    *_, same = made(pipeline, pretrained=str(path))
    assert same.initialization.startswith("pretrained: signs.pt")
    for name, value in first.module.state_dict().items():
        assert torch.equal(value, same.module.state_dict()[name]), name
    *_, other = made(pipeline, classes=("a", "b", "c"), pretrained=str(path))
    assert "start at random" in other.initialization
    changed = {
        n for n, v in other.module.state_dict().items() if v.shape != first.module.state_dict()[n].shape
    }
    assert changed
    assert all("class" in name for name in changed)


def test_weights_that_are_not_there_need_weights(pipeline):
    with pytest.raises(Unavailable) as caught:
        made(pipeline, pretrained="/nowhere/at all")
    assert caught.value.code == "needs_weights"
    assert caught.value.fix
