"""A whole training through the session's functions, and everything that can go wrong in one."""

from __future__ import annotations

import io
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.trainable import CLASSES, export, order, squares

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from tintype_studio.errors import InvalidInput, TintypeError, Unavailable  # noqa: E402
from tintype_studio.storage.blobs import Blobs  # noqa: E402
from tintype_studio.vision.evaluate.evaluation import Evaluation  # noqa: E402
from tintype_studio.vision.infer.decode import decode  # noqa: E402
from tintype_studio.vision.tasks import METADATA_KEY, Signature, Task  # noqa: E402
from tintype_studio.vision.train import export_onnx, running  # noqa: E402
from tintype_studio.vision.train.loop import Loop  # noqa: E402
from tintype_studio.vision.train.session import (  # noqa: E402
    EpochReport,
    Finished,
    Order,
    epoch,
    finish,
    prepare,
)
from tintype_studio.vision.train.trainers.yolox import Yolox  # noqa: E402
from tintype_studio.vision.train.weights import Weights  # noqa: E402

PLENTY = 1e6
"""Seconds."""


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """One thread, since tests run beside each other; and nothing left in memory."""
    monkeypatch.setattr("tintype_studio.vision.train.loop.cores", lambda: 1)
    forget()
    yield
    forget()


def forget() -> None:
    """As in a new process."""
    running._memory.run_id = running._memory.data = running._memory.loop = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def digest(folder: Path) -> str:
    return export(folder, [squares(seed) for seed in range(40)])


@pytest.fixture
def make(folder: Path, digest: str):
    def made(**raw: Any) -> Order:
        return order(folder, digest, **{"image_size": 64, "deterministic": True, **raw})

    return made


def weights() -> dict[str, torch.Tensor]:
    loop = running._memory.loop
    assert loop is not None
    return {name: value.clone() for name, value in loop.shown.state_dict().items()}


def train(work: Order, epochs: int, seconds: float = PLENTY) -> list[EpochReport]:
    reports: list[EpochReport] = []
    for number in range(1, epochs + 1):
        last = reports[-1] if reports else None
        reports.append(
            epoch(
                work,
                number,
                last and last.checkpoint,
                seconds,
                last.batch_size if last else work.config.batch_size,
            )
        )
        if reports[-1].stop:
            break
    return reports


@pytest.fixture(scope="module")
def learned(folder: Path, digest: str) -> tuple[Order, list[EpochReport], Finished]:
    """A model that has learned its squares."""
    patch = pytest.MonkeyPatch()
    patch.setattr("tintype_studio.vision.train.loop.cores", lambda: 1)
    work = order(folder, digest, run_id="learned", epochs=10, image_size=64)
    prepare(work)
    reports = train(work, 10)
    finished = finish(work, reports[-1].checkpoint)
    patch.undo()
    return work, reports, finished


def test_it_learns(learned: tuple[Order, list[EpochReport], Finished]) -> None:
    _, reports, finished = learned
    assert finished.metrics["mAP_50"] > 0.8
    assert finished.evaluated_on == "test"
    assert reports[-1].stop
    assert not reports[-1].out_of_time
    assert reports[-1].metrics["train_loss"] < reports[0].metrics["train_loss"]
    assert {"train_class", "train_box", "learning_rate", "val_mAP", "val_mAP_50"} <= set(reports[-1].metrics)
    assert finished.best_epoch == max(r.number for r in reports if r.best)
    for report in reports:
        assert 0 <= report.data_share <= 1
        assert report.images_per_second > 0
        assert report.device == "cpu"
        assert report.peak_memory_bytes > 1e8
        assert report.initialization == "random"
        assert "yolox" in report.architecture
    assert pickle.loads(pickle.dumps(finished)) == finished


