"""Attribute heads: learned from cut-out objects, the same after a death, exported; what cannot be learned."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.attributed import ATTRIBUTES, CLASSES, plates
from support.trainable import Picture, box, export, order, png

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from tintype_studio.media.decode import decode_upright  # noqa: E402
from tintype_studio.storage.blobs import Blobs  # noqa: E402
from tintype_studio.vision.crops import crop_of  # noqa: E402
from tintype_studio.vision.evaluate.evaluation import Evaluation  # noqa: E402
from tintype_studio.vision.heads import options_of  # noqa: E402
from tintype_studio.vision.infer.heads import Heads, open_heads  # noqa: E402
from tintype_studio.vision.train import heads_loop, patches, running  # noqa: E402
from tintype_studio.vision.train.learnable import learnable  # noqa: E402
from tintype_studio.vision.train.session import (  # noqa: E402
    Finished,
    HeadsReport,
    Order,
    epoch,
    finish,
    heads_epoch,
    prepare,
)

PLENTY = 1e6
"""Seconds."""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One thread, since tests run beside each other; and nothing left in memory."""
    for module in ("loop", "heads_loop"):
        monkeypatch.setattr(f"tintype_studio.vision.train.{module}.cores", lambda: 1)
    forget()
    yield
    forget()


def forget() -> None:
    """As in a new process."""
    memory = running._memory
    memory.run_id = memory.data = memory.loop = memory.heads = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="module")
def digest(folder: Path) -> str:
    return export(folder, [plates(seed) for seed in range(60)], CLASSES)


def work_on(folder: Path, digest: str, **raw: Any) -> Order:
    made = order(folder, digest, **{"image_size": 64, "epochs": 1, "deterministic": True, **raw})
    return replace(made, attributes=ATTRIBUTES)


def learn(work: Order, *, most: int = 20, die_after: int | None = None) -> list[HeadsReport]:
    reports: list[HeadsReport] = []
    while len(reports) < most and not (reports and reports[-1].stop):
        last = reports[-1].checkpoint if reports else None
        reports.append(heads_epoch(work, len(reports) + 1, last, PLENTY, 64))
        if len(reports) == die_after:
            forget()
    return reports


@pytest.fixture(scope="module")
def learned(folder: Path, digest: str) -> tuple[Order, list[HeadsReport], Finished]:
    patch = pytest.MonkeyPatch()
    for module in ("loop", "heads_loop"):
        patch.setattr(f"tintype_studio.vision.train.{module}.cores", lambda: 1)
    patch.setattr(heads_loop, "LEAST_SHOWN", 256)
    work = work_on(folder, digest, run_id="learned")
    prepare(work)
    found = epoch(work, 1, None, PLENTY, 8)
    reports = learn(work)
    finished = finish(work, found.checkpoint, reports[-1].checkpoint)
    patch.undo()
    return work, reports, finished


def test_options_are_learned_within_seconds(learned: tuple[Order, list[HeadsReport], Finished]) -> None:
    _, reports, finished = learned
    assert reports[-1].stop
    assert len(reports) < 20
    assert reports[-1].metrics["val_accuracy"] > 0.9
    assert sum(report.seconds for report in reports) < 60
    assert finished.attributes == ATTRIBUTES
    assert finished.metrics["attribute_accuracy"] > 0.9
    assert {f"attribute_accuracy.{c}.{a}" for c, own in ATTRIBUTES.items() for a in own} <= set(
        finished.metrics
    )
    told = finished.heads_card or {}
    assert (told["evaluated_on"], told["best_epoch"] <= len(reports)) == ("test", True)
    assert told["onnx_check"]["max_difference"] < 1e-3
    assert Counter(told["objects"]["disc"]["colour"].keys()) == Counter(["red", "blue"])


