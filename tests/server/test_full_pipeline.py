"""full_pipeline: its phases, what leaves them out, its books and its report."""

from __future__ import annotations

import pytest
from support.jobs import books
from support.pictures import jpeg
from support.pipelines import (
    BOTH,
    CONFIG,
    LABELLED,
    MINUTE,
    NEW,
    call,
    code,
    dispatch,
    entries,
    finish,
    folder,
    owner,
    pool,
    runtime,
    script,
    template,
    yard,
)
from support.ready_models import png, scene

from tintype_server.runtime import Runtime, everything
from tintype_studio.errors import PaymentRequired
from tintype_studio.identity.keys import Principal
from tintype_studio.training import pipeline as pipelines
from tintype_studio.vision.train.drafts import UNREVIEWED
from tintype_tools.call import Request

__all__ = ["finish", "folder", "owner", "pool", "runtime", "script", "template"]


def test_pictures_become_a_model(runtime, owner, folder, finish, script):
    before = books(runtime.studio, owner)[0]
    told = call(runtime, folder, dry_run=True).value
    assert told["price"]["credits"] == NEW + 2 * MINUTE
    assert [(a["kind"], a["count"]) for a in told["affected"]] == [
        ("images.added", NEW),
        ("annotations.saved", NEW),
        ("training.started", 1),
    ]
    assert yard(runtime, owner).image_count == LABELLED

    started = call(runtime, folder)
    assert started.value["upload"] == {
        "dataset_name": "yard",
        "images_attempted": NEW,
        "images_uploaded": NEW,
        "images_skipped": 0,
        "images_failed": 0,
        "failures": [],
        "success": True,
    }
    assert (started.value["job"]["status"], started.value["job"]["credits_held"]) == (
        "queued",
        NEW + 2 * MINUTE,
    )
    assert books(runtime.studio, owner) == (before, NEW + 2 * MINUTE)
    assert "success" not in started.value

    report = finish(started)
    assert (report["success"], report["job"]["status"]) == (True, "completed")
    assert "stopped_at" not in report
    annotate, run, model = report["annotate"], report["training_run"], report["model"]
    assert (annotate["images_attempted"], annotate["images_processed"], annotate["images_skipped"]) == (
        NEW,
        NEW,
        LABELLED,
    )
    assert (annotate["success"], annotate["failures"], annotate["job_id"]) == (
        True,
        [],
        report["job"]["job_id"],
    )
    assert annotate["annotations_added"] == 2 * NEW
    assert (run["status"], run["current_epoch"], run["pipeline_type"]) == ("completed", 3, "yolox")
    assert any("colour" in note for note in run["notes"])
    assert (model["status"], model["training_run_id"], model["id"]) == ("ready", run["id"], run["model_id"])
    [export] = runtime.studio.exports.list(owner)
    assert (export.image_count, export.status_filter) == (LABELLED + NEW, "complete")
    assert any("nobody has reviewed them" in note for note in report["notes"])
    # Three epochs of 20 s are one begun minute; what the second would have cost is free again.
    assert books(runtime.studio, owner) == (before - NEW - MINUTE, 0)
    assert (run["credits"]["held"], run["credits"]["charged"]) == (2 * MINUTE, MINUTE)
    assert sum(amount for _, amount in entries(runtime)) == -NEW - MINUTE

    dispatch(runtime, "undo_call", {"call_id": started.call_id})
    left = yard(runtime, owner)
    assert (left.image_count, left.completed_image_count) == (LABELLED, LABELLED)
    assert [model.name for model in runtime.studio.models.list(owner)] == ["cells"]


def test_drafts_are_told_once_in_run_card_and_report(runtime, owner, folder, finish, script):
    note = f"{2 * NEW} of 30 annotations are {UNREVIEWED}."
    script.set(notes=[note])
    report = finish(call(runtime, folder))
    card = dispatch(runtime, "get_model", {"model_id": report["model"]["id"]}).value
    for notes in (report["training_run"]["notes"], card["notes"]):
        assert [each for each in notes if "annotations" in each] == [note]
    assert not any("nobody has reviewed" in each for each in report["notes"])


def test_drafts_that_are_skipped_are_not_said_to_be_taken(runtime, owner, folder, finish):
    report = finish(call(runtime, folder, train_config={**CONFIG, "drafts": "skip"}))
    assert report["annotate"]["annotations_added"] == 2 * NEW
    assert not any("nobody has reviewed" in each for each in report["notes"])
    assert report["training_run"]["config"]["drafts"] == "skip"


