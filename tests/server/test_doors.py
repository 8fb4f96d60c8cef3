"""Every tool through every door, and the guards of the seed refusing on every door.

The doors share one workspace: a child over stdio in both protocol eras, an HTTP server in both eras and
over SSE, HTTP dispatch, the in-process toolkit and the command line.
"""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.doors import DOORS, Door, Refused, Reply, Site
from support.pictures import jpeg, scene
from support.ready_models import add_model
from support.training import fill
from support.training import start as start_training
from support.uses import found_uses

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.roles import Role
from tintype_studio.training.plan import TrainRequest, missing_libraries
from tintype_studio.vision.tasks import Signature, Task
from tintype_tools.snapshot import load_snapshot

TOOLS = tuple(tool["name"] for tool in load_snapshot()["tools"])
SQUARE = {"x": 45, "y": 35, "w": 60, "h": 60}
BOX = {"id": "a1", "name": "sign", "type": "bbox", "bounding_box": {"x": 50, "y": 40, "w": 50, "h": 50}}

USES = found_uses()

_numbers = itertools.count()


@dataclass
class World:
    """A dataset of its own for one test, with one picture in it, made through the toolkit."""

    site: Site
    dataset: str
    image: dict[str, Any]
    folder: Path

    def make(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self.site.door("toolkit").call(tool, arguments).value

    def label(self, count: int = 1) -> None:
        annotations = [{**BOX, "id": f"a{n}"} for n in range(count)]
        self.make("save_annotations", image_uuid=self.image["id"], annotations=annotations)

    def export(self, name: str = "first") -> None:
        self.label()
        self.make("create_export", dataset_name=self.dataset, name=name, format="coco")


@pytest.fixture
def world(site: Site) -> World:
    name = f"world-{next(_numbers)}"
    folder = site.folder / name
    folder.mkdir()
    (folder / "scene.png").write_bytes(scene())
    toolkit = site.door("toolkit")
    toolkit.call("create_dataset", {"name": name})
    image = toolkit.call("upload_image", {"dataset_name": name, "file_path": f"{name}/scene.png"}).value
    return World(site, name, image, folder)


@pytest.fixture(params=DOORS)
def door_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def door(site: Site, door_name: str) -> Door:
    return site.door(door_name)


def use_list_datasets(door: Door, world: World) -> None:
    value = door.call("list_datasets", {"limit": 100}).value  # newest first; all would be over the budget
    assert world.dataset in [d["name"] for d in value["datasets"]]
    assert value["count"] == len(value["datasets"])


def use_get_dataset(door: Door, world: World) -> None:
    value = door.call("get_dataset", {"name": world.dataset, "include_images": True}).value
    assert value["image_count"] == 1
    (image,) = value["images"]
    assert (image["id"], image["width"], image["height"]) == (world.image["id"], 160, 120)


def use_create_dataset(door: Door, world: World) -> None:
    value = door.call("create_dataset", {"name": f"{world.dataset} new", "description": "d"}).value
    assert value["image_count"] == 0
    assert world.make("get_dataset", name=f"{world.dataset} new")["id"] == value["id"]


def use_delete_dataset(door: Door, world: World) -> None:
    world.label(2)
    value = door.call("delete_dataset", {"name": world.dataset}, confirm=True).value
    assert value == {
        "deleted": True,
        "name": world.dataset,
        "images_deleted": 1,
        "annotations_deleted": 2,
    }
    with pytest.raises(Refused):
        door.call("get_dataset", {"name": world.dataset})


def use_set_dataset_classes(door: Door, world: World) -> None:
    classes = [{"name": "sign", "color": "#ff0000"}, {"name": "car"}]
    value = door.call("set_dataset_classes", {"dataset_name": world.dataset, "classes": classes}).value
    assert value["classes"] == classes
    with pytest.raises(Refused) as refused:
        door.call(
            "save_annotations", {"image_uuid": world.image["id"], "annotations": [{**BOX, "name": "sing"}]}
        )
    assert refused.value.shape["code"] == "unknown_class"
    assert "Did you mean sign?" in refused.value.shape["fix"]


def use_upload_image(door: Door, world: World) -> None:
    (world.folder / "more.jpg").write_bytes(jpeg(40, 30))
    arguments = {
        "dataset_name": world.dataset,
        "file_path": str(world.folder / "more.jpg"),
        "folder_path": "/stop",
    }
    value = door.call("upload_image", arguments).value
    assert (value["filename"], value["folder"], value["width"]) == ("more.jpg", "/stop", 40)


def use_upload_dataset_from_folder(door: Door, world: World) -> None:
    (world.folder / "stop").mkdir()
    (world.folder / "stop" / "b.jpg").write_bytes(jpeg(seed=5))
    (world.folder / "broken.jpg").write_bytes(jpeg(seed=6)[:-200])
    arguments = {"dataset_name": world.dataset, "folder": str(world.folder)}
    value = door.call("upload_dataset_from_folder", arguments).value
    assert (value["images_attempted"], value["images_uploaded"], value["images_skipped"]) == (3, 1, 1)
    assert [(f["path"], f["code"]) for f in value["failures"]] == [("broken.jpg", "truncated_image")]


def use_delete_image(door: Door, world: World) -> None:
    value = door.call("delete_image", {"image_uuid": world.image["id"]}, confirm=True).value
    assert value == {"deleted": True, "image_uuid": world.image["id"], "filename": "scene.png"}
    assert world.make("get_dataset", name=world.dataset)["image_count"] == 0


def use_list_changes(door: Door, world: World) -> None:
    world.label(2)
    value = door.call("list_changes", {"dataset_name": world.dataset}).value
    assert [(c["kind"], c["count"]) for c in value["changes"]] == [
        ("annotations.saved", 1),
        ("images.added", 1),
        ("dataset.created", 1),
    ]


def use_undo_call(door: Door, world: World) -> None:
    world.label(1)
    before = world.make("get_annotations", image_uuid=world.image["id"])["annotations"]
    world.label(3)
    (last, *_) = world.make("list_changes", dataset_name=world.dataset)["changes"]
    value = door.call("undo_call", {"call_id": last["call_id"]}).value
    assert value == {"undone": [last["call_id"]], "counts": {"annotations.saved": 1}}
    assert world.make("get_annotations", image_uuid=world.image["id"])["annotations"] == before


def use_undo_session(door: Door, world: World) -> None:
    """Everything that came after the restore point of a deletion, the deletion with it."""
    world.site.door("toolkit").call("delete_image", {"image_uuid": world.image["id"]}, confirm=True)
    (point, *_) = world.make("list_changes", dataset_name=world.dataset)["restore_points"]
    value = door.call("undo_session", {"restore_point": point["id"]}).value
    assert value == {"undone": [point["call_id"]], "counts": {"images.deleted": 1}}
    assert world.make("get_dataset", name=world.dataset)["image_count"] == 1


def use_list_deleted(door: Door, world: World) -> None:
    world.site.door("toolkit").call("delete_dataset", {"name": world.dataset}, confirm=True)
    value = door.call("list_deleted", {"limit": 1000}).value
    (entry,) = [e for e in value["deleted"] if e["dataset"] == world.dataset]
    assert (entry["kind"], entry["images"]) == ("dataset", 1)
    world.make("undo_call", call_id=entry["call_id"])
    assert world.make("get_dataset", name=world.dataset)["image_count"] == 1


def use_purge_deleted(door: Door, world: World) -> None:
    world.site.door("toolkit").call("delete_dataset", {"name": world.dataset}, confirm=True)
    value = door.call("purge_deleted", {"dataset_name": world.dataset}, confirm=True).value
    assert (value["datasets"], value["images"]) == (1, 1)
    assert world.dataset not in [e["dataset"] for e in world.make("list_deleted")["deleted"]]


def use_preview_call(door: Door, world: World) -> None:
    arguments = {"tool": "delete_dataset", "arguments": json.dumps({"name": world.dataset})}
    value = door.call("preview_call", arguments).value
    assert value["approval"] == {"required": True, "reason": "it deletes"}
    (affected,) = value["affected"]
    assert (affected["kind"], affected["dataset"], affected["images"]) == (
        "dataset.deleted",
        world.dataset,
        1,
    )
    assert world.make("get_dataset", name=world.dataset)["image_count"] == 1


def use_confirm_call(door: Door, world: World) -> None:
    """The question comes over plain HTTP, to a client that cannot ask a person, and is answered here."""
    with pytest.raises(Refused) as refused:
        world.site.door("dispatch").call("delete_dataset", {"name": world.dataset})
    details = refused.value.shape["details"]
    arguments = {name: details[name] for name in ("approval_id", "confirm_token")}
    value = door.call("confirm_call", arguments).value
    assert (value["status"], value["tool"], value["result"]["images_deleted"]) == (
        "done",
        "delete_dataset",
        1,
    )
    with pytest.raises(Refused) as again:
        door.call("confirm_call", arguments)
    assert again.value.shape["code"] in {"confirmation_used", "dataset_not_found"}


def use_get_annotations(door: Door, world: World) -> None:
    world.label()
    value = door.call("get_annotations", {"image_uuid": world.image["id"]}).value
    assert (value["count"], value["width"], value["height"]) == (1, 160, 120)
    assert value["annotations"][0]["bounding_box"] == BOX["bounding_box"]


def use_save_annotations(door: Door, world: World) -> None:
    ring = [{"x": 1, "y": 1}, {"x": 9, "y": 1}, {"x": 9, "y": 9}]
    polygon = {"id": "p", "name": "sign", "polygon": {"paths": [ring]}}
    arguments = {"image_uuid": world.image["id"], "annotations": [BOX, polygon]}
    value = door.call("save_annotations", arguments).value
    assert value == {
        "image_id": world.image["id"],
        "previous_count": 0,
        "new_count": 2,
        "status": "complete",
        "classes_added": ["sign"],
    }
    saved = world.make("get_annotations", image_uuid=world.image["id"])["annotations"]
    assert saved[1]["bounding_box"] == {"x": 1, "y": 1, "w": 8, "h": 8}


def use_auto_annotate_box(door: Door, world: World) -> None:
    before = world.make("get_credit_balance")["credits_remaining"]
    arguments = {
        "dataset_name": world.dataset,
        "image_filename": "scene.png",
        "box": SQUARE,
        "name": "square",
    }
    value = door.call("auto_annotate_box", arguments).value
    (annotation,) = value["annotations"]
    box = annotation["bounding_box"]
    assert value["status"] == "success"
    assert abs(box["x"] - 50) <= 2
    assert abs(box["w"] - 50) <= 4
    assert world.make("get_credit_balance")["credits_remaining"] == before - 1


def use_auto_annotate_point(door: Door, world: World) -> None:
    arguments = {
        "dataset_name": world.dataset,
        "image_filename": "scene.png",
        "x": 75,
        "y": 65,
        "score_threshold": 0.2,
    }
    (annotation,) = door.call("auto_annotate_point", arguments).value["annotations"]
    assert abs(annotation["bounding_box"]["x"] - 50) <= 3


def use_auto_annotate_text(door: Door, world: World) -> None:
    """Nothing can find a class of which there is no example; the refusal says what would."""
    arguments = {"dataset_name": world.dataset, "image_filename": "scene.png", "text_prompt": "square"}
    with pytest.raises(Refused) as refused:
        door.call("auto_annotate_text", arguments)
    assert refused.value.shape["code"] == "needs_engine"
    assert "save_annotations" in refused.value.shape["fix"]


def use_auto_annotate_dataset(door: Door, world: World) -> None:
    """A job whose only image is labelled already passes it over, and costs nothing."""
    world.label(3)
    before = world.make("get_credit_balance")["credits_remaining"]
    arguments = {"dataset_name": world.dataset, "classes": [{"name": "sign", "output_type": "bbox"}]}
    value = door.call("auto_annotate_dataset", arguments).value
    assert (value["job"]["status"], value["images_skipped"], value["images_processed"]) == ("completed", 1, 0)
    assert world.make("get_credit_balance")["credits_remaining"] == before


def _draft(world: World) -> None:
    """Two annotations of an engine that nobody has looked at, and one of a person."""
    drafts = [
        {**BOX, "id": f"d{n}", "confidence": c, "created_by": "test", "attributes": [{"review": "draft"}]}
        for n, c in enumerate((0.4, 0.9))
    ]
    world.make("save_annotations", image_uuid=world.image["id"], annotations=[BOX, *drafts])


def use_accept_annotations(door: Door, world: World) -> None:
    _draft(world)
    arguments = {"dataset_name": world.dataset, "min_confidence": 0.5}
    value = door.call("accept_annotations", arguments).value
    assert value == {"images": 1, "annotations": 1, "by_class": {"sign": 1}, "left": 1}


def use_reject_annotations(door: Door, world: World) -> None:
    _draft(world)
    arguments = {"image_uuid": world.image["id"], "annotation_ids": ["d0"]}
    value = door.call("reject_annotations", arguments).value
    assert (value["annotations"], value["left"]) == (1, 1)
    left = world.make("get_annotations", image_uuid=world.image["id"])["annotations"]
    assert [a["id"] for a in left] == ["a1", "d1"]


def use_search_by_tag(door: Door, world: World) -> None:
    world.label()
    arguments = {"dataset_name": world.dataset, "objects": ["sign"], "attributes": ["landscape"]}
    (image,) = door.call("search_by_tag", arguments).value["images"]
    assert (image["id"], image["image_auto_tags"]["objects"]) == (world.image["id"], ["sign"])


def _double(world: World) -> str:
    """A second, smaller copy of the picture; its id."""
    picture = Image.open(world.folder / "scene.png").convert("RGB")
    picture.resize((120, 90)).save(world.folder / "twin.jpg", quality=80)
    arguments = {"dataset_name": world.dataset, "file_path": str(world.folder / "twin.jpg")}
    return str(world.make("upload_image", **arguments)["id"])


def use_search_by_similarity(door: Door, world: World) -> None:
    twin = _double(world)
    reply = door.call("search_by_similarity", {"image_id": world.image["id"], "contact_sheet": True})
    first = reply.value["images"][0]
    assert first["id"] == twin
    assert 0.8 < first["similarity"] <= 1
    assert len(reply.pictures) == 1


def use_find_duplicates(door: Door, world: World) -> None:
    twin = _double(world)
    (group,) = door.call("find_duplicates", {"dataset_name": world.dataset}).value["groups"]
    assert (group["keep"]["id"], [d["id"] for d in group["duplicates"]]) == (world.image["id"], [twin])


def use_preview_image(door: Door, world: World) -> None:
    world.label()
    reply = door.call("preview_image", {"image_uuid": world.image["id"], "max_side": 64})
    (picture,) = reply.pictures
    assert Image.open(io.BytesIO(picture)).size == (64, 48)
    assert reply.value["scale"] == 2.5
    assert reply.value["annotation_count"] == 1


def use_create_export(door: Door, world: World) -> None:
    world.label()
    arguments = {"dataset_name": world.dataset, "name": "yolo 1", "format": "yolo"}
    value = door.call("create_export", arguments).value
    assert (value["status"], value["image_count"], value["annotation_count"]) == ("completed", 1, 1)


def use_list_exports(door: Door, world: World) -> None:
    world.export()
    value = door.call("list_exports", {"limit": 500}).value
    assert (world.dataset, "first") in [(e["dataset_name"], e["name"]) for e in value["exports"]]


def use_download_export(door: Door, world: World) -> None:
    world.export()
    target = world.folder / "out.zip"
    arguments = {"dataset_name": world.dataset, "export_name": "first", "output_path": str(target)}
    value = door.call("download_export", arguments).value
    assert value["file_size"] == target.stat().st_size
    assert "annotations.json" in zipfile.ZipFile(target).namelist()


def _model(world: World) -> str:
    """The id of a model that nobody had to train."""
    studio = open_studio(Settings(home=world.site.home))
    owner = studio.keys.authenticate(world.site.owner)
    signature = Signature(Task.DETECTION, "yolox", ("sign",), 64)
    model = add_model(studio, owner, studio.datasets.get(owner, world.dataset), signature, b"an ONNX file")
    studio.close()
    return model.id


def use_list_models(door: Door, world: World) -> None:
    model_id = _model(world)
    value = door.call("list_models", {"dataset_name": world.dataset, "status": "ready"}).value
    assert [model["id"] for model in value["models"]] == [model_id]
    assert value["models"][0]["class_mapping"] == {"0": "sign"}


def use_get_model(door: Door, world: World) -> None:
    value = door.call("get_model", {"model_id": _model(world), "include_pictures": True}).value
    assert (value["model"]["status"], value["model"]["image_size"]) == ("ready", 64)
    assert [file["format"] for file in value["files"]] == ["onnx"]
    assert value["per_class"] == [{"name": "sign"}]


def use_download_model(door: Door, world: World) -> None:
    target = world.folder / "sign.onnx"
    value = door.call("download_model", {"model_id": _model(world), "output_path": str(target)}).value
    assert target.read_bytes() == b"an ONNX file"
    assert (value["output_path"], value["file_size"]) == (str(target), 12)


def _working_model(world: World, name: str = "cells") -> str:
    """One that opens, and sees a sign at the top left of every picture."""
    pytest.importorskip("onnx")
    from support.onnx_models import constant_model

    studio = open_studio(Settings(home=world.site.home))
    owner = studio.keys.authenticate(world.site.owner)
    signature = Signature(Task.DETECTION, "yolox", ("sign", "tree"), 64)
    data = constant_model(signature, [np.array([(0, 0, 16, 16)]), np.array([(0.9, 0)])])
    model = add_model(studio, owner, studio.datasets.get(owner, world.dataset), signature, data, name=name)
    studio.close()
    return model.id


def use_full_pipeline(door: Door, world: World) -> None:
    """Without the training, whose libraries need not be here."""
    _working_model(world)
    (world.folder / "new.jpg").write_bytes(jpeg(40, 30))
    arguments = {
        "dataset_name": world.dataset,
        "folder": str(world.folder),
        "classes": [{"name": "sign", "output_type": "bbox"}],
        "pipeline": "yolox",
        "train": False,
    }
    value = door.call("full_pipeline", arguments).value
    assert (value["success"], value["job"]["status"], value["notes"]) == (True, "completed", [])
    assert (value["upload"]["images_uploaded"], value["upload"]["images_skipped"]) == (1, 1)
    assert (value["annotate"]["images_processed"], value["annotate"]["annotations_added"]) == (2, 2)


def use_predict_image(door: Door, world: World) -> None:
    arguments = {"model_id": _working_model(world), "image_uuid": world.image["id"]}
    reply = door.call("predict_image", arguments)
    (one,) = reply.value["predictions"]
    assert (one["name"], one["confidence"], one["normalized_box"][:2]) == ("sign", 0.9, [0, 0])
    before = world.make("get_credit_balance")["credits_remaining"]
    door.call("predict_image", arguments | {"confidence_threshold": 0.95})
    assert world.make("get_credit_balance")["credits_remaining"] == before


def use_predict_dataset(door: Door, world: World) -> None:
    arguments = {"model_id": _working_model(world), "dataset_name": world.dataset}
    value = door.call("predict_dataset", arguments).value
    assert (value["job"]["status"], value["annotations_added"], value["failures"]) == ("completed", 1, [])
    (draft,) = world.make("get_annotations", image_uuid=world.image["id"])["annotations"]
    assert (draft["created_by"], draft["attributes"]) == ("cells@1.0.0", [{"review": "draft"}])


def use_evaluate_model(door: Door, world: World) -> None:
    world.label()
    value = door.call("evaluate_model", {"model_id": _working_model(world), "split": "all"}).value
    assert (value["job"]["status"], value["images"], value["objects"]) == ("completed", 1, 1)
    assert value["metrics"]["mAP"] == 0


def use_compare_models(door: Door, world: World) -> None:
    world.label()
    first, other = _working_model(world), _working_model(world, "others")
    for model_id in (first, other):
        world.make("evaluate_model", model_id=model_id, split="all")
    value = door.call("compare_models", {"model_id": first, "other_model_id": other, "split": "all"}).value
    assert (value["better"], value["differences"]["mAP"]) == ("alike", 0)


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


def use_delete_model(door: Door, world: World) -> None:
    model_id = _model(world)
    value = door.call("delete_model", {"model_id": model_id}, confirm=True).value
    assert value == {"deleted": True, "model_id": model_id, "name": "cells", "version": "1.0.0"}
    assert world.make("list_models", dataset_name=world.dataset)["models"] == []


def use_get_credit_balance(door: Door, world: World) -> None:
    value = door.call("get_credit_balance", {}).value
    assert 0 < value["credits_remaining"] <= value["credits_monthly_allowance"] == 1000
    assert value["recent_history"]


def use_estimate_credit_cost(door: Door, world: World) -> None:
    arguments = {"operation": "training_h100_per_minute", "quantity": 30}
    value = door.call("estimate_credit_cost", arguments).value
    assert (value["total_credits"], value["unit"], value["sufficient"]) == (3600, "minute", False)


def use_read_more(door: Door, world: World) -> None:
    world.label(200)
    small = world.site.door(door_name_of(world.site, door), budget=1000)
    value = small.call("get_annotations", {"image_uuid": world.image["id"]}).value
    ids = [a["id"] for a in value["annotations"]]
    (cut,) = value["_truncated"]["cuts"]
    assert (cut["path"], cut["shown"], cut["total"]) == ("annotations", len(ids), 200)
    while cut:
        more = small.call("read_more", {"cursor": cut["cursor"]}).value
        ids += [a["id"] for a in more["items"]]
        cut = next(iter(more.get("_truncated", {}).get("cuts", [])), None)
    assert ids == [f"a{n}" for n in range(200)]


def use_verify_dataset(door: Door, world: World) -> None:
    value = door.call("verify_dataset", {"dataset_name": world.dataset}).value
    assert (value["job"]["status"], value["images_read"], value["damaged"]) == ("completed", 1, [])


def use_get_job(door: Door, world: World) -> None:
    job = world.make("verify_dataset", dataset_name=world.dataset, wait_seconds=0)["job"]
    value = door.call("get_job", {"job_id": job["job_id"], "wait_seconds": 30}).value
    assert (value["job"]["status"], value["result"]) == ("completed", {"images": 1, "damaged": 0})


def use_list_jobs(door: Door, world: World) -> None:
    job = world.make("verify_dataset", dataset_name=world.dataset)["job"]
    value = door.call("list_jobs", {"dataset_name": world.dataset}).value
    assert [each["job_id"] for each in value["jobs"]] == [job["job_id"]]


def use_cancel_job(door: Door, world: World) -> None:
    job_id = world.make("verify_dataset", dataset_name=world.dataset, wait_seconds=0)["job"]["job_id"]
    try:
        cancelled = door.call("cancel_job", {"job_id": job_id}).value["job"]
        assert cancelled["status"] == "cancelled" or cancelled["cancelling"]
    except Refused as refused:  # one image takes no time
        assert refused.shape["code"] == "job_ended"  # noqa: PT017
    ended = world.make("get_job", job_id=job_id, wait_seconds=30)["job"]["status"]
    assert ended in {"cancelled", "completed"}


def door_name_of(site: Site, door: Door) -> str:
    return next(name for (name, _, _), opened in site.opened.items() if opened is door)


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_works_through_every_door(tool: str, door: Door, world: World) -> None:
    (globals().get(f"use_{tool}") or USES[tool])(door, world)


def test_a_low_role_is_refused(site: Site, door_name: str, world: World) -> None:
    viewer = site.door(door_name, key=site.keys["viewer"])
    assert viewer.call("get_dataset", {"name": world.dataset}).value["image_count"] == 1
    with pytest.raises(Refused) as refused:
        viewer.call("create_dataset", {"name": f"{world.dataset} sneaky"})
    shape = refused.value.shape
    assert shape["code"] == "role_required"
    assert shape["details"] == {"required_role": "member", "role": "viewer"}
    assert "member" in shape["fix"]


def test_an_overspend_is_refused_before_any_work(site: Site, door_name: str, world: World) -> None:
    studio = open_studio(Settings(home=site.home))
    owner = studio.keys.authenticate(site.owner)
    key, _ = studio.keys.create(owner, name="thrifty", role=Role.MEMBER, credit_cap=1)
    studio.close()
    door = site.door(door_name, key=key)
    arguments = {"dataset_name": world.dataset, "image_filename": "scene.png", "box": SQUARE, "name": "s"}
    assert door.call("auto_annotate_box", arguments).value["status"] == "success"
    with pytest.raises(Refused) as refused:
        door.call("auto_annotate_box", arguments)
    assert refused.value.shape["code"] == "key_cap_reached"
    assert refused.value.shape["details"] == {
        "required": 1,
        "remaining": 0,
        "top_up": "tintype keys update",
    }
    assert door.call("get_credit_balance", {}).value["credits_remaining"] == 0


def test_a_large_answer_is_cut_to_the_budget(site: Site, door_name: str, world: World) -> None:
    world.label(500)
    reply = site.door(door_name, budget=700).call("get_annotations", {"image_uuid": world.image["id"]})
    assert len(str(reply.value)) < 700 * 4 * 1.2
    assert reply.value["count"] == 500
    assert reply.value["_truncated"]["cuts"][0]["left_out"] == 500 - len(reply.value["annotations"])


def test_a_repeated_key_replays(door: Door, world: World) -> None:
    arguments = {"name": f"{world.dataset} once"}
    first = door.call("create_dataset", arguments, idempotency_key=f"key-{world.dataset}")
    again = door.call("create_dataset", arguments, idempotency_key=f"key-{world.dataset}")
    assert again.value == first.value
    assert (first.replayed, again.replayed) == (False, True)
    with pytest.raises(Refused) as refused:
        door.call("create_dataset", {"name": "other"}, idempotency_key=f"key-{world.dataset}")
    assert refused.value.shape["code"] == "idempotency_conflict"


BAD_CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown tool": ("list_dataset", {}, "unknown_tool"),
    "unknown argument": ("list_datasets", {"limt": 3}, "invalid_arguments"),
    "wrong type": ("list_datasets", {"limit": "many"}, "invalid_arguments"),
    "out of bounds": ("list_datasets", {"limit": 0}, "invalid_arguments"),
    "missing argument": ("get_dataset", {}, "invalid_arguments"),
    "unknown dataset": ("get_dataset", {"name": "nowhere"}, "dataset_not_found"),
    "unknown image": ("get_annotations", {"image_uuid": "nothing"}, "image_not_found"),
    "slash in a name": ("create_dataset", {"name": "a/b"}, "invalid_name"),
    "dots as a name": ("create_dataset", {"name": ".."}, "invalid_name"),
    "missing folder": (
        "upload_dataset_from_folder",
        {"dataset_name": "x", "folder": "nowhere"},
        "folder_not_found",
    ),
    "missing file": ("upload_image", {"dataset_name": "x", "file_path": "no.jpg"}, "file_not_found"),
    "bad cursor": ("read_more", {"cursor": "x"}, "invalid_cursor"),
    "unknown operation": ("estimate_credit_cost", {"operation": "magic"}, "unknown_operation"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls_are_refused_with_code_and_fix(case: str, door: Door, site: Site) -> None:
    tool, arguments, code = BAD_CALLS[case]
    for name in ("folder", "file_path"):
        if name in arguments:
            arguments = {**arguments, name: str(site.folder / arguments[name])}
    with pytest.raises(Refused) as refused:
        door.call(tool, arguments)
    assert refused.value.shape["code"] == code
    assert refused.value.shape["fix"]
    assert str(site.home) not in str(refused.value.shape)


def test_paths_outside_the_roots_are_refused(site: Site, door_name: str, world: World) -> None:
    if door_name == "cli":
        pytest.skip("a person at the command line may name any path")
    with pytest.raises(Refused) as refused:
        site.door(door_name).call(
            "upload_image", {"dataset_name": world.dataset, "file_path": "/etc/hostname"}
        )
    assert refused.value.shape["code"] == "path_not_allowed"


def test_a_download_never_overwrites_another_file(site: Site, world: World) -> None:
    world.export()
    target = world.folder / "precious.txt"
    target.write_text("mine")
    arguments = {"dataset_name": world.dataset, "export_name": "first", "output_path": str(target)}
    viewer = site.door("stdio-2026", key=site.keys["viewer"])
    with pytest.raises(Refused) as refused:
        viewer.call("download_export", arguments)
    assert (refused.value.shape["code"], target.read_text()) == ("file_exists", "mine")
    arguments["output_path"] = str(world.folder / "new.zip")
    assert viewer.call("download_export", arguments).value == viewer.call("download_export", arguments).value
    assert [p.name for p in world.folder.iterdir() if p.name.startswith(".")] == []
    for unwritable in ("/proc/x.zip", "x" * 300 + ".zip"):
        with pytest.raises(Refused) as refused:
            site.door("cli").call("download_export", {**arguments, "output_path": unwritable})
        assert refused.value.shape["code"] in {"write_failed", "invalid_path"}


def test_a_bad_annotation_changes_nothing(door: Door, world: World) -> None:
    world.label(3)
    two_points = {"id": "p", "name": "s", "polygon": {"paths": [[{"x": 1, "y": 1}, {"x": 2, "y": 2}]]}}
    for bad in (two_points, {**BOX, "class": "s"}, {**BOX, "bounding_box": [1, 2, 3, 4]}):
        with pytest.raises(Refused) as refused:
            door.call("save_annotations", {"image_uuid": world.image["id"], "annotations": [BOX, bad]})
        assert refused.value.shape["code"] == "invalid_arguments"
        assert refused.value.shape["details"]["errors"][0]["loc"][:2] == ["annotations", 1]
    assert world.make("get_annotations", image_uuid=world.image["id"])["count"] == 3


def test_an_unknown_and_a_revoked_key_are_refused_alike(site: Site) -> None:
    studio = open_studio(Settings(home=site.home))
    owner = studio.keys.authenticate(site.owner)
    revoked, info = studio.keys.create(owner, name="gone", role=Role.MEMBER)
    door = site.door("dispatch", key=revoked)
    assert door.call("list_datasets", {})
    studio.keys.revoke(owner, prefix=info.id)
    studio.close()
    with pytest.raises(Refused) as unknown:
        site.door("dispatch", key="pk_live_nobody").call("list_datasets", {})
    shapes = [unknown.value.shape]
    for _ in _until(1.0):
        try:
            door.call("list_datasets", {})
        except Refused as refused:
            shapes.append(refused.shape)
            break
    assert shapes[0] == shapes[1]
    assert shapes[0]["code"] == "invalid_key"


def _until(seconds: float) -> Iterator[None]:
    import time

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        yield


def test_reply_is_what_the_other_doors_give(site: Site, world: World) -> None:
    """The same read through all doors gives the same value (links aside)."""
    world.label(2)

    def read(name: str) -> Reply:
        return site.door(name).call("get_annotations", {"image_uuid": world.image["id"]})

    assert all(read(name).value == read("toolkit").value for name in DOORS)