def test_the_evaluation_has_the_figures_of_every_attribute_and_option(
    folder: Path, learned: tuple[Order, list[HeadsReport], Finished]
) -> None:
    import orjson

    finished = learned[2]
    blobs = Blobs(str(folder / "blobs"))
    evaluation = Evaluation.from_json(orjson.loads(blobs.get(finished.evaluation.sha256)))
    assert [(each["name"], each["attribute"]) for each in evaluation.attributes] == [
        ("plate", "colour"),
        ("plate", "mark"),
        ("disc", "colour"),
    ]
    assert evaluation.metrics == finished.metrics
    objects = (finished.heads_card or {})["objects"]
    for each in evaluation.attributes:
        counts = {option["name"]: option["count"] for option in each["options"]}
        mine = objects[each["name"]][each["attribute"]]
        assert counts == {option: by_split["test"] for option, by_split in mine.items()}
        assert each["count"] == sum(counts.values())


def test_the_file_answers_about_pictures_that_nobody_has_seen(
    folder: Path, learned: tuple[Order, list[HeadsReport], Finished]
) -> None:
    heads_file = learned[2].heads
    assert heads_file is not None
    heads = open_heads(Blobs(str(folder / "blobs")), heads_file.sha256)
    right = known = 0
    for seed in range(1000, 1030):
        picture = plates(seed)
        image = np.asarray(decode_upright(picture.data or b""))
        names = [a["name"] for a in picture.annotations]
        corners = [(b["x"], b["y"], b["x"] + b["w"], b["y"] + b["h"]) for b in map(_box, picture.annotations)]
        for annotation, choices in zip(picture.annotations, heads.choose(image, corners, names), strict=True):
            true = {k: v for entry in annotation["attributes"] for k, v in entry.items()}
            assert set(choices) == set(true)
            known += len(true)
            right += sum(option == true[name] for name, option in options_of(choices).items())
            for option, score, scores in choices.values():
                assert score == scores[option] == max(scores.values())
                assert sum(scores.values()) == pytest.approx(1, abs=1e-3)
    assert right / known > 0.9