def test_the_files_are_what_they_say(learned: tuple[Order, list[EpochReport], Finished]) -> None:
    import onnx

    work, _, finished = learned
    blobs = Blobs(work.blob_url)
    for file in (finished.onnx, finished.checkpoint, finished.evaluation, *finished.pictures.values()):
        assert blobs.size(file.sha256) == file.size
    signature = Signature.from_json(finished.signature)
    assert (signature.task, signature.classes, signature.image_size) == (Task.DETECTION, CLASSES, 64)
    model = onnx.load_from_string(blobs.get(finished.onnx.sha256))
    assert METADATA_KEY in {each.key for each in model.metadata_props}
    assert [each.name for each in model.graph.output] == ["boxes", "scores"]
    import orjson

    evaluation = Evaluation.from_json(orjson.loads(blobs.get(finished.evaluation.sha256)))
    assert evaluation.metrics["mAP_50"] == finished.metrics["mAP_50"]
    assert set(finished.pictures) == {"pr_curves", "confusion"}


def test_onnx_answers_as_torch_does(learned: tuple[Order, list[EpochReport], Finished]) -> None:
    work, _, finished = learned
    check = finished.onnx_check
    assert check["max_difference"] <= check["tolerance"]
    assert abs(check["metric_onnx"] - check["metric_torch"]) <= 0.01
    blobs = Blobs(work.blob_url)
    answer = export_onnx.onnx_answer(blobs.get(finished.onnx.sha256))
    kept = torch.load(io.BytesIO(blobs.get(finished.checkpoint.sha256)), weights_only=True)
    signature = Signature.from_json(kept["signature"])
    trainer = Yolox()
    module = trainer.build(signature, work.config).module
    module.load_state_dict(kept["state_dict"])
    asked = trainer.exportable(module).eval()
    # As many at a time as it was never exported or checked with.
    images = np.random.default_rng(0).uniform(0, 255, (7, 3, 64, 64)).astype(np.float32)
    with torch.inference_mode():
        expected = [each.numpy() for each in asked(torch.from_numpy(images))]
    assert export_onnx.difference(answer(images), expected) <= check["tolerance"]
    found = decode(signature, answer(images), [(64, 64)] * 7, threshold=0.0)
    assert len(found) == 7


def test_an_onnx_file_that_answers_otherwise_is_refused(learned, monkeypatch) -> None:
    work, reports, _ = learned
    honest = export_onnx.onnx_answer

    def off(data: bytes):
        answer = honest(data)
        return lambda images: [each + 1 for each in answer(images)]

    monkeypatch.setattr(export_onnx, "onnx_answer", off)
    with pytest.raises(TintypeError, match="differ") as refused:
        finish(work, reports[-1].checkpoint)
    assert refused.value.code == "export_failed"


def test_a_new_process_goes_on_as_the_old_one_would_have(make) -> None:
    work = make(run_id="on", epochs=3)
    first, second = train(work, 2)
    third = epoch(work, 3, second.checkpoint, PLENTY, 8)
    expected = weights()
    forget()
    again = epoch(replace(work, run_id="on"), 3, second.checkpoint, PLENTY, 8)
    assert all(torch.equal(value, expected[name]) for name, value in weights().items())
    assert again.metrics == third.metrics
    assert (again.best, again.stop) == (third.best, third.stop)
    assert first.checkpoint != second.checkpoint


def test_an_epoch_asked_for_again_is_trained_again_from_its_checkpoint(make) -> None:
    work = make(run_id="again", epochs=3)
    first = train(work, 1)[0]
    second = epoch(work, 2, first.checkpoint, PLENTY, 8)
    expected = weights()
    # The worker died after this process had finished the epoch and before it was recorded.
    assert epoch(work, 2, first.checkpoint, PLENTY, 8).metrics == second.metrics
    assert all(torch.equal(value, expected[name]) for name, value in weights().items())


def test_seeds(make) -> None:
    def loss(seed: int) -> float:
        forget()
        return train(make(run_id="seeds", epochs=1, seed=seed), 1)[0].metrics["train_loss"]

    assert loss(1) == loss(1) != loss(2)


def test_a_lost_checkpoint(make) -> None:
    work = make(run_id="lost")
    with pytest.raises(Unavailable) as refused:
        epoch(work, 2, "training/lost/1-none.pt", PLENTY, 8)
    assert refused.value.code == "checkpoint_missing"


def test_a_broken_checkpoint(make) -> None:
    work = make(run_id="broken")
    Blobs(work.blob_url).put_derived("training/broken/1.pt", b"half a file")
    with pytest.raises(Unavailable) as refused:
        epoch(work, 2, "training/broken/1.pt", PLENTY, 8)
    assert refused.value.code == "checkpoint_broken"