def test_a_second_call_goes_on_from_what_is_there(runtime, owner, folder, finish):
    assert finish(call(runtime, folder))["success"] is True
    before = books(runtime.studio, owner)[0]
    report = finish(call(runtime, folder))
    upload, annotate = report["upload"], report["annotate"]
    assert (upload["images_uploaded"], upload["images_skipped"], upload["success"]) == (0, NEW, True)
    assert (annotate["images_attempted"], annotate["images_skipped"]) == (0, LABELLED + NEW)
    assert (report["success"], report["model"]["status"]) == (True, "ready")
    assert books(runtime.studio, owner) == (before - MINUTE, 0)
    assert len(runtime.studio.models.list(owner)) == 3


def test_a_file_that_is_refused_does_not_stop_it(runtime, owner, folder, finish):
    (folder / "broken.jpg").write_bytes(jpeg()[:-200])
    report = finish(call(runtime, folder))
    assert (report["upload"]["images_failed"], report["upload"]["success"]) == (1, False)
    assert report["upload"]["failures"][0]["path"] == "broken.jpg"
    assert report["model"]["status"] == "ready"
    # Not all that was asked for came about, and the report says what.
    assert (report["success"], "stopped_at" in report) == (False, False)
    assert report["notes"][0].startswith("1 file was refused")


def test_without_a_picture_there_is_nothing_to_go_on_with(runtime, owner, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    before = books(runtime.studio, owner)
    report = call(runtime, empty, dataset_name="new").value
    assert (report["stopped_at"], report["success"]) == ("upload", False)
    (empty / "broken.jpg").write_bytes(b"no picture")
    (empty / "notes.txt").write_bytes(b"x")
    report = call(runtime, empty, dataset_name="new").value
    assert report["upload"]["files_ignored"] == 1
    assert "1 file is no picture and was passed over." in report["notes"]
    assert (report["stopped_at"], len(report["upload"]["failures"])) == ("upload", 1)
    assert {"job", "annotate", "training_run"}.isdisjoint(report)
    assert books(runtime.studio, owner) == before
    assert runtime.studio.jobs.list(owner) == []


def test_what_nobody_can_find_is_uploaded_and_the_report_says_what_would_help(runtime, owner, folder):
    before = books(runtime.studio, owner)
    told = call(runtime, folder, dataset_name="new", dry_run=True).value
    assert [(a["kind"], a["count"]) for a in told["affected"]] == [
        ("dataset.created", 1),
        ("images.added", NEW),
    ]
    for _ in range(2):  # first the dataset is new, then it is there
        assert call(runtime, folder, dataset_name="new", dry_run=True).value["price"] == {"credits": 0}
        report = call(runtime, folder, dataset_name="new").value
    assert (report["stopped_at"], report["success"]) == ("annotate", False)
    assert (report["annotate"]["error"]["code"], report["annotate"]["success"]) == ("needs_engine", False)
    assert "save_annotations" in report["annotate"]["error"]["fix"]
    assert report["upload"]["images_skipped"] == NEW
    assert books(runtime.studio, owner) == before
    assert runtime.studio.jobs.list(owner) == []


def test_without_credits_it_only_uploads(runtime, owner, folder):
    balance, _ = books(runtime.studio, owner)
    told = call(runtime, folder, min_credits=balance + 1, dry_run=True).value
    assert (told["price"], [a["kind"] for a in told["affected"]]) == ({"credits": 0}, ["images.added"])
    report = call(runtime, folder, min_credits=balance + 1).value
    assert (report["stopped_at"], report["upload"]["images_uploaded"]) == ("credits", NEW)
    assert str(balance) in report["credit_skip_reason"]
    assert (report["success"], "job" in report) == (False, False)
    assert books(runtime.studio, owner) == (balance, 0)


def test_more_than_there_is_to_spend_is_refused_before_anything(runtime, owner, folder):
    dear = CONFIG | {"max_minutes": 1440}
    for least in (1, None):
        with pytest.raises(PaymentRequired) as refused:
            call(runtime, folder, train_config=dear, min_credits=least)
        assert refused.value.details["required"] == NEW + 1440 * MINUTE
    assert yard(runtime, owner).image_count == LABELLED


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"train_config": {"epochs": "many"}}, "invalid_config"),
        ({"classes": [BOTH[0], BOTH[0]]}, "invalid_input"),
        ({"classes": [BOTH[0], BOTH[0]], "dataset_name": "new"}, "invalid_input"),
        ({"classes": []}, "invalid_arguments"),
        ({"classes": [{"name": " "}]}, "invalid_arguments"),
        ({"pipeline": "yolo"}, "invalid_arguments"),
        ({"pipeline": "detectron2"}, "outlines_needed"),
        ({"gpu": "t4"}, "invalid_arguments"),
        ({"dataset_name": "a/b"}, "invalid_name"),
        ({"folder": "/nowhere"}, "folder_not_found"),
    ],
)
def test_bad_input_is_refused_before_anything(runtime, owner, folder, arguments, expected):
    for dry_run in (True, False):
        assert code(runtime, folder, dry_run=dry_run, **arguments) == expected
    assert [dataset.image_count for dataset in runtime.studio.datasets.list(owner)] == [LABELLED]


