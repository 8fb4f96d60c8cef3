"""The seed documentation's examples of the four workflows, with real annotations and trainings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("transformers")

from support.sdk import Sdk
from support.seed_models import TINY, hurried, open_models_sdk, scenes

from tintype_studio import clock

SIGNATURES = {
    "full_pipeline": {
        "gpu": "a10g",
        "annotate": True,
        "annotate_mode": "batch",
        "train": True,
        "upload_workers": 8,
        "train_config": None,
        "train_timeout": 7200.0,
        "min_credits": 1,
    },
    "upload_dataset_from_folder": {
        "organize_by_class": True,
        "parallel": True,
        "max_workers": 8,
        "skip_existing": True,
        "create_if_missing": True,
        "progress": None,
    },
    "auto_annotate_dataset": {
        "mode": "batch",
        "confidence_threshold": 0.5,
        "overwrite": False,
        "max_images": None,
        "poll_interval": 5.0,
        "timeout": 1800.0,
    },
    "train_pipeline": {
        "gpu": "a10g",
        "name": None,
        "config": None,
        "export_name": None,
        "class_filter": None,
        "status_filter": "complete",
        "wait": True,
        "poll_interval": 5.0,
        "timeout": 7200.0,
    },
}
"""What each takes beside what it requires, with the defaults."""

REPORTS = {
    "PipelineReport": "dataset_name upload annotate training_run model credit_skip_reason",
    "UploadReport": "dataset_name images_attempted images_uploaded images_skipped failures",
    "AnnotateReport": (
        "dataset_name images_attempted images_processed images_skipped annotations_added failures job_id"
    ),
}


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    with open_models_sdk(tmp_path_factory.mktemp("seed")) as opened:
        yield opened


def test_documented_signatures(sdk: Sdk) -> None:
    code = """
    import inspect
    from pictograph import workflows
    told = {}
    for name in names:
        parameters = inspect.signature(getattr(workflows, name)).parameters.values()
        told[name] = {p.name: p.default for p in parameters if p.default is not p.empty}
    return told
    """
    assert sdk.run(code, names=list(SIGNATURES)) == SIGNATURES


def test_documented_reports(sdk: Sdk) -> None:
    code = """
    import dataclasses
    from pictograph import workflows
    told = {}
    for name in names:
        report = getattr(workflows, name)
        assert isinstance(report.success, property)
        told[name] = " ".join(f.name for f in dataclasses.fields(report))
    return told
    """
    assert sdk.run(code, names=list(REPORTS)) == REPORTS


# --- A folder ------------------------------------------------------------------------------------------

UPLOAD = """
from pictograph import Client
from pictograph.workflows import upload_dataset_from_folder
report = upload_dataset_from_folder(
    client,
    dataset_name=name,
    folder=folder,
)
"""


def test_a_folder_is_uploaded(sdk: Sdk, tmp_path: Path) -> None:
    code = UPLOAD + 'return f"{report.images_uploaded} uploaded, {report.images_skipped} skipped"'
    values = {"name": f"road-signs {clock.new_id()}", "folder": str(scenes(tmp_path / "a", 4))}
    assert sdk.run(code, **values) == "4 uploaded, 0 skipped"


def test_a_folder_uploaded_again_is_skipped(sdk: Sdk, tmp_path: Path) -> None:
    code = """
    from pictograph.workflows import upload_dataset_from_folder
    report = upload_dataset_from_folder(client, name, folder)
    assert report.images_uploaded == 5 and report.images_skipped == 0
    report = upload_dataset_from_folder(client, name, folder)
    assert report.images_uploaded == 0 and report.images_skipped == 5
    return client.datasets.get(name).image_count
    """
    values = {"name": f"road-signs {clock.new_id()}", "folder": str(scenes(tmp_path / "a", 5))}
    assert sdk.run(code, **values) == 5


def test_the_progress_of_a_folder(sdk: Sdk, tmp_path: Path) -> None:
    code = """
    from pictograph.workflows import upload_dataset_from_folder
    told = []
    def on_progress(done: int, total: int, filename: str | None) -> None:
        told.append([done, total])
    upload_dataset_from_folder(
        client, name, folder, progress=on_progress,
    )
    return told
    """
    values = {"name": f"road-signs {clock.new_id()}", "folder": str(scenes(tmp_path / "a", 3))}
    assert sorted(sdk.run(code, **values)) == [[1, 3], [2, 3], [3, 3]]


def test_a_report_of_what_failed(sdk: Sdk, tmp_path: Path) -> None:
    """A file that is no image is told by its path, and the others are there."""
    folder = scenes(tmp_path / "images", 2)
    (folder / "broken.jpg").write_bytes(b"no image")
    code = """
    from pictograph.workflows import upload_dataset_from_folder
    report = upload_dataset_from_folder(client, name, folder)
    if report.success:
        return f"Uploaded {report.images_uploaded}"
    return [report.images_uploaded, [[failure.path, failure.reason] for failure in report.failures]]
    """
    name = f"my-dataset {clock.new_id()}"
    uploaded, ((path, reason),) = sdk.run(code, name=name, folder=str(folder))
    assert (uploaded, Path(path).name) == (2, "broken.jpg")
    assert reason


# --- Annotation ----------------------------------------------------------------------------------------


def test_a_dataset_is_annotated(sdk: Sdk) -> None:
    code = """