def poisoned(monkeypatch: pytest.MonkeyPatch, at: set[int]) -> None:
    """Losses that are not a number, in calls counted from 0."""
    honest, calls = Yolox.loss, iter(range(10**6))

    def loss(self, module, images, targets):
        found = honest(self, module, images, targets)
        return {k: v * float("nan") for k, v in found.items()} if next(calls) in at else found

    monkeypatch.setattr(Yolox, "loss", loss)


def test_a_loss_that_is_no_number_is_tried_again_more_gently(make, monkeypatch) -> None:
    work = make(run_id="nan", epochs=3, batch_size=32)
    first = train(work, 1)[0]
    poisoned(monkeypatch, {2})
    second = epoch(work, 2, first.checkpoint, PLENTY, 32)
    assert any("not a number" in note for note in second.notes)
    assert second.metrics["learning_rate"] < 0.2 * first.metrics["learning_rate"]
    assert np.isfinite(second.metrics["train_loss"])
    # It stays gentle, in a new process too.
    forget()
    third = epoch(work, 3, second.checkpoint, PLENTY, 32)
    assert third.metrics["learning_rate"] <= 0.1 * work.config.learning_rate
    assert not third.notes


def test_a_loss_that_stays_no_number_ends_the_training(make, monkeypatch) -> None:
    poisoned(monkeypatch, set(range(1000)))
    with pytest.raises(InvalidInput, match="diverged") as refused:
        train(make(run_id="nans"), 1)
    assert refused.value.code == "training_diverged"


