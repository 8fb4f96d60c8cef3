"""What every door does with experiments, sessions and tasks."""

from __future__ import annotations

from typing import Any

import pytest
from support.door_world import World
from support.doors import Door
from support.sessions import SIGNATURE, own_session

from tintype_server.opening import open_studio
from tintype_server.settings import Settings


def _experiment(world: World) -> str:
    return str(world.make("create_experiment", name=f"tries of {world.dataset}")["id"])


def _session(world: World, **given: Any) -> dict[str, Any]:
    arguments = {"experiment_id": _experiment(world), "name": "run 1", "model": "modelpack"} | given
    return world.make("create_session", **arguments)


def _task(world: World) -> str:
    return str(world.make("create_task", name=f"convert {world.dataset}", type="convertor")["id"])


def _own(world: World) -> str:
    """The session of a model that opens, and sees a sign at the top left of every picture."""
    pytest.importorskip("onnx")
    import numpy as np
    from support.onnx_models import constant_model

    studio = open_studio(Settings(home=world.site.home))
    owner = studio.keys.authenticate(world.site.owner)
    data = constant_model(SIGNATURE, [np.array([(0, 0, 16, 16)]), np.array([(0.9, 0)])])
    session, _ = own_session(studio, owner, studio.datasets.get(owner, world.dataset), data)
    studio.close()
    return session.wire_id


def use_create_experiment(door: Door, world: World) -> None:
    name = f"tries of {world.dataset}"
    value = door.call("create_experiment", {"name": name, "description": "first"}).value
    assert (value["name"], value["project"], value["training_sessions"]) == (name, "default", 0)
    assert value["wire_id"].startswith("exp-")


def use_list_experiments(door: Door, world: World) -> None:
    one = _experiment(world)
    value = door.call("list_experiments", {"project": "default", "limit": 1}).value
    assert [each["id"] for each in value["experiments"]] == [one]
    assert value["next_before"] == value["experiments"][0]["wire_id"]


def use_create_session(door: Door, world: World) -> None:
    arguments = {
        "experiment_id": _experiment(world),
        "name": "run 1",
        "model": "modelpack",
        "params": {"lr": 0.1},
        "dataset_name": world.dataset,
    }
    value = door.call("create_session", arguments).value
    assert (value["kind"], value["status"], value["here"]) == ("training", "created", False)
    assert (value["params"], value["dataset_name"]) == ({"lr": 0.1}, world.dataset)
    assert value["annotation_set"] == "default"


def use_list_sessions(door: Door, world: World) -> None:
    made = _session(world)
    experiment = world.make("list_experiments", limit=1)["experiments"][0]["wire_id"]
    value = door.call("list_sessions", {"experiment_id": experiment}).value
    assert [each["id"] for each in value["sessions"]] == [made["id"]]
    asked = {"kind": "validation", "training_session_id": made["id"]}
    assert door.call("list_sessions", asked).value["sessions"] == []


def use_update_session(door: Door, world: World) -> None:
    session = _session(world)["wire_id"]
    told = door.call("update_session", {"session_id": session, "metrics": {"loss": 0.5}}).value
    assert told["metrics"] == {"loss": 0.5}
    more = {"session_id": session, "metrics": {"mAP": 0.25}, "merge": True, "description": "good"}
    told = door.call("update_session", more).value
    assert (told["metrics"], told["session"]["description"]) == ({"loss": 0.5, "mAP": 0.25}, "good")


def use_get_session_metrics(door: Door, world: World) -> None:
    value = door.call("get_session_metrics", {"session_id": _own(world)}).value
    assert (value["session"]["here"], value["session"]["model"]) == (True, "yolox")
    paths = [file["path"] for file in value["files"]]
    assert paths == ["artifacts/labels.txt", "artifacts/model.onnx", "artifacts/model_card.json"]


def use_start_validation(door: Door, world: World) -> None:
    world.label()
    arguments = {"training_session_id": _own(world), "name": "all of it", "params": {"split": "all"}}
    value = door.call("start_validation", arguments).value
    assert (value["job"]["status"], value["session"]["status"]) == ("completed", "completed")
    assert (value["session"]["name"], value["metrics"]["images"]) == ("all of it", 1)
    assert value["metrics"]["mAP"] == 0
    told = door.call("start_validation", arguments | {"user_managed": True, "params": {"iou": 1}}).value
    assert (told["session"]["here"], told["session"]["params"]["iou"]) == (False, 1)
    assert "job" not in told


def use_delete_sessions(door: Door, world: World) -> None:
    training = _session(world)["id"]
    one = world.make("start_validation", training_session_id=training, user_managed=True)["session"]
    value = door.call("delete_sessions", {"session_ids": [one["wire_id"]]}, confirm=True).value
    assert value == {"deleted": [one["id"]]}
    asked = {"kind": "validation", "training_session_id": training}
    assert world.make("list_sessions", **asked)["sessions"] == []


def use_add_session_files(door: Door, world: World) -> None:
    (world.folder / "best.pt").write_bytes(b"weights")
    files = [
        {"path": "checkpoints/best.pt", "file_path": str(world.folder / "best.pt")},
        {"path": "artifacts/labels.txt", "text": "sign\n"},
    ]
    session = _session(world)["id"]
    value = door.call("add_session_files", {"session_id": session, "files": files}).value
    assert [(each["path"], each["size"]) for each in value["files"]] == [
        ("checkpoints/best.pt", 7),
        ("artifacts/labels.txt", 5),
    ]
    kept = world.make("get_session_metrics", session_id=session)["files"]
    assert [each["path"] for each in kept] == ["artifacts/labels.txt", "checkpoints/best.pt"]


def use_create_task(door: Door, world: World) -> None:
    name = f"convert {world.dataset}"
    value = door.call("create_task", {"name": name, "type": "convertor", "status": "running"}).value
    assert (value["name"], value["status"], value["manager"]) == (name, "running", "user")


def use_update_task(door: Door, world: World) -> None:
    change = {
        "task_id": _task(world),
        "stages": [{"name": "read", "description": "Read it"}],
        "stage": {"stage": "read", "status": "running", "message": "half", "percentage": 50},
        "status": "running",
        "chart": {"group": "speed", "name": "rate", "data": [1, 2]},
    }
    value = door.call("update_task", change).value
    assert value["status"] == "running"
    assert value["stages"] == [
        {
            "stage": "read",
            "description": "Read it",
            "status": "running",
            "message": "half",
            "percentage": 50,
        }
    ]


def use_get_task(door: Door, world: World) -> None:
    task = _task(world)
    world.make("update_task", task_id=task, chart={"group": "speed", "name": "rate", "data": [1, 2]})
    asked = {"task_id": task, "chart": {"group": "speed", "name": "rate"}}
    value = door.call("get_task", asked).value
    assert (value["task"]["id"], value["charts"], value["chart_data"]) == (task, {"speed": ["rate"]}, [1, 2])


def use_list_tasks(door: Door, world: World) -> None:
    task = _task(world)
    asked = {"types": ["convertor"], "managers": ["user"], "name": world.dataset}
    value = door.call("list_tasks", asked).value
    assert [each["id"] for each in value["tasks"]] == [task]


def use_stop_task(door: Door, world: World) -> None:
    value = door.call("stop_task", {"task_id": _task(world)}).value
    assert value["status"] == "cancelled"
    assert value["finished_at"]