from pictograph import Client
from pictograph.workflows import auto_annotate_dataset
report = auto_annotate_dataset(
    client,
    dataset_name="unlabelled",
    classes=[("stop_sign", "bbox"), ("yield", "polygon")],
)
types = {(a.name, a.type) for i in client.datasets.get("unlabelled", include_images=True).images
         for a in client.annotations.get(i.id)}
return [report.annotations_added, report.images_processed, report.success, sorted(types)]
"""
    types = [["stop_sign", "bbox"], ["yield", "polygon"]]
    assert sdk.run(hurried(code)) == [8, 4, True, types]


@pytest.mark.parametrize("way", ["tuples", "dicts", "models"])
def test_classes_three_ways(sdk: Sdk, way: str) -> None:
    code = """
from pictograph.models.auto_annotate import BatchClass
from pictograph.workflows import auto_annotate_dataset
ways = {
    "tuples": [("stop_sign", "bbox"), ("yield", "polygon")],
    "dicts": [
        {"name": "stop_sign", "output_type": "bbox"},
        {"name": "yield", "output_type": "polygon"},
    ],
    "models": [BatchClass(name="stop_sign", output_type="bbox")],
}
report = auto_annotate_dataset(client, "classes", classes=ways[way], overwrite=True, max_images=1)
return [report.images_processed, report.success, report.failures]
"""
    assert sdk.run(hurried(code), way=way) == [1, True, []]


def test_what_is_annotated_is_skipped_or_done_again(sdk: Sdk) -> None:
    """What people labelled stays: the SDK does not send that it is to be overwritten."""
    code = """
from pictograph.workflows import auto_annotate_dataset
specs = [("stop_sign", "bbox"), ("yield", "bbox")]
first = auto_annotate_dataset(client, "half labelled", classes=specs)
second = auto_annotate_dataset(client, "half labelled", classes=specs, overwrite=True)
return [[r.images_processed, r.images_skipped] for r in (first, second)]
"""
    assert sdk.run(hurried(code)) == [[2, 2], [2, 0]]


# --- All of it -----------------------------------------------------------------------------------------


def test_the_full_pipeline(sdk: Sdk, one_core: None, tmp_path: Path) -> None:
    code = """
from pictograph import Client
from pictograph.workflows import full_pipeline
report = full_pipeline(
    client,
    dataset_name="road-signs",
    folder=folder,
    classes=[("stop_sign", "bbox"), ("yield", "bbox")],
    pipeline="yolox",
    train_config=config,
)
told = report.credit_skip_reason or "see sub-reports"
return [report.success, report.model.id, report.training_run.status, report.upload.failures, told,
        report.annotate.annotations_added, client.models.get(report.model.id).class_mapping]
"""
    folder = str(scenes(tmp_path / "road_signs", 6))
    success, model, status, failures, told, added, classes = sdk.run(
        hurried(code), folder=folder, config=TINY
    )
    assert (success, status, failures, added) == (True, "completed", [], 12)
    assert (told, sorted(classes.values())) == ("see sub-reports", ["stop_sign", "yield"])
    assert model


PIPELINE = """
from pictograph.workflows import full_pipeline
report = full_pipeline(
    client, dataset_name=name, folder=folder, classes=[("stop_sign", "bbox")], pipeline="yolox", **given
)
"""


def test_the_full_pipeline_without_training(sdk: Sdk, tmp_path: Path) -> None:
    code = PIPELINE + "return [report.success, report.annotate.images_processed, report.training_run]"
    values = {"name": "only annotated", "folder": str(scenes(tmp_path / "a", 3)), "given": {"train": False}}
    assert sdk.run(hurried(code), **values) == [True, 3, None]


def test_the_full_pipeline_without_a_gate(sdk: Sdk, tmp_path: Path) -> None:
    code = PIPELINE + "return [report.success, report.credit_skip_reason, report.annotate.annotations_added]"
    given = {"min_credits": None, "train": False}
    values = {"name": "ungated", "folder": str(scenes(tmp_path / "a", 2)), "given": given}
    assert sdk.run(hurried(code), **values) == [True, None, 2]


@pytest.mark.parametrize("train", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_full_pipeline_without_annotation(sdk: Sdk, one_core: None, tmp_path: Path, train: bool) -> None:
    """On a dataset that is labelled: the new images wait for their labels, the model comes of the others."""
    code = PIPELINE + "return [report.success, report.annotate, report.model and report.model.status]"
    given = {"annotate": False, "train": train, "train_config": TINY}
    folder = scenes(tmp_path / "a", 2)
    for file in [*folder.rglob("*.png")]:
        file.rename(file.with_stem(f"{file.stem}-{train}"))
    values = {"name": "to train", "folder": str(folder), "given": given}
    assert sdk.run(hurried(code), **values) == [True, None, "ready" if train else None]