def crowded(monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """A machine that holds so many images; returns how many each step was asked to."""
    honest: Any = Yolox.loss
    asked: list[int] = []

    def loss(self, module, images, targets):
        asked.append(len(images))
        if len(images) > room:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return honest(self, module, images, targets)

    monkeypatch.setattr(Yolox, "loss", loss)
    return asked


def test_out_of_memory_halves_the_batch_and_goes_on(make, monkeypatch) -> None:
    asked = crowded(monkeypatch, 9)
    report = train(make(run_id="memory", batch_size=32), 1)[0]
    assert report.batch_size == 8
    assert len(report.notes) == 2
    assert "32" in report.notes[0]
    assert asked[:2] == [32, 16]
    assert set(asked[2:]) == {8}
    assert sum(asked[2:]) >= 128


def test_out_of_memory_with_one_image(make, monkeypatch) -> None:
    crowded(monkeypatch, 0)
    with pytest.raises(Unavailable, match="one image") as refused:
        train(make(run_id="tiny"), 1)
    assert refused.value.code == "out_of_memory"


def test_it_stops_early(make, monkeypatch) -> None:
    monkeypatch.setattr("tintype_studio.vision.train.loop.numbers", lambda evaluation: {"mAP": 0.3})
    reports = train(make(run_id="early", epochs=20, patience=2, batch_size=64), 20)
    assert len(reports) == 3
    assert reports[-1].stop
    assert not reports[-1].out_of_time
    assert any("early" in note for note in reports[-1].notes)
    # Of equals the later one, which has seen more.
    assert reports[-1].best


def test_it_stops_in_time_in_the_middle_of_an_epoch(make) -> None:
    work = make(run_id="time", epochs=50, deterministic=False)
    prepare(work)
    report = train(work, 1, seconds=0.3)[0]
    assert report.stop
    assert report.out_of_time
    assert "val_mAP" in report.metrics
    assert report.seconds < 20
    assert finish(work, report.checkpoint).best_epoch == 1


def test_no_time_at_all_still_gives_a_model(make) -> None:
    work = make(run_id="none")
    report = train(work, 1, seconds=0.0)[0]
    assert report.stop
    assert finish(work, report.checkpoint).onnx.size > 1e5


def test_checkpoints_hold_nothing_but_tensors_and_values(make) -> None:
    work = make(run_id="plain")
    report = train(work, 1)[0]
    data = Blobs(work.blob_url).get_derived(report.checkpoint)
    assert data is not None
    kept = torch.load(io.BytesIO(data), weights_only=True)
    assert kept["number"] == 1
    # Module, average and the optimizer's two moments; the best weights are the average's.
    assert len(data) < 4.6 * sum(v.numel() * 4 for v in kept["module"].values())


def test_without_average_and_augmentation(make) -> None:
    work = make(run_id="bare", ema=False, augment=False, epochs=1)
    report = train(work, 1)[0]
    assert finish(work, report.checkpoint).best_epoch == 1


def test_a_model_of_ours_is_a_start(learned, make, folder: Path) -> None:
    work, reports, finished = learned
    path = folder / "weights.pt"
    path.write_bytes(Blobs(work.blob_url).get(finished.checkpoint.sha256))
    again = make(run_id="start", pretrained=str(path), epochs=1)
    report = train(again, 1)[0]
    assert report.initialization == "pretrained: weights.pt (red, blue)"
    assert report.metrics["train_loss"] < reports[0].metrics["train_loss"]
    # The file may be gone when the training goes on, and when it ends.
    path.unlink()
    forget()
    assert finish(again, report.checkpoint).initialization == report.initialization


def test_a_start_with_other_classes_leaves_the_head_out(learned, make, folder: Path) -> None:
    work, _, finished = learned
    start = folder / "start"
    start.mkdir()
    (start / "old.pt").write_bytes(Blobs(work.blob_url).get(finished.checkpoint.sha256))
    other = replace(make(run_id="other", pretrained=str(start)), class_filter=("blue",))
    report = train(other, 1)[0]
    assert "classes differ" in report.initialization
    assert "2 of" in report.initialization


def test_a_model_of_the_registry_is_a_start_by_its_name(learned, make) -> None:
    _, reports, finished = learned
    weights = Weights("model", "squares 1.0.0", "some-id", finished.checkpoint.sha256)
    again = replace(make(run_id="parent", pretrained="some-id", epochs=1), weights=weights)
    report = train(again, 1)[0]
    assert report.initialization == "from model squares 1.0.0 (red, blue)"
    assert report.metrics["train_loss"] < reports[0].metrics["train_loss"]
    forget()
    shutil.rmtree(again.work_dir)
    assert finish(again, report.checkpoint).initialization == report.initialization


def test_a_model_whose_tensors_do_not_fit_is_named(learned, make) -> None:
    _, _, finished = learned
    kept = torch.load(io.BytesIO(Blobs(make().blob_url).get(finished.checkpoint.sha256)), weights_only=True)
    kept["state_dict"] = {name: value[:1] for name, value in kept["state_dict"].items() if value.ndim}
    out = io.BytesIO()
    torch.save(kept, out)
    weights = Weights("model", "squares 2.0.0", "some-id", Blobs(make().blob_url).put(out.getvalue()))
    with pytest.raises(Unavailable) as refused:
        train(replace(make(run_id="unlike", pretrained="some-id"), weights=weights), 1)
    assert refused.value.code == "needs_weights"
    assert refused.value.message == "The weights in model squares 2.0.0 do not fit this network."


@pytest.mark.parametrize("kind", ["nothing", "empty folder", "another file"])
def test_weights_that_are_not_there(make, tmp_path: Path, kind: str) -> None:
    path = {"nothing": "no/such", "empty folder": str(tmp_path), "another file": str(tmp_path / "x.pt")}[kind]
    if kind == "another file":
        Path(path).write_bytes(b"something else")
    with pytest.raises(Unavailable) as refused:
        train(make(run_id="weights", pretrained=path), 1)
    assert refused.value.code == "needs_weights"
    assert "download_model" in refused.value.fix
    assert str(tmp_path) not in refused.value.message.replace(path, "")


def test_validation_takes_its_share_of_the_time(make, monkeypatch) -> None:
    work = make(run_id="share", epochs=8, batch_size=64)
    train(work, 1)
    loop = running._memory.loop
    assert isinstance(loop, Loop)
    loop.validation_seconds, loop.validated = 10.0, 4
    assert not loop.due(5, 40.0, last=False)
    assert loop.due(7, 40.0, last=False)
    assert loop.due(5, 40.0, last=True)
