"""Dry runs of jobs and trainings, which nobody does."""

from __future__ import annotations

from typing import Any

from support.dry_world import Ready, Refusals, World
from support.training import fill


def for_verify(world: World) -> dict[str, Any]:
    world.runtime.studio.jobs.supervisor.enabled = False  # nobody need do it
    return {"dataset_name": "signs", "wait_seconds": 0}


def for_cancel_job(world: World) -> dict[str, Any]:
    return {"job_id": world.live("verify_dataset", for_verify(world)).value["job"]["job_id"]}


def for_training(world: World) -> dict[str, Any]:
    world.runtime.studio.jobs.supervisor.enabled = False  # nobody need do it
    studio = world.runtime.studio
    fill(studio, world.owner, studio.datasets.get(world.owner, "signs"), count=4)
    return {"dataset_name": "signs", "pipeline": "yolox", "config": {"max_minutes": 3}, "wait": False}


def for_cancel_training(world: World) -> dict[str, Any]:
    return {"run_id": world.live("train_pipeline", for_training(world)).value["training_run"]["id"]}


READY: Ready = {
    "cancel_job": for_cancel_job,
    "cancel_training": for_cancel_training,
    "train_pipeline": for_training,
    "verify_dataset": for_verify,
}
OPERATIONS = {"train_pipeline": "training_a10g_per_minute"}
PRICES = {"train_pipeline": 30}
OWN = {"cancel_job", "cancel_training"}
REFUSED: Refusals = [
    ("cancel_job", "job_not_found", lambda w: {"job_id": "x"}),
    ("cancel_training", "training_run_not_found", lambda w: {"run_id": "x"}),
    ("train_pipeline", "dataset_not_found", lambda w: for_training(w) | {"dataset_name": "x"}),
    ("train_pipeline", "invalid_config", lambda w: for_training(w) | {"config": {"epochs": "x"}}),
    ("train_pipeline", "too_few_images", lambda w: {"dataset_name": "signs", "pipeline": "yolox"}),
    ("verify_dataset", "dataset_not_found", lambda w: {"dataset_name": "x"}),
]
