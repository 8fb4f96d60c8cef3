"""evaluate_model and compare_models: which images count, the figures kept, pictures, and what is refused."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")

from support.jobs import turn
from support.onnx_models import blob_detector, constant_model
from support.ready_models import add_model, add_scene

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.annotations.geometry import (
    BBoxAnnotation,
    BoundingBox,
    Point,
    PolygonAnnotation,
    PolygonGeometry,
)
from tintype_studio.annotations.review import as_draft
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.kinds.evaluate import FIGURES
from tintype_studio.jobs.pool import Pool
from tintype_studio.vision.tasks import Signature, Task
from tintype_tools.call import Outcome, Output, Request

CELLS = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64, nms_iou=0.5)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path / "home"))
    opened.studio.jobs.supervisor.enabled = False
    yield opened
    opened.close()


@pytest.fixture
def board(runtime: Runtime, owner: Principal) -> Dataset:
    return runtime.studio.datasets.create(owner, name="board")


def call(runtime: Runtime, tool: str, **arguments: Any) -> Outcome:
    if tool == "evaluate_model":
        arguments = {"wait_seconds": 0} | arguments
    return runtime.dispatch(
        Request(
            tool=tool,
            arguments=arguments,
            api_key=runtime.local_api_key(),
            door="toolkit",
            files=everything(runtime.settings),
        )
    )


def evaluated(
    runtime: Runtime, owner: Principal, pool: Pool, **arguments: Any
) -> tuple[dict[str, Any], Output]:
    """Start the job, run its turn, and report on it as the tool does."""
    started = call(runtime, "evaluate_model", **arguments)
    job = runtime.studio.jobs.get(owner, started.value["job_id"])
    turn(runtime.studio, job, pool)

    class Watching:
        principal, studio = owner, runtime.studio

    output = runtime.registry.get("evaluate_model").report(runtime.studio.jobs.get(owner, job.id), Watching())
    return output.value.model_dump(mode="json", exclude_none=True), output


def test_a_model_is_measured_on_the_images_that_its_training_kept_back(runtime, owner, pool, board):
    seen = add_scene(runtime.studio, owner, board, "seen.png", (0, 0, "red"))
    held = add_scene(runtime.studio, owner, board, "held.png", (1, 1, "red"), (2, 3, "blue"))
    # Labelled wrong: an object that is not there.
    other = add_scene(runtime.studio, owner, board, "other.png", (3, 3, "blue"))
    runtime.studio.documents.save(
        owner,
        other.id,
        [
            *runtime.studio.documents.get(owner, other.id)[1],
            BBoxAnnotation(id="ghost", name="red", bounding_box=BoundingBox(x=0, y=0, w=16, h=16)),
        ],
    )
    splits = {"train": [seen.id], "test": [held.id, other.id]}
    model = add_model(runtime.studio, owner, board, CELLS, blob_detector(CELLS), splits=splits)
    report, output = evaluated(runtime, owner, pool, model_id=model.id)
    assert report["job"]["status"] == "completed"
    assert report["job"]["credits_charged"] == 0
    assert (report["split"], report["images"], report["objects"]) == ("test", 2, 4)
    # Blue: both found. Red: one of two found, so 51 of 101 recalls.
    by_name = {each["name"]: each for each in report["per_class"]}
    assert (by_name["blue"]["AP"], by_name["red"]["AP"]) == (1, round(51 / 101, 4))
    assert report["metrics"]["mAP"] == pytest.approx((1 + 51 / 101) / 2, abs=1e-3)
    assert (report["metrics"]["precision"], report["metrics"]["recall"]) == (1, 0.75)
    assert len(output.pictures) == 2
    for picture in output.pictures:
        opened = Image.open(io.BytesIO(picture.data))
        assert opened.size == (picture.width, picture.height)
        assert 600 <= max(opened.size) <= 1000
    (kept,) = runtime.studio.models.evaluations(model)
    assert (kept.split, kept.images, kept.dataset_name) == ("test", 2, "board")
    assert kept.metrics["recall"] == 0.75
    assert set(kept.pictures) == {"pr_curves", "confusion"}
    job_id = report["job_id"]
    assert runtime.studio.blobs.get_derived(f"jobs/{job_id}/seen/{held.id}.json") is None, "cleared"
    everything_, _ = evaluated(runtime, owner, pool, model_id=model.id, split="all")
    assert (everything_["split"], everything_["images"]) == ("all", 3)
    assert "learned from some" in everything_["note"]


def test_another_dataset_is_measured_by_its_own_splits_or_whole(runtime, owner, pool, board):
    model = add_model(runtime.studio, owner, board, CELLS, blob_detector(CELLS), splits={"test": []})
    yard = runtime.studio.datasets.create(owner, name="yard")
    add_scene(runtime.studio, owner, yard, "a.png", (0, 0, "red"))
    add_scene(runtime.studio, owner, yard, "b.png", (1, 0, "blue"), size=(1600, 1200))
    whole, _ = evaluated(runtime, owner, pool, model_id=model.id, dataset_name="yard")
    assert (whole["split"], whole["images"], whole["metrics"]["mAP"]) == ("all", 2, 1)
    assert "no splits" in whole["note"]
    add_scene(runtime.studio, owner, yard, "c.png", (2, 2, "red"), split="test")
    part, _ = evaluated(runtime, owner, pool, model_id=model.id, dataset_name="yard")
    assert (part["split"], part["images"]) == ("test", 1)


def test_drafts_and_unlabelled_images_are_no_truth(runtime, owner, pool, board):
    add_scene(runtime.studio, owner, board, "a.png", (0, 0, "red"))
    add_scene(runtime.studio, owner, board, "empty.png", labelled=False)
    drafted = add_scene(runtime.studio, owner, board, "d.png", (1, 1, "blue"))
    _, document = runtime.studio.documents.get(owner, drafted.id)
    runtime.studio.documents.save(owner, drafted.id, [as_draft(a) for a in document])
    model = add_model(runtime.studio, owner, board, CELLS, blob_detector(CELLS))
    report, _ = evaluated(runtime, owner, pool, model_id=model.id, split="all")
    assert (report["images"], report["objects"]) == (1, 1)


def test_what_cannot_be_measured_is_refused(runtime, owner, pool, board):
    add_scene(runtime.studio, owner, board, "a.png", (0, 0, "red"))
    model = add_model(runtime.studio, owner, board, CELLS, blob_detector(CELLS), splits={"test": []})
    with pytest.raises(InvalidInput) as none:
        call(runtime, "evaluate_model", model_id=model.id)
    assert none.value.code == "no_images"
    runtime.studio.datasets.create(owner, name="empty")
    with pytest.raises(InvalidInput) as foreign:
        call(runtime, "evaluate_model", model_id=model.id, dataset_name="empty")
    assert foreign.value.code == "no_common_class"
    late = add_model(runtime.studio, owner, board, CELLS, b"", name="late", ready=False)
    with pytest.raises(Conflict) as unready:
        call(runtime, "evaluate_model", model_id=late.id)
    assert unready.value.code == "model_not_ready"
    with pytest.raises(NotFound):
        call(runtime, "evaluate_model", model_id=model.id, dataset_name="nowhere")


def test_an_image_that_does_not_open_fails_by_itself(runtime, owner, pool, board):
    first = add_scene(runtime.studio, owner, board, "a.png", (0, 0, "red"))
    add_scene(runtime.studio, owner, board, "b.png", (0, 1, "red"))
    runtime.studio.blobs.delete(first.sha256)
    model = add_model(runtime.studio, owner, board, CELLS, blob_detector(CELLS))
    report, _ = evaluated(runtime, owner, pool, model_id=model.id, split="all")
    (failure,) = report["failures"]
    assert (failure["image_uuid"], failure["code"]) == (first.id, "blob_missing")
    assert report["images"] == 1
    assert (report["job"]["done"], report["job"]["total"]) == (3, 3)


def test_a_second_turn_looks_at_nothing_again(runtime, owner, pool, board, monkeypatch):
    """The worker dies when the figures are made; the next one goes on with what was seen."""
    from tintype_studio.jobs.kinds import evaluate as kind
    from tintype_studio.jobs.run import HandedBack

    for number in range(3):
        add_scene(runtime.studio, owner, board, f"{number}.png", (number, 0, "red"))
    model = add_model(runtime.studio, owner, board, CELLS, blob_detector(CELLS))
    started = call(runtime, "evaluate_model", model_id=model.id, split="all")
    job = runtime.studio.jobs.get(owner, started.value["job_id"])

    def stopped(*_arguments: Any) -> None:
        raise HandedBack

    with monkeypatch.context() as patch:
        patch.setattr(kind, "_keep", stopped)
        turn(runtime.studio, job, pool)
    assert runtime.studio.jobs.get(owner, job.id).status == "queued"
    assert runtime.studio.jobs.get(owner, job.id).done == 3
    looks = []
    real = kind._seen
    monkeypatch.setattr(kind, "_seen", lambda *a: looks.append(1) or real(*a))
    turn(runtime.studio, runtime.studio.jobs.get(owner, job.id), pool)
    done = runtime.studio.jobs.get(owner, job.id)
    assert (done.status, done.done, looks) == ("completed", 4, [])
    assert {item.key for item in runtime.studio.jobs.items(done)} >= {FIGURES}
    assert len(runtime.studio.models.evaluations(model)) == 1


def polygon(name: str, *points: tuple[int, int]) -> PolygonAnnotation:
    ring = [Point(x=x, y=y) for x, y in points]
    return PolygonAnnotation(id=f"{name}-{points}", name=name, polygon=PolygonGeometry(paths=[ring]))


def test_every_kind_of_model_is_measured(runtime, owner, pool, board):
    """Truth: the left half is an ``a``; a box of ``a`` elsewhere says too little once polygons exist."""
    sample = add_scene(runtime.studio, owner, board, "a.png", labelled=False, folder="/a")
    half = polygon("a", (0, 0), (32, 0), (32, 64), (0, 64))
    box = BBoxAnnotation(id="b", name="a", bounding_box=BoundingBox(x=40, y=40, w=10, h=10))
    runtime.studio.documents.save(owner, sample.id, [half, box])
    regions = Signature(Task.SEMANTIC, "sm_pytorch", ("a", "b"), 64)
    logits = np.zeros((3, 16, 16))
    logits[1, :, :8], logits[0, :, 8:] = 3, 3
    pixels = add_model(runtime.studio, owner, board, regions, constant_model(regions, [logits]), name="p")
    report, output = evaluated(runtime, owner, pool, model_id=pixels.id, split="all")
    assert report["metrics"]["mIoU"] == report["metrics"]["pixel_accuracy"] == 1
    assert (report["objects"], len(output.pictures)) == (1, 1)
    marked = Signature(Task.INSTANCES, "detectron2", ("a",), 64)
    prototypes = np.full((1, 64, 64), -1)
    prototypes[0, :, :32] = 1
    outputs = [np.array([(0, 0, 32, 64)]), np.array([(0.9,)]), np.ones((1, 1)), prototypes]
    masks = add_model(runtime.studio, owner, board, marked, constant_model(marked, outputs), name="m")
    report, _ = evaluated(runtime, owner, pool, model_id=masks.id, split="all")
    assert (report["metrics"]["mAP"], report["metrics"]["box_mAP"], report["objects"]) == (1, 1, 1)
    kinds = Signature(Task.CLASSIFICATION, "classification", ("a", "b"), 64)
    whole = add_model(
        runtime.studio, owner, board, kinds, constant_model(kinds, [np.array([1, 0])]), name="c"
    )
    add_scene(runtime.studio, owner, board, "b.png", labelled=False, folder="/b/deep")
    add_scene(runtime.studio, owner, board, "c.png", labelled=False, folder="/elsewhere")
    report, _ = evaluated(runtime, owner, pool, model_id=whole.id, split="all")
    assert (report["images"], report["metrics"]["accuracy"]) == (2, 0.5)


# --- Two models ---------------------------------------------------------------------------------------------


def test_two_models_side_by_side(runtime, owner, pool, board):
    for number in range(3):
        add_scene(runtime.studio, owner, board, f"{number}.png", (number, 0, "red"), (number, 2, "blue"))
    good = add_model(runtime.studio, owner, board, CELLS, blob_detector(CELLS), name="good")
    nothing = [np.array([(0, 0, 5, 5)]), np.array([(0.9, 0)])]
    bad = add_model(runtime.studio, owner, board, CELLS, constant_model(CELLS, nothing), name="bad")
    with pytest.raises(Conflict) as missing:
        call(runtime, "compare_models", model_id=bad.id, other_model_id=good.id, split="all")
    assert missing.value.code == "not_evaluated"
    assert missing.value.fix.count("evaluate_model(") == 2
    assert f"model_id={good.id!r}" in missing.value.fix
    evaluated(runtime, owner, pool, model_id=good.id, split="all")
    with pytest.raises(Conflict) as half:
        call(runtime, "compare_models", model_id=bad.id, other_model_id=good.id, split="all")
    assert half.value.fix.count("evaluate_model(") == 1
    evaluated(runtime, owner, pool, model_id=bad.id, split="all")
    # Without splits, whatever is asked for means all images.
    answer = call(runtime, "compare_models", model_id=bad.id, other_model_id=good.id, split="test")
    value = answer.value
    assert (value["better"], value["figure"], value["split"]) == ("other", "AP", "all")
    assert value["differences"]["mAP"] == 1
    assert {each["name"]: each["difference"] for each in value["per_class"]} == {"red": 1, "blue": 1}
    assert (value["first"]["model"], value["other"]["model"]) == ("bad@1.0.0", "good@1.0.0")
    assert "note" not in value
    opened = Image.open(io.BytesIO(answer.pictures[0].data))
    assert opened.size == (answer.pictures[0].width, answer.pictures[0].height)
    # One of them measured again on more images: the difference says less.
    add_scene(runtime.studio, owner, board, "9.png", (3, 3, "red"))
    evaluated(runtime, owner, pool, model_id=good.id, split="all")
    later = call(runtime, "compare_models", model_id=bad.id, other_model_id=good.id, split="all")
    assert "3 and 4 images" in later.value["note"]


def test_a_model_that_is_not_ready_is_not_compared_since_nothing_could_measure_it(runtime, owner, board):
    here = add_model(runtime.studio, owner, board, CELLS, blob_detector(CELLS))
    failed = add_model(runtime.studio, owner, board, CELLS, blob_detector(CELLS), name="failed", ready=False)
    with pytest.raises(Conflict) as refused:
        call(runtime, "compare_models", model_id=here.id, other_model_id=failed.id)
    assert refused.value.code == "model_not_ready"


def test_figures_of_a_purged_dataset_say_nothing_about_a_new_one_of_its_name(runtime, owner, pool, board):
    studio = runtime.studio
    elsewhere = studio.datasets.create(owner, name="elsewhere")
    mine = [
        add_model(studio, owner, elsewhere, CELLS, blob_detector(CELLS), name=name) for name in ("one", "two")
    ]
    both = {"model_id": mine[0].id, "other_model_id": mine[1].id, "dataset_name": "board", "split": "all"}
    add_scene(studio, owner, board, "old.png", (0, 0, "red"))
    for model in mine:
        evaluated(runtime, owner, pool, model_id=model.id, dataset_name="board", split="all")
    assert call(runtime, "compare_models", **both).value["better"] == "alike"
    studio.datasets.delete(owner, "board")
    studio.recycle_bin.purge(owner)
    add_scene(studio, owner, studio.datasets.create(owner, name="board"), "new.png", (1, 1, "blue"))
    with pytest.raises(Conflict) as stale:
        call(runtime, "compare_models", **both)
    assert stale.value.code == "not_evaluated"


def test_models_of_different_kinds_and_one_and_the_same_are_not_compared(runtime, owner, board):
    cells = add_model(runtime.studio, owner, board, CELLS, blob_detector(CELLS))
    kinds = Signature(Task.CLASSIFICATION, "classification", ("a", "b"), 64)
    whole = add_model(
        runtime.studio, owner, board, kinds, constant_model(kinds, [np.array([1, 0])]), name="c"
    )
    for other in (cells, whole):
        with pytest.raises(InvalidInput) as refused:
            call(runtime, "compare_models", model_id=cells.id, other_model_id=other.id)
        assert refused.value.code == "not_comparable"
