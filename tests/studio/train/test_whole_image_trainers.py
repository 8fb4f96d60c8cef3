"""The pipelines sm_pytorch and classification: they learn, export, and take published weights."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
transformers = pytest.importorskip("transformers", reason="the extra 'train' is not installed")

from tintype_studio.errors import Unavailable  # noqa: E402
from tintype_studio.vision.evaluate.evaluator import evaluate  # noqa: E402
from tintype_studio.vision.evaluate.truth import Truth  # noqa: E402
from tintype_studio.vision.infer.decode import decode  # noqa: E402
from tintype_studio.vision.tasks import Signature, Task  # noqa: E402
from tintype_studio.vision.train.config import read_config  # noqa: E402
from tintype_studio.vision.train.export_onnx import TOLERANCE, export  # noqa: E402
from tintype_studio.vision.train.pipelines import pipeline_of  # noqa: E402
from tintype_studio.vision.train.protocol import Target  # noqa: E402
from tintype_studio.vision.train.trainers.classification import Classification  # noqa: E402
from tintype_studio.vision.train.trainers.sm_pytorch import SmPytorch  # noqa: E402

TRAINERS = {"classification": Classification, "sm_pytorch": SmPytorch}
SIZE = 96
CLASSES = ("disc", "square")
SMALL = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}


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


def made(pipeline, classes=CLASSES, multi_label=False, **raw):
    config, _ = read_config(pipeline_of(pipeline), {"image_size": SIZE, **raw})
    trainer = TRAINERS[pipeline]()
    signature = trainer.signature(classes, config, multi_label=multi_label)
    return trainer, signature, config, trainer.build(signature, config)


def picture(seed, kinds):
    """A noisy square with a disc (0) and a square (1) where asked for, and their boxes and rings."""
    rng = np.random.default_rng(seed)
    image = rng.normal(rng.uniform(60, 110), 12, (SIZE, SIZE, 3)).astype(np.float32)
    boxes, rings = [], []
    for kind in kinds:
        (x, y), r = rng.uniform(24, 30, 2) + kind * 40, rng.uniform(12, 16)
        turns = (
            np.linspace(0, 2 * np.pi, 40, endpoint=False) if kind == 0 else np.pi * np.arange(0.25, 2, 0.5)
        )
        ring = np.stack([x + r * np.cos(turns), y + r * np.sin(turns)], 1).astype(np.float32)
        colour = rng.uniform(130, 250, 3)
        cv2.fillPoly(image, [np.round((ring - 0.5) * 16).astype(np.int32)], colour.tolist(), shift=4)
        boxes.append((*ring.min(0), *ring.max(0)))
        rings.append([ring])
    target = Target(np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.int64), rings)
    return np.clip(image, 0, 255).transpose(2, 0, 1), target


def batch(*kinds):
    pictures = [picture(seed, each) for seed, each in enumerate(kinds)]
    return np.ascontiguousarray(np.stack([p for p, _ in pictures])), [t for _, t in pictures]


ALONE = ((0,), (1,), (0,), (1,), (0,), (1,))
MIXED = ((0, 1), (0,), (), (1,), (0, 1), (0, 1))


def train(trainer, config, module, images, targets, steps, rate):
    optimizer = torch.optim.AdamW(trainer.parameter_groups(module, config), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    module.train()
    for _ in range(steps):
        losses = trainer.loss(module, torch.from_numpy(images), targets)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        schedule.step()
    return {name: float(value.detach()) for name, value in losses.items()}


def measured(trainer, signature, module, images, targets):
    with torch.inference_mode():
        outputs = [each.numpy() for each in trainer.exportable(module).eval()(torch.from_numpy(images))]
    predictions = decode(signature, outputs, [(SIZE, SIZE)] * len(images), threshold=0.01)
    truths = [Truth(SIZE, SIZE, t.boxes, t.labels, t.polygons) for t in targets]
    return evaluate(signature, predictions, truths).metrics


def test_regions_are_learned_by_heart():
    trainer, signature, config, built = made("sm_pytorch")
    assert signature == Signature(Task.SEMANTIC, "sm_pytorch", CLASSES, SIZE)
    images, targets = batch(*MIXED)
    train(trainer, config, built.module, images, targets, steps=60, rate=4e-3)
    assert measured(trainer, signature, built.module, images, targets)["mIoU"] > 0.85


@pytest.mark.parametrize("multi_label", [False, True])
def test_classes_of_images_are_learned_by_heart(multi_label):
    trainer, signature, config, built = made("classification", multi_label=multi_label)
    assert signature == Signature(Task.CLASSIFICATION, "classification", CLASSES, SIZE, None, multi_label)
    images, targets = batch(*(MIXED if multi_label else ALONE))
    train(trainer, config, built.module, images, targets, steps=70, rate=2e-3)
    assert measured(trainer, signature, built.module, images, targets)["f1"] == 1.0


def test_the_onnx_file_gives_the_contract_and_what_torch_gives(pipeline):
    trainer, signature, _, built = made(pipeline)
    assert built.initialization == "random"
    assert "M parameters" in built.architecture
    images, _ = batch(*ALONE[:3])
    built.module.train()
    built.module(torch.from_numpy(images))  # batch norms have seen something
    exportable = trainer.exportable(built.module).eval()
    with torch.inference_mode():
        (logits,) = exportable(torch.from_numpy(images))
    assert logits.shape == ((3, 2) if pipeline == "classification" else (3, 3, SIZE // 4, SIZE // 4))
    assert export(exportable, signature, images).difference <= TOLERANCE


@pytest.mark.parametrize("multi_label", [False, True])
def test_images_without_anything_are_learned_from_too(pipeline, multi_label):
    trainer, _, config, built = made(pipeline, multi_label=multi_label)
    images, targets = batch((), (0,), ())
    for case in (targets, [targets[0], targets[2], targets[0]]):
        losses = train(trainer, config, built.module, images, case, steps=1, rate=1e-4)
        assert all(np.isfinite(value) for value in losses.values())


def test_losses_and_slopes_are_numbers_in_mixed_precision(pipeline):
    trainer, _, _, built = made(pipeline)
    images, targets = batch(*ALONE[:2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = trainer.loss(built.module.train(), torch.from_numpy(images), targets)
    sum(losses.values()).backward()
    assert all(value.dtype == torch.float32 for value in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in built.module.parameters())


def test_one_label_is_never_certain_and_several_do_not_compete():
    """A smoothed goal punishes too much certainty; with several labels each class stands alone."""
    images, targets = batch((0,), (0,))
    for multi_label in (False, True):
        trainer, _, _, built = made("classification", multi_label=multi_label)
        losses = []
        for logit in (4.0, 40.0):
            built.module.forward = lambda images, x=logit: torch.tensor([[x, -x]] * len(images))
            losses.append(float(trainer.loss(built.module, torch.from_numpy(images), targets)["class"]))
        assert (losses[1] > losses[0]) is not multi_label


def save(kind, path):
    torch.manual_seed(0)
    if kind == "resnet":
        config = transformers.ResNetConfig(embedding_size=8, **SMALL, layer_type="basic", num_labels=7)
        model = transformers.ResNetForImageClassification(config)
    elif kind == "convnextv2":
        model = transformers.ConvNextV2ForImageClassification(
            transformers.ConvNextV2Config(**SMALL, num_labels=7)
        )
    elif kind == "convnext":
        model = transformers.ConvNextForImageClassification(
            transformers.ConvNextConfig(**SMALL, num_labels=7)
        )
    elif kind == "vit":
        config = transformers.ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            image_size=64,
            patch_size=16,
            num_labels=7,
        )
        model = transformers.ViTForImageClassification(config)
    else:
        config = transformers.SegformerConfig(
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 2, 2, 4],
            decoder_hidden_size=16,
            num_labels=7,
        )
        model = transformers.SegformerForSemanticSegmentation(config)
    model.save_pretrained(path)
    return path, model.eval()


PUBLISHED = [("classification", kind) for kind in ("resnet", "convnext", "convnextv2", "vit")]
PUBLISHED.append(("sm_pytorch", "segformer"))


@pytest.mark.parametrize(("pipeline", "kind"), PUBLISHED)
def test_published_weights_are_taken_but_for_the_last_layer(pipeline, kind, tmp_path):
    path, theirs = save(kind, tmp_path / f"tiny-{kind}")
    trainer, signature, config, built = made(pipeline, pretrained=str(path))
    assert built.initialization.startswith(f"pretrained: tiny-{kind}")
    assert "start at random (class heads)" in built.initialization
    assert kind in built.architecture
    mine = built.module.network.state_dict()
    changed = {name for name, value in theirs.state_dict().items() if not torch.equal(value, mine[name])}
    assert changed
    assert all("classifier" in name for name in changed)
    groups = trainer.parameter_groups(built.module, config)
    assert max(group["lr"] for group in groups) < config.learning_rate
    held = sum(p.numel() for group in groups for p in group["params"])
    assert held == sum(p.numel() for p in built.module.parameters())
    images, targets = batch(*ALONE[:3])
    losses = train(trainer, config, built.module, images, targets, steps=1, rate=1e-4)
    assert all(np.isfinite(value) for value in losses.values())
    assert export(trainer.exportable(built.module), signature, images).difference <= TOLERANCE


def test_colours_are_normalised_as_the_weights_were_trained(tmp_path):
    """By the folder's own file; else by what is usual for the family. And the size is what ViT takes."""
    path, theirs = save("vit", tmp_path / "vit")
    images, _ = batch(*ALONE[:2])
    small = torch.nn.functional.interpolate(
        torch.from_numpy(images), size=(64, 64), mode="bilinear", align_corners=False
    )

    def answer():
        module = made("classification", classes=tuple("abcdefg"), pretrained=str(path))[-1].module.eval()
        with torch.inference_mode():
            return module(torch.from_numpy(images))

    def wanted(mean, spread):
        mean, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, spread))
        with torch.inference_mode():
            return theirs((small / 255 - mean) / spread).logits

    assert torch.allclose(answer(), wanted([0.5] * 3, [0.5] * 3), atol=1e-4)
    colours = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (path / "preprocessor_config.json").write_text(json.dumps(colours))
    assert torch.allclose(answer(), wanted(colours["image_mean"], colours["image_std"]), atol=1e-4)
    for broken in ({"image_mean": 0.5, "image_std": 0.5}, {"image_mean": [0, 0, 0], "image_std": [0, 1, 1]}):
        (path / "preprocessor_config.json").write_text(json.dumps(broken))
        assert torch.allclose(answer(), wanted([0.5] * 3, [0.5] * 3), atol=1e-4)