def test_without_the_training_libraries_it_is_refused_before_anything(
    runtime, owner, folder, finish, monkeypatch
):
    monkeypatch.setattr(pipelines, "missing_libraries", lambda: ("torch",))
    assert code(runtime, folder) == "needs_extra"
    assert yard(runtime, owner).image_count == LABELLED
    assert finish(call(runtime, folder, train=False))["success"] is True


def test_each_phase_can_be_left_out(runtime, owner, folder, finish, script):
    before = books(runtime.studio, owner)[0]
    report = call(runtime, folder, annotate=False, train=False).value
    assert (report["success"], {"job", "annotate", "training_run"}.isdisjoint(report)) == (True, True)
    report = finish(call(runtime, folder, annotate=False))
    assert (report["success"], "annotate" in report, report["model"]["status"]) == (True, False, "ready")
    assert books(runtime.studio, owner) == (before - MINUTE, 0)
    script.set()
    report = finish(call(runtime, folder, train=False))
    assert (report["success"], report["annotate"]["images_processed"]) == (True, NEW)
    assert {"training_run", "model"}.isdisjoint(report)
    assert books(runtime.studio, owner) == (before - MINUTE - NEW, 0)


def test_only_the_classes_that_were_asked_for_are_learned(runtime, owner, folder, finish):
    report = finish(call(runtime, folder, classes=[BOTH[0], {"name": "unicorn", "output_type": "bbox"}]))
    assert report["training_run"]["class_filter"] == ["red"]
    report = finish(call(runtime, folder, annotate=False, classes=[{"name": "unicorn"}]))
    assert (report["stopped_at"], report["training_error"]["code"]) == ("train", "unknown_class")


def borrow_engine(runtime: Runtime, owner: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a dataset ``new`` and let it use the yard's engine, as one could a model behind an API."""
    runtime.studio.datasets.create(owner, name="new")
    detectors, real = runtime.studio.detectors, runtime.studio.detectors.survey
    here = yard(runtime, owner)
    monkeypatch.setattr(detectors, "survey", lambda _dataset, *rest: real(here, *rest))


def test_too_few_images_are_labelled_and_not_trained_on(runtime, owner, folder, finish, monkeypatch):
    borrow_engine(runtime, owner, monkeypatch)
    before = books(runtime.studio, owner)[0]
    report = finish(call(runtime, folder, dataset_name="new"))
    assert report["annotate"]["images_processed"] == NEW
    assert (report["stopped_at"], report["training_error"]["code"]) == ("train", "too_few_images")
    assert {"training_run", "model"}.isdisjoint(report)
    assert books(runtime.studio, owner) == (before - NEW, 0)
    assert [model.name for model in runtime.studio.models.list(owner)] == ["cells"]


def test_where_nothing_is_found_nothing_is_trained(runtime, owner, folder, finish, monkeypatch):
    borrow_engine(runtime, owner, monkeypatch)
    for path in folder.iterdir():
        path.write_bytes(png(scene(64, 64)))
    before = books(runtime.studio, owner)[0]
    report = finish(call(runtime, folder, dataset_name="new"))
    assert (report["stopped_at"], report["success"]) == ("annotate", False)
    assert (report["annotate"]["images_processed"], report["annotate"]["annotations_added"]) == (NEW, 0)
    assert report["notes"] == ["No image is labelled, so that there was nothing to train on."]
    assert books(runtime.studio, owner) == (before, 0)


def test_a_replayed_call_reports_on_the_same_job(runtime, owner, folder, finish):
    request = Request(
        tool="full_pipeline",
        arguments={
            "dataset_name": "yard",
            "folder": str(folder),
            "classes": BOTH,
            "pipeline": "yolox",
            "train_config": CONFIG,
            "wait_seconds": 0,
        },
        api_key=runtime.local_api_key(),
        door="toolkit",
        files=everything(runtime.settings),
        idempotency_key="once",
    )
    first = runtime.dispatch(request)
    report = finish(first)
    again = runtime.dispatch(request)
    assert again.replayed
    assert again.value == report
    assert len(runtime.studio.jobs.list(owner)) == 1
