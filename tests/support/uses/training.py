"""What every door does with trainings."""

from __future__ import annotations

import pytest
from support.door_world import World
from support.doors import Door, Refused
from support.training import fill
from support.training import start as start_training

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.training.plan import TrainRequest, missing_libraries


def _training_run(world: World) -> str:
    """A run that begins: of how long it goes on, and how it ends, nothing is known here."""
    studio = open_studio(Settings(home=world.site.home))
    studio.jobs.supervisor.enabled = False
    owner = studio.keys.authenticate(world.site.owner)
    fill(studio, owner, studio.datasets.get(owner, world.dataset), count=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tintype_studio.training.plan.missing_libraries", lambda: ())
        request = TrainRequest(world.dataset, "yolox", config={"max_minutes": 1})
        job = start_training(studio, owner, request)
    run = studio.training.get_of_job(owner, job.id)
    studio.close()
    return run.id


def use_train_pipeline(door: Door, world: World) -> None:
    """With or without the libraries; a whole training stands in test_training_real.py."""
    studio = open_studio(Settings(home=world.site.home))
    owner = studio.keys.authenticate(world.site.owner)
    fill(studio, owner, studio.datasets.get(owner, world.dataset), count=5)
    studio.close()
    arguments = {
        "dataset_name": world.dataset,
        "pipeline": "yolox",
        "config": {"max_minutes": 1},
        "wait": False,
    }
    if missing_libraries():
        with pytest.raises(Refused) as refused:
            door.call("train_pipeline", arguments)
        assert refused.value.shape["code"] == "needs_extra"
        assert "tintype[train]" in refused.value.shape["fix"]
        return
    run = door.call("train_pipeline", arguments).value["training_run"]
    assert (run["dataset_name"], run["total_epochs"], run["credits"]["held"]) == (world.dataset, 50, 10)
    world.make("cancel_training", run_id=run["id"])


def use_get_training_status(door: Door, world: World) -> None:
    run_id = _training_run(world)
    world.make(
        "cancel_job", job_id=world.make("get_training_status", run_id=run_id)["training_run"]["job_id"]
    )
    value = door.call("get_training_status", {"run_id": run_id, "wait_seconds": 30}).value
    assert (value["training_run"]["id"], value["training_run"]["status"]) == (run_id, "cancelled")
    assert (value["training_run"]["total_epochs"], value["history"]) == (50, [])


def use_cancel_training(door: Door, world: World) -> None:
    run_id = _training_run(world)
    run = door.call("cancel_training", {"run_id": run_id}).value["training_run"]
    assert run["status"] == "cancelled" or run["cancelling"]
    ended = world.make("get_training_status", run_id=run_id, wait_seconds=30)["training_run"]
    assert (ended["status"], ended["credits"]) == ("cancelled", {"held": 10, "charged": 0, "refunded": 0})