def test_it_goes_on_from_our_own_weights_and_says_what_is_new(pipeline, tmp_path):
    _, signature, _, first = made(pipeline)
    path = tmp_path / "signs.pt"
    state = first.module.state_dict()
    torch.save({"format": "tintype-weights-1", "state_dict": state, "signature": signature.as_json()}, path)
    torch.manual_seed(7)
    same = made(pipeline, pretrained=str(path))[-1]
    assert same.initialization.startswith("pretrained: signs.pt")
    assert all(torch.equal(value, same.module.state_dict()[name]) for name, value in state.items())
    other = made(pipeline, classes=("other", "names"), pretrained=str(path))[-1]
    assert "start at random" in other.initialization
    new = {name for name, value in state.items() if not torch.equal(value, other.module.state_dict()[name])}
    assert new
    assert all("classif" in name for name in new)


def test_weights_that_are_not_there_need_weights(pipeline, tmp_path):
    wrong = "sm_pytorch" if pipeline == "classification" else "classification"
    path, _ = save({"sm_pytorch": "segformer", "classification": "vit"}[wrong], tmp_path / "wrong")
    for pretrained in ("/nowhere/at all", str(path)):
        with pytest.raises(Unavailable) as caught:
            made(pipeline, pretrained=pretrained)
        assert caught.value.code == "needs_weights"
        assert caught.value.fix