def _box(annotation: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = annotation["bounding_box"]
    return found


def test_a_training_that_dies_between_epochs_learns_the_same(
    folder: Path, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads_loop, "LEAST_SHOWN", 128)
    through = learn(work_on(folder, digest, run_id="through"), most=3)
    weights = running._memory.heads.module.state_dict()  # type: ignore[union-attr]
    forget()
    again = learn(work_on(folder, digest, run_id="again"), most=3, die_after=2)
    for name, value in running._memory.heads.module.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(value, weights[name]), name
    assert [r.metrics for r in again] == [r.metrics for r in through]


def test_an_epoch_ends_when_its_time_is_over(folder: Path, digest: str) -> None:
    report = heads_epoch(work_on(folder, digest, run_id="hurried"), 1, None, 0.0, 64)
    assert (report.number, report.stop) == (1, True)
    assert report.metrics["train_loss"] > 0


def test_a_patch_gives_the_crop_that_the_picture_gives(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (100, 140, 3), dtype=np.uint8)
    for corners in ((40.0, 30.0, 70.5, 62.0), (0.0, 0.0, 20.0, 9.0), (120.2, 80.0, 140.0, 100.0)):
        shape = _shape(corners)
        patch = patches.cut(image, shape, "plate", 1.0)
        assert patch.pixels.shape[0] < 100
        np.testing.assert_array_equal(crop_of(patch.pixels, patch.box, 96), crop_of(image, corners, 96))
    large = patches.cut(
        np.full((600, 800, 3), 9, np.uint8), _shape((100.0, 50.0, 700.0, 350.0)), "plate", 1.0
    )
    assert max(large.pixels.shape) == patches.LONGEST


def _shape(corners: tuple[float, float, float, float]) -> Any:
    from tintype_studio.vision.train.reading import Shape

    return Shape(0, corners, [], {"colour": "red"})


def test_crops_are_square_whatever_the_box() -> None:
    image = np.full((50, 80, 3), 200, np.uint8)
    for corners in (
        (0, 0, 80, 50),
        (-10, -10, 5, 5),
        (79.5, 49.5, 90, 90),
        (100, 100, 120, 130),
        (7, 7, 7, 7),
    ):
        assert crop_of(image, corners, 32).shape == (32, 32, 3)
    tall = crop_of(image, (30, 5, 40, 45), 96)
    assert (tall[48, 2] == 114).all()  # grey beside a long object, not its neighbours
    assert (tall[48, 48] == 200).all()


def test_what_cannot_be_learned_is_said(tmp_path: Path) -> None:
    pictures = [_one(seed, "red" if seed % 2 else "blue") for seed in range(12)]
    pictures[0].annotations[0]["attributes"] = [{"colour": "violet"}, "worn", {"colour": 3}]
    digest = export(tmp_path, pictures, CLASSES)
    declared = {"plate": {"colour": ["red", "blue", "green"], "mark": ["plain", "cross"]}}
    prepared = prepare(replace(work_on(tmp_path, digest), attributes=declared))
    assert {option: sum(by.values()) for option, by in prepared.attributes["plate"]["colour"].items()} == {
        "red": 6,
        "blue": 5,
    }
    assert "mark" not in prepared.attributes["plate"]
    assert (
        "Fewer than two options of plate.mark are among the training objects, so that is not learned."
        in prepared.notes
    )
    assert any("never chosen: green (plate.colour)" in note for note in prepared.notes)


def test_without_options_there_are_no_heads_and_no_patches(tmp_path: Path) -> None:
    digest = export(tmp_path, [plates(seed, options=False) for seed in range(8)], CLASSES)
    prepared = prepare(work_on(tmp_path, digest))
    assert prepared.attributes == {}
    assert not list(tmp_path.rglob("patches*"))
    forget()
    assert prepare(order(tmp_path, digest, image_size=64, run_id="plain")).per_class == prepared.per_class


def test_rare_options_train_and_validate_as_far_as_there_are_any(tmp_path: Path) -> None:
    pictures = [_one(seed, "green" if seed < 4 else "red") for seed in range(40)]
    digest = export(tmp_path, pictures, CLASSES)
    prepared = prepare(replace(work_on(tmp_path, digest), attributes={"plate": {"colour": ["red", "green"]}}))
    green = prepared.attributes["plate"]["colour"]["green"]
    assert min(green["train"], green["val"]) >= 1


def test_of_very_many_objects_the_common_ones_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(patches, "MOST", 20)
    pictures = [_one(seed, "green" if seed < 4 else "red") for seed in range(40)]
    digest = export(tmp_path, pictures, CLASSES)
    prepared = prepare(replace(work_on(tmp_path, digest), attributes={"plate": {"colour": ["red", "green"]}}))
    totals = {o: sum(by.values()) for o, by in prepared.attributes["plate"]["colour"].items()}
    assert totals == {"red": 10, "green": 4}
    assert any("learned without 26 objects" in note for note in prepared.notes)


def test_notes_name_a_few_only() -> None:
    found = {("plate", f"a{n}", option): Counter(train=1) for n in range(9) for option in ("x",)}
    kept, notes = learnable(found, 0)
    assert kept == {}
    assert notes[0].count("plate.") == 5


def test_other_files_are_no_heads(learned: tuple[Order, list[HeadsReport], Finished], folder: Path) -> None:
    from tintype_studio.errors import InvalidInput, Unavailable
    from tintype_studio.vision.infer.model import OnnxModel

    blobs = Blobs(str(folder / "blobs"))
    finished = learned[2]
    assert finished.heads is not None
    for read, sha256 in (
        (Heads.from_bytes, finished.onnx.sha256),
        (OnnxModel.from_bytes, finished.heads.sha256),
    ):
        with pytest.raises(InvalidInput) as refused:
            read(blobs.get(sha256))
        assert refused.value.code == "not_our_model"
    with pytest.raises(Unavailable) as gone:
        open_heads(blobs, "0" * 64)
    assert gone.value.code == "model_file_missing"


def test_options_are_balanced_by_the_root_of_how_rare_they_are() -> None:
    weights = heads_loop._balanced(np.array([0] * 16 + [1] * 4 + [-1] * 9), 2)
    assert float(weights[1] / weights[0]) == pytest.approx(2)


def _one(seed: int, colour: str) -> Picture:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(120, 12, (64, 64, 3))
    pixels[10:40, 12:44] = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 200)}[colour]
    annotation = {**box("plate", 12, 10, 32, 30), "attributes": [{"colour": colour}]}
    return Picture(f"{seed}.png", png(pixels), (64, 64), [annotation])
