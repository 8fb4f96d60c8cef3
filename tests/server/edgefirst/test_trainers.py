"""What newer clients ask of trainers and validators, and sessions that they begin, rename and delete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.edgefirst_rpc import Spoken, open_spoken
from support.sessions import experiment, told_session
from support.training import fill

NO_ID = 10**12


@pytest.fixture
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    with open_spoken(tmp_path_factory.mktemp("trainers") / "home", confirm_above_credits=10**9) as opened:
        opened.rest.runtime.studio.jobs.supervisor.enabled = False
        yield opened


@pytest.fixture
def asked(spoken: Spoken) -> dict[str, Any]:
    """A training on a dataset that is labelled, and an experiment to keep it in."""
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    dataset = studio.datasets.create(owner, name="signs")
    fill(studio, owner, dataset)
    project = int(spoken.ok("project.list")[0]["id"])
    sets = spoken.ok("annset.list", {"dataset_id": dataset.row_id})
    return {
        "type": "trainer",
        "name": "outside",
        "project_id": project,
        "is_local": True,
        "is_kubernetes": False,
        "params": {
            "trainer_id": experiment(studio, owner).row_id,
            "trainer_type": "yolox",
            "dataset_id": dataset.row_id,
            "annotation_set_id": sets[0]["id"],
            "session_name": "first",
            "split_mode": "group",
            "train_group_name": "train",
            "val_group_name": "val",
            "params": {"epochs": 2, "max_minutes": 1},
        },
    }


def but(asked: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**asked, "params": {**asked["params"], **changes}}


def test_every_trainer_tells_what_it_takes(spoken: Spoken) -> None:
    listed = spoken.ok("trainer.server.schema")["schema_list"]
    assert {each["schema_type"] for each in listed} >= {"yolox", "classification"}
    for each in listed:
        fields = {
            field["name"]: field for field in spoken.ok("trainer.server.schema", {"type": each["name"]})
        }
        epochs = fields["epochs"]
        assert (epochs["type"], epochs["min"], epochs["default"]) == ("int", 1, 50)
        assert [option["name"] for option in fields["device"]["options"]] == ["auto", "cpu", "cuda"]
        assert all(None not in field.values() for field in fields.values())
    assert spoken.no("trainer.server.schema", {"type": "none"})[0] == 3
    (split,) = spoken.ok("validate.schema")[0]["schema"]
    assert [option["name"] for option in split["options"]] == ["train", "val", "test", "all"]


def test_a_training_elsewhere_is_a_session_of_the_experiment(spoken: Spoken, asked: dict[str, Any]) -> None:
    made = spoken.ok("cloud.server.start", asked)
    found = spoken.ok("trainer.session.get", {"trainer_session_id": made["train_session_id"]})
    assert (found["name"], found["model"], found["docker_task"]["id"]) == ("first", "yolox", made["id"])
    assert found["trainer_id"] == asked["params"]["trainer_id"]
    assert found["params"]["model_params"] == {"epochs": 2, "max_minutes": 1}
    assert found["params"]["dataset_params"]["dataset_id"] == asked["params"]["dataset_id"]


def test_a_training_here_is_one_of_ours_in_that_experiment(
    spoken: Spoken, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tintype_studio.training.plan.missing_libraries", lambda: ())
    spoken.ok("version.tag.create", {"dataset_id": asked["params"]["dataset_id"], "name": "v1"})
    here = but(asked, tag_name="v1") | {"is_local": False}
    made = spoken.ok("cloud.server.start", here)
    found = spoken.ok("trainer.session.get", {"trainer_session_id": made["train_session_id"]})
    assert (found["name"], found["docker_task"]["status"]) == ("first", "queued")
    assert found["trainer_id"] == asked["params"]["trainer_id"]
    assert found["params"]["model_params"]["epochs"] == 2
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    assert studio.training.list(owner)[0].name == "first"
    spoken.ok("job.stop", {"task_id": made["id"]})
    of = {"dataset_id": asked["params"]["dataset_id"], "name": "other", "operator": "owner"}
    other = spoken.ok("annset.add", of)["id"]
    for wrong in (
        {"train_group_name": "all"},
        {"val_group_name": "test"},
        {"weights_session": made["train_session_id"]},
        {"trainer_type": "modelpack"},
        {"params": {"epochs": "many"}},
        {"annotation_set_id": other},
    ):
        assert spoken.no("cloud.server.start", but(asked, **wrong) | {"is_local": False})[0] == 3, wrong
    assert spoken.no("cloud.server.start", but(here, tag_name="none"))[0] == 101
    code, text = spoken.no("cloud.server.start", here)
    assert (code, "has changed since the version 'v1'" in text) == (3, True)
    assert len(studio.training.list(owner)) == 1


def test_what_is_missing_is_told(spoken: Spoken, asked: dict[str, Any]) -> None:
    for name in ("trainer_id", "trainer_type", "dataset_id", "annotation_set_id"):
        params = {key: value for key, value in asked["params"].items() if key != name}
        code, text = spoken.no("cloud.server.start", asked | {"params": params})
        assert (code, name in text) == (3, True)
    for name in ("trainer_id", "dataset_id", "annotation_set_id"):
        assert spoken.no("cloud.server.start", but(asked, **{name: NO_ID}))[0] == 101
    assert spoken.no("cloud.server.start", asked, bearer="elsewhere")[0] == 101
    assert spoken.no("cloud.server.start", asked | {"type": "other"})[0] == 3


def test_sessions_are_renamed_and_deleted_with_their_validations(spoken: Spoken) -> None:
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    training = told_session(studio, owner)
    made = spoken.ok("trainer.session.update", {"id": training.row_id, "name": "b", "description": "d"})
    assert (made["name"], made["description"]) == ("b", "d")
    start = {"type": "validation", "name": "check", "project_id": training.project_row_id, "is_local": True}
    start |= {"training_session_id": training.row_id, "model_file": "x.onnx", "params": {"params": {}}}
    check = spoken.ok("cloud.server.start", start)["val_session_id"]
    of = {"validate_session_id": check}
    told = spoken.ok("validate.session.update", {**of, "name": "renamed", "description": "told"})
    assert (told["docker_task"]["name"], told["description"]) == ("renamed", "told")
    told = spoken.ok("validate.session.set_platform", {**of, "platform": {"cores": 4}})
    assert told["params"]["model_params"]["validation"] == {"platform": {"cores": 4}}
    assert spoken.no("trainer.session.update", {"id": training.row_id})[0] == 3
    assert spoken.no("trainer.session.update", {"id": NO_ID, "name": "x"})[0] == 101
    assert spoken.no("trainer.session.delete", {"session_ids": [training.row_id]}, bearer="viewer")[0] == 403
    elsewhere = {"session_ids": [training.row_id]}
    assert spoken.no("trainer.session.delete", elsewhere, bearer="elsewhere")[0] == 101
    assert spoken.ok("trainer.session.delete", {"session_ids": [training.row_id]})
    assert spoken.no("validate.session.get", of)[0] == 101
