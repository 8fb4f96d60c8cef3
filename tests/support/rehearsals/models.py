"""Dry runs of what trained models do."""

from __future__ import annotations

from typing import Any

import pytest
from support.dry_world import BOX, Ready, Refusals, World, upload
from support.pictures import jpeg
from support.ready_models import add_model

from tintype_studio.vision.tasks import Signature, Task


def for_model(world: World) -> dict[str, Any]:
    studio = world.runtime.studio
    signature = Signature(Task.DETECTION, "yolox", ("sign",), 64)
    dataset = studio.datasets.get(world.owner, "signs")
    return {"model_id": add_model(studio, world.owner, dataset, signature, b"an ONNX file").id}


def for_cells(world: World) -> dict[str, Any]:
    """A model that opens, which is trained on the class of the picture."""
    pytest.importorskip("onnx")
    from support.onnx_models import blob_detector

    studio = world.runtime.studio
    signature = Signature(Task.DETECTION, "yolox", ("sign", "tree"), 64)
    dataset = studio.datasets.get(world.owner, "signs")
    return {"model_id": add_model(studio, world.owner, dataset, signature, blob_detector(signature)).id}


def for_predictions(world: World) -> dict[str, Any]:
    world.runtime.studio.jobs.supervisor.enabled = False  # nobody need do it
    upload(world, "signs")
    return for_cells(world) | {"dataset_name": "signs", "wait_seconds": 0}


def for_pipeline(world: World) -> dict[str, Any]:
    """One new picture, which the model of its dataset labels; without the training."""
    world.runtime.studio.jobs.supervisor.enabled = False
    for_cells(world)
    folder = world.folder / "one"
    folder.mkdir()
    (folder / "one.jpg").write_bytes(jpeg(seed=9))
    return {
        "dataset_name": "signs",
        "folder": str(folder),
        "classes": [{"name": "sign", "output_type": "bbox"}],
        "pipeline": "yolox",
        "train": False,
        "wait_seconds": 0,
    }


def bare(world: World) -> dict[str, Any]:
    """A dataset without any of the model's classes."""
    world.live("create_dataset", {"name": "bare"})
    return for_cells(world) | {"dataset_name": "bare"}


def for_evaluation(world: World) -> dict[str, Any]:
    world.runtime.studio.jobs.supervisor.enabled = False
    world.live("save_annotations", {"image_uuid": world.image().id, "annotations": [BOX]})
    return for_cells(world) | {"split": "all", "wait_seconds": 0}


READY: Ready = {
    "delete_model": for_model,
    "download_model": lambda w: for_model(w) | {"output_path": str(w.folder / "out.onnx")},
    "evaluate_model": for_evaluation,
    "full_pipeline": for_pipeline,
    "predict_dataset": for_predictions,
}
OPERATIONS = {
    "full_pipeline": "full_pipeline",
    "predict_dataset": "image_inference",
}
REFUSED: Refusals = [
    ("delete_model", "model_not_found", lambda w: {"model_id": "x"}),
    ("download_model", "model_not_found", lambda w: READY["download_model"](w) | {"model_id": "x"}),
    ("download_model", "invalid_path", lambda w: READY["download_model"](w) | {"output_path": " "}),
    ("evaluate_model", "model_not_found", lambda w: {"model_id": "x"}),
    ("evaluate_model", "no_common_class", bare),
    ("full_pipeline", "folder_not_found", lambda w: for_pipeline(w) | {"folder": str(w.folder / "x")}),
    ("full_pipeline", "invalid_name", lambda w: for_pipeline(w) | {"dataset_name": "a/b"}),
    ("full_pipeline", "invalid_config", lambda w: for_pipeline(w) | {"train_config": {"epochs": "x"}}),
    ("predict_dataset", "model_not_found", lambda w: {"dataset_name": "signs", "model_id": "x"}),
    ("predict_dataset", "dataset_not_found", lambda w: for_cells(w) | {"dataset_name": "x"}),
]
