"""The published SDK's four workflows, on a server of their own: they spend credits and train."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("transformers")

from support.sdk import Sdk
from support.sdk_worlds import LABELLED, LONG, TINY, open_scenes, pictures

UPLOAD = """
seen = []
report = pictograph.workflows.upload_dataset_from_folder(
    client, name, folder, progress=lambda done, total, file: seen.append([done, total]), **given)
return [report.success, report, sorted(seen)]
"""
ANNOTATE = """
from pictograph.models.auto_annotate import BatchClass
classes = [BatchClass(name="red", output_type="bbox"), ("blue", "bbox")]
report = pictograph.workflows.auto_annotate_dataset(client, name, classes, **given)
return [report.success, report]
"""
TRAIN = "return pictograph.workflows.train_pipeline(client, 'scenes', pipeline='yolox', **given)"
FULL = """
report = pictograph.workflows.full_pipeline(client, dataset_name="scenes", folder=folder,
    classes=[("red", "bbox"), {"name": "blue", "output_type": "bbox"}], pipeline="yolox", **given)
return [report.success, report]
"""
IMPORT = "import pictograph.workflows\n"


@pytest.fixture(scope="module")
def scenes(one_core: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with open_scenes(tmp_path_factory.mktemp("scenes")) as opened:
        yield opened


def run(sdk: Sdk, code: str, **values: Any) -> Any:
    return sdk.run(IMPORT + code, **values)


def statuses(sdk: Sdk, name: str) -> dict[str, str]:
    code = "return client.datasets.get(name, include_images=True).images"
    return {image["filename"]: image["status"] for image in sdk.run(code, name=name)}


def balance(sdk: Sdk) -> int:
    return int(sdk.run("return client.credits.balance().credits_remaining"))


def test_a_folder_becomes_a_dataset(scenes: Sdk, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", "a.png", "day/b.png", "day/c.png", "night/late/d.png")
    success, report, seen = run(scenes, UPLOAD, name="photos", folder=str(folder), given={})
    assert (success, report["failures"]) == (True, [])
    assert [report[f"images_{what}"] for what in ("attempted", "uploaded", "skipped")] == [4, 4, 0]
    assert seen == [[n, 4] for n in range(1, 5)]
    assert statuses(scenes, "photos") == dict.fromkeys(("a.png", "b.png", "c.png", "d.png"), "new")
    out = tmp_path / "back"
    done = scenes.run("return client.datasets.download('photos', output_dir=out)", out=str(out))
    assert (done["images_downloaded"], done["failures"]) == (4, [])
    originals = sorted(path.read_bytes() for path in folder.rglob("*.png"))
    assert sorted(path.read_bytes() for path in out.rglob("*.png")) == originals


def test_a_folder_again_is_skipped_or_a_conflict(scenes: Sdk, tmp_path: Path) -> None:
    folder = str(pictures(tmp_path / "twice", "a.png", "b.png"))
    assert run(scenes, UPLOAD, name="twice", folder=folder, given={})[0] is True
    success, report, _ = run(scenes, UPLOAD, name="twice", folder=folder, given={"parallel": False})
    assert (report["images_uploaded"], report["images_skipped"], report["failures"]) == (0, 2, [])
    assert success is False  # the SDK's word for nothing new
    _, report, _ = run(scenes, UPLOAD, name="twice", folder=folder, given={"skip_existing": False})
    assert [failure["reason"].split(":")[0] for failure in report["failures"]] == ["conflict", "conflict"]
    assert len(statuses(scenes, "twice")) == 2


def test_a_broken_picture_fails_alone(scenes: Sdk, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "mixed", "good.png")
    (folder / "bad.png").write_bytes(b"no picture at all")
    success, report, _ = run(scenes, UPLOAD, name="mixed", folder=str(folder), given={})
    assert (success, report["images_uploaded"]) == (False, 1)
    (failure,) = report["failures"]
    assert Path(failure["path"]).name == "bad.png"
    assert list(statuses(scenes, "mixed")) == ["good.png"]


def test_uploads_that_cannot_begin(scenes: Sdk, tmp_path: Path) -> None:
    folder = str(pictures(tmp_path / "none", "a.png"))
    given = {"create_if_missing": False}
    shape = scenes.fails(IMPORT + UPLOAD, name="nowhere", folder=folder, given=given)
    assert (shape["type"], shape["status_code"]) == ("NotFoundError", 404)
    shape = scenes.fails(IMPORT + UPLOAD, name="nowhere", folder=folder + "/missing", given={})
    assert shape["type"] == "FileNotFoundError"
    shape = scenes.as_("viewer").fails(IMPORT + UPLOAD, name="nowhere", folder=folder, given={})
    assert shape["type"] == "ForbiddenError"


def test_a_batch_labels_what_is_not_labelled(scenes: Sdk) -> None:
    before = balance(scenes)
    success, report = run(scenes, ANNOTATE, name="scenes", given={"poll_interval": 0.2})
    assert (success, report["failures"]) == (True, [])
    assert (report["images_processed"], report["images_skipped"]) == (1, LABELLED)
    assert report["annotations_added"] == 2
    assert report["job_id"]
    assert balance(scenes) == before - 1
    assert statuses(scenes, "scenes")["new.png"] == "complete"
    success, report = run(scenes, ANNOTATE, name="scenes", given={"poll_interval": 0.2})
    assert (success, report["images_attempted"], report["job_id"]) == (False, 0, None)


def test_words_label_one_image_after_the_other(scenes: Sdk, tmp_path: Path) -> None:
    folder = str(pictures(tmp_path / "more", "w1.png", "w2.png"))
    run(scenes, UPLOAD, name="scenes", folder=folder, given={})
    given = {"mode": "text", "max_images": 1}
    success, report = run(scenes, ANNOTATE, name="scenes", given=given)
    assert (success, report["images_processed"], report["failures"]) == (True, 1, [])
    assert report["images_skipped"] == LABELLED + 2
    assert report["job_id"] is None
    labelled = [name for name, status in statuses(scenes, "scenes").items() if status == "complete"]
    assert "w1.png" in labelled or "w2.png" in labelled


def test_a_class_that_nobody_finds_is_in_the_report(scenes: Sdk, tmp_path: Path) -> None:
    folder = str(pictures(tmp_path / "odd", "odd.png"))
    run(scenes, UPLOAD, name="odd", folder=folder, given={})
    for mode in ("batch", "text"):
        success, report = run(scenes, ANNOTATE, name="odd", given={"mode": mode})
        assert (success, report["annotations_added"]) == (False, 0)
        assert "label it yourself" in report["failures"][0]["reason"]


@pytest.fixture(scope="module")
def trained(scenes: Sdk) -> tuple[dict[str, Any], dict[str, Any]]:
    made = run(scenes, TRAIN, given={"config": TINY, "name": "tiny", "poll_interval": 0.3, "timeout": 120})
    return made[0], made[1]


def test_a_dataset_becomes_a_model(scenes: Sdk, trained: tuple[dict[str, Any], dict[str, Any]]) -> None:
    trained_run, model = trained
    assert (trained_run["status"], trained_run["model_id"]) == ("completed", model["id"])
    assert (model["status"], sorted(model["class_mapping"].values())) == ("ready", ["blue", "red"])
    exports = scenes.run("return client.exports.list(dataset_name='scenes')")
    (export,) = [each for each in exports if each["id"] == trained_run["export_id"]]
    assert export["name"].startswith("yolox-")
    assert (export["format"], export["status_filter"]) == ("pictograph", "complete")


def test_a_training_that_is_not_waited_for(scenes: Sdk, trained: Any) -> None:
    long = {"config": LONG, "export_name": "later"}
    queued, model = run(scenes, TRAIN, given=long | {"wait": False})
    assert (queued["status"], model) == ("queued", None)
    stopped = scenes.run("return client.training.cancel(run)", run=queued["id"])
    assert stopped["id"] == queued["id"]
    shape = scenes.fails(IMPORT + TRAIN, given=long)
    assert (shape["type"], shape["status_code"]) == ("ConflictError", 409)  # that export is there
    late = long | {"export_name": "too late", "name": "late", "poll_interval": 0.1, "timeout": 0.3}
    shape = scenes.fails(IMPORT + TRAIN, given=late)
    assert shape["type"] == "PollTimeoutError"
    (running,) = [each for each in scenes.run("return client.training.list()") if each["name"] == "late"]
    scenes.run("client.training.cancel(run)", run=running["id"])


@pytest.mark.slow
def test_a_folder_becomes_a_model(scenes: Sdk, trained: Any, tmp_path: Path) -> None:
    """Uploads, labels with a model that is there, trains on what that completed."""
    folder = str(pictures(tmp_path / "fresh", "f1.png", "day/f2.png", "day/f3.png"))
    given = {"train_config": TINY, "train_timeout": 150}
    success, report = run(scenes, FULL, folder=folder, given=given)
    assert success is True
    assert report["upload"]["images_uploaded"] == 3
    assert report["annotate"]["images_processed"] >= 3
    assert report["training_run"]["status"] == "completed"
    assert report["model"]["id"] == report["training_run"]["model_id"]
    found = statuses(scenes, "scenes")
    assert [found[name] for name in ("f1.png", "f2.png", "f3.png")] == ["complete"] * 3
    success, report = run(scenes, FULL, folder=folder, given=given)
    assert (success, report["upload"]["images_skipped"], report["annotate"]) == (False, 3, None)


def test_a_pipeline_stops_before_it_spends(scenes: Sdk, tmp_path: Path) -> None:
    before = balance(scenes)
    folder = str(pictures(tmp_path / "dear", "dear.png"))
    success, report = run(scenes, FULL, folder=folder, given={"min_credits": before + 1})
    assert success is False
    assert str(before) in report["credit_skip_reason"]
    assert (report["annotate"], report["training_run"], balance(scenes)) == (None, None, before)
    folder = str(pictures(tmp_path / "only", "only.png"))
    success, report = run(scenes, FULL, folder=folder, given={"annotate": False, "train": False})
    assert (success, report["upload"]["images_uploaded"], report["model"]) == (True, 1, None)
