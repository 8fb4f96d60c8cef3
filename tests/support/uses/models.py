"""What every door does with trained models."""

from __future__ import annotations

import numpy as np
import pytest
from support.door_world import World
from support.doors import Door
from support.pictures import jpeg
from support.ready_models import add_model

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.vision.tasks import Signature, Task


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
    arguments = {"model": _working_model(world), "image_uuid": world.image["id"]}
    reply = door.call("predict_image", arguments)
    (one,) = reply.value["objects"]
    assert (one["categories"][0]["name"], one["bounding_box"]["x"]) == ("sign", 0)
    assert one["bbox_observation"]["bbox_score"] == 0.9
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


def use_delete_model(door: Door, world: World) -> None:
    model_id = _model(world)
    value = door.call("delete_model", {"model_id": model_id}, confirm=True).value
    assert value == {"deleted": True, "model_id": model_id, "name": "cells", "version": "1.0.0"}
    assert world.make("list_models", dataset_name=world.dataset)["models"] == []
