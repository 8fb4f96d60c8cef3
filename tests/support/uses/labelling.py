"""The labelling of named images, searches and lists of runs through a door."""

from __future__ import annotations

from typing import Any

import pytest
from support.doors import Door
from support.training import fill, start

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.training.plan import TrainRequest


def _arguments(world: Any) -> dict[str, Any]:
    """A person has labelled the picture, so there is nothing to do, and all that can be told is told."""
    world.label(3)
    classes = [{"name": "sign", "output_type": "bbox"}]
    names = ["scene.png", "no such.png"]
    return {"dataset_name": world.dataset, "image_filenames": names, "classes": classes}


def use_auto_annotate_images(door: Door, world: Any) -> None:
    value = door.call("auto_annotate_images", _arguments(world)).value
    assert (value["job"]["status"], value["images_named"], value["images_skipped"]) == ("completed", 1, 1)
    assert (value["images_processed"], value["missing"]) == (0, ["no such.png"])


def use_get_auto_annotate_job(door: Door, world: Any) -> None:
    job_id = world.make("auto_annotate_images", **_arguments(world))["job_id"]
    value = door.call("get_auto_annotate_job", {"job_id": job_id, "wait_seconds": 5}).value
    assert (value["job_id"], value["job"]["status"], value["missing_count"]) == (job_id, "completed", 1)


def use_search_organization_by_tag(door: Door, world: Any) -> None:
    annotation = {"id": "t", "name": world.dataset, "bounding_box": {"x": 1, "y": 2, "w": 3, "h": 4}}
    world.make("save_annotations", image_uuid=world.image["id"], annotations=[annotation])
    arguments = {"objects": [world.dataset, "nothing"], "attributes": ["landscape"]}
    (image,) = door.call("search_organization_by_tag", arguments).value["images"]
    assert (image["id"], image["dataset_name"]) == (world.image["id"], world.dataset)


def use_list_training_runs(door: Door, world: Any) -> None:
    studio = open_studio(Settings(home=world.site.home))
    studio.jobs.supervisor.enabled = False
    owner = studio.keys.authenticate(world.site.owner)
    fill(studio, owner, studio.datasets.get(owner, world.dataset), count=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tintype_studio.training.plan.missing_libraries", lambda: ())
        job = start(studio, owner, TrainRequest(world.dataset, "yolox", config={"max_minutes": 1}))
    run = studio.training.get_of_job(owner, job.id)
    studio.training.cancel(owner, run.id)
    studio.close()
    value = door.call("list_training_runs", {"dataset_name": world.dataset}).value
    assert [found["id"] for found in value["training_runs"]] == [run.id]
    assert door.call("list_training_runs", {"dataset_name": "nowhere"}).value["count"] == 0
