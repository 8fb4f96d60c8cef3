"""Experiments, sessions and tasks in the dialect: every field that clients require, and bad input."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from support.edgefirst_rpc import Spoken, open_spoken
from support.jobs import turn
from support.ready_models import add_scene, cell_boxes
from support.sessions import experiment, own_session, told_session

from tintype_studio.jobs.pool import Pool

NO_ID = 10**12
_names = itertools.count(1)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoken]:
    with open_spoken(tmp_path_factory.mktemp("sessions") / "home") as opened:
        opened.rest.runtime.studio.jobs.supervisor.enabled = False
        yield opened


def session(spoken: Spoken, **given: Any) -> int:
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    tries = experiment(studio, owner, f"tries {next(_names)}")
    return told_session(studio, owner, tries, **given).row_id


def project(spoken: Spoken, bearer: str = "owner") -> int:
    return int(spoken.ok("project.list", bearer=bearer)[0]["id"])


def started(spoken: Spoken, training: int, **given: Any) -> dict[str, Any]:
    params = {
        "type": "validation",
        "name": "check",
        "project_id": project(spoken),
        "training_session_id": training,
        "model_file": "best.onnx",
        "val_type": "modelpack",
        "is_local": True,
        "is_kubernetes": False,
        "params": {"params": {"iou": 0.5}},
    }
    found: dict[str, Any] = spoken.ok("cloud.server.start", params | given)
    return found


def upload(spoken: Spoken, training: int, *files: tuple[str, bytes], **given: Any) -> Any:
    sent = [("file", (name, data, "application/octet-stream")) for name, data in files]
    return spoken.form("trainer.upload.files", {"params": f'{{"session_id": {training}}}'}, sent, **given)


def test_a_session_has_all_that_clients_require(spoken: Spoken) -> None:
    training = session(spoken, params={"lr": 0.1})
    found = spoken.ok("trainer.session.get", {"trainer_session_id": training})
    assert set(found) == {"id", "trainer_id", "model", "name", "description", "params", "docker_task"}
    assert found["params"]["dataset_params"] == {
        "dataset_id": 0,
        "annotation_set_id": 0,
        "train_group_name": "train",
        "val_group_name": "val",
    }
    assert found["params"]["model_params"] == {"lr": 0.1}
    task = found["docker_task"]
    assert {"id", "name", "type", "status", "instance_type", "date"} <= set(task)
    assert None not in task.values()
    listed = spoken.ok("trainer.session.list", {"trainer_id": found["trainer_id"]})
    assert listed == [found]
    tries = spoken.ok("trainer.get", {"trainer_id": found["trainer_id"]})
    assert set(tries) == {"id", "project_id", "name", "description"}
    assert tries in spoken.ok("trainer.list2", {"project_id": tries["project_id"]})
    info = spoken.ok("task.get", {"id": task["id"]})
    assert {"id", "type", "project_id", "task_description", "status", "created_date"} <= set(info)
    assert (info["progress"], "end_date" in info) == ({"stages": {}}, False)


def test_metrics_are_told_and_read(spoken: Spoken) -> None:
    training = session(spoken)
    params = {"trainer_session_id": training}
    assert spoken.ok("trainer.session.metrics", params) == {}
    assert isinstance(spoken.ok("trainer.session.metrics", params | {"metrics": {"a": [1, 0.5]}}), str)
    assert spoken.ok("trainer.session.metrics", params) == {"a": [1, 0.5]}
    for wrong in ("x", [1], 5):
        assert spoken.no("trainer.session.metrics", params | {"metrics": wrong})[0] == 3
    code, text = spoken.no("trainer.session.metrics", params | {"metrics": {"a": {"b": None}}})
    assert (code, "metrics.a.b is null" in text) == (3, True)
    assert spoken.ok("trainer.session.metrics", params) == {"a": [1, 0.5]}


def test_files_go_up_in_a_form_and_come_down(spoken: Spoken) -> None:
    training = session(spoken)
    data = bytes(range(256)) * 100
    sent = [("artifacts/m.onnx", data), ("checkpoints/last.pt", b"ck"), ("metrics/log.csv", b"a,b\n")]
    assert upload(spoken, training, *sent)["result"]
    of = {"training_session_id": training}
    assert spoken.ok("trainer.get_artifacts", of) == [{"name": "m.onnx", "modelType": "onnx"}]
    text = spoken.ok("trainer.download.file", {"session_id": training, "file_path": "metrics/log.csv"})
    assert text == "a,b\n"
    wrong = {"session_id": training, "file_path": "artifacts/m.onnx"}
    assert "is no text" in spoken.no("trainer.download.file", wrong)[1]
    headers = {"Authorization": f"Bearer {spoken.token('owner')}"}
    client = spoken.rest.client
    for route, name, expected in (
        ("download_model", "m.onnx", data),
        ("download_model", "artifacts/m.onnx", data),
        ("download_checkpoint", "last.pt", b"ck"),
    ):
        query = {**of, "file": name, "folder": "checkpoints"}
        answer = client.get(f"/edgefirst/{route}", params=query, headers=headers)
        assert (answer.status_code, answer.content) == (200, expected)
        assert int(answer.headers["content-length"]) == len(expected)
    for query, status in (
        ({**of, "file": "none"}, 404),
        ({**of, "file": "../../etc/passwd"}, 404),
        ({**of, "file": ""}, 404),
        ({"training_session_id": NO_ID, "file": "m.onnx"}, 404),
        ({"training_session_id": "9" * 30, "file": "m.onnx"}, 422),
        ({"training_session_id": "x", "file": "m.onnx"}, 422),
        ({"file": "m.onnx"}, 422),
    ):
        answer = client.get("/edgefirst/download_model", params=query, headers=headers)
        assert (answer.status_code, bool(answer.json())) == (status, True)
    assert client.get("/edgefirst/download_model", params={**of, "file": "m.onnx"}).status_code == 401


@pytest.mark.parametrize(
    "name", ["../x", "artifacts/../../x", "/etc/passwd", "other/x", "artifacts/\\x", "x"]
)
def test_a_hostile_name_in_a_form_keeps_nothing_of_it(spoken: Spoken, name: str) -> None:
    training = session(spoken)
    answer = upload(spoken, training, ("artifacts/good", b"good"), (name, b"bad"))
    assert answer["error"]["code"] == 3
    assert "artifacts/" in answer["error"]["message"]
    assert spoken.ok("trainer.get_artifacts", {"training_session_id": training}) == []


def test_a_form_must_say_whose_its_files_are(spoken: Spoken) -> None:
    file = [("file", ("artifacts/x", b"x", "text/plain"))]
    for fields in (
        {},
        {"params": "x"},
        {"params": "[]"},
        {"params": "{}"},
        {"params": '{"session_id": "x"}'},
    ):
        assert spoken.form("trainer.upload.files", fields, file)["error"]["code"] == 3
    gone = {"params": f'{{"session_id": {NO_ID}}}'}
    assert spoken.form("trainer.upload.files", gone, file)["error"]["code"] == 101
    training = session(spoken)
    assert upload(spoken, training, ("artifacts/x", b"x"), bearer="viewer")["error"]["code"] == 403


def test_a_validation_that_somebody_else_fills(spoken: Spoken) -> None:
    training = session(spoken)
    made = started(spoken, training, description="by night")
    of = {"validate_session_id": made["val_session_id"]}
    found = spoken.ok("validate.session.get", of)
    assert (found["training_session_id"], found["description"]) == (training, "by night")
    assert found["params"] == {
        "model_params": {"validation": {"iou": 0.5}},
        "validate_params": {"model": "best.onnx"},
    }
    assert (found["docker_task"]["id"], found["docker_task"]["name"]) == (made["id"], "check")
    assert (found["dataset_id"], found["gt_annotation_set_id"]) == (0, 0)
    assert found in spoken.ok("validate.session.list", {"project_id": project(spoken)})
    spoken.ok("validate.session.metrics", of | {"metrics": {"mAP": 0.5}})
    assert spoken.ok("validate.session.metrics", of) == {"mAP": 0.5}
    data = {"session_id": str(made["val_session_id"]), "folder": "run 1"}
    files = [("file", ("a.txt", b"a")), ("file", ("sub/b.bin", bytes(9)))]
    assert spoken.form("val.data.upload", data, files)["result"]
    session_id = {"session_id": made["val_session_id"]}
    assert spoken.ok("val.data.list", session_id) == ["run 1/a.txt", "run 1/sub/b.bin"]
    response = spoken.post("val.data.download", session_id | {"filename": "run 1/sub/b.bin"})
    assert response.content == bytes(9)
    assert spoken.no("val.data.download", session_id | {"filename": "none"})[0] == 101
    bad = {"session_id": str(made["val_session_id"]), "folder": "../up"}
    assert spoken.form("val.data.upload", bad, files)["error"]["code"] == 3
    assert spoken.ok("validate.session.delete", {"session_ids": [made["val_session_id"]]})
    assert spoken.ok("validate.session.delete", {"session_ids": [made["val_session_id"]]})
    assert spoken.ok("validate.session.delete", {"session_ids": []})
    assert spoken.no("validate.session.get", of)[0] == 101
    assert spoken.no("validate.session.delete", {"session_ids": [NO_ID]})[0] == 101


def test_a_validation_that_is_measured_here(spoken: Spoken) -> None:
    pytest.importorskip("onnx")
    from support.onnx_models import blob_detector
    from support.sessions import SIGNATURE

    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    board = studio.datasets.create(owner, name="board")
    add_scene(studio, owner, board, "a.png", (0, 0, "red"))
    studio.classes.declare(owner, "board", [*studio.datasets.get(owner, "board").classes])
    tree, _ = own_session(studio, owner, board, blob_detector(SIGNATURE))
    refused = {
        "type": "validation",
        "name": "check",
        "project_id": project(spoken),
        "training_session_id": tree.row_id,
        "model_file": "model.onnx",
        "val_type": "x",
        "params": {"params": {"split": "all"}},
    }
    code, text = spoken.no("cloud.server.start", refused)
    assert (code, "none of the classes" in text) == (3, True)

    from tintype_studio.vision.tasks import Signature, Task

    signature = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64)
    fits = pytest.MonkeyPatch()
    fits.setattr("support.sessions.SIGNATURE", signature)
    own, _ = own_session(studio, owner, board, blob_detector(signature), name="fits")
    fits.undo()
    asked = {
        "training": own.row_id,
        "is_local": False,
        "model_file": "model.onnx",
        "params": {"params": {"split": "all"}},
        "dataset_id": board.row_id,
    }
    for wrong in (
        {"params": {"params": {"iou": 0.5}}},
        {"params": {"params": {"split": "x"}}},
        {"model_file": "other.onnx"},
        {"snapshot_id": 1},
        {"type": "other"},
    ):
        params = {k: v for k, v in asked.items() if k != "training"} | wrong
        body = refused | params | {"training_session_id": own.row_id}
        assert spoken.no("cloud.server.start", body)[0] == 3
    assert spoken.ok("validate.session.list", {"project_id": project(spoken)})[:1] != ["check"]
    made = started(spoken, **asked)
    of = {"validate_session_id": made["val_session_id"]}
    assert spoken.ok("validate.session.get", of)["docker_task"]["status"] == "queued"
    job = studio.tasks.get(owner, f"task-{made['id']:x}").job_id
    pool = Pool(1)
    turn(studio, studio.jobs.get(owner, str(job)), pool)
    pool.close()
    found = spoken.ok("validate.session.get", of)
    assert (found["docker_task"]["status"], found["dataset_id"]) == ("complete", board.row_id)
    assert found["gt_annotation_set_id"] > 0
    metrics = spoken.ok("validate.session.metrics", of)
    assert (metrics["images"], metrics["split"]) == (1, "all")
    assert "mAP" in metrics
    files = spoken.ok("val.data.list", {"session_id": made["val_session_id"]})
    assert "evaluation.json" in files
    assert spoken.no("validate.session.metrics", of | {"metrics": {"mAP": 1}})[0] == 3

    other = studio.annotation_sets.create(owner, "board", name="truth")
    code, text = spoken.no(
        "cloud.server.start", refused | _plain(asked) | {"annotation_set_id": other.row_id}
    )
    assert (code, "no labelled image" in text) == (3, True)
    sample = studio.samples.find(board, "a.png")
    for name, where in (("truth", (3, 3, "red")), ("default", (0, 0, "red"))):
        boxes = cell_boxes(64, 64, where)
        studio.documents.save(owner, sample.id, boxes, annotation_set=name)
    figures = {}
    for row in (other.row_id, found["gt_annotation_set_id"]):
        again = started(spoken, **asked, annotation_set_id=row)
        job = studio.tasks.get(owner, f"task-{again['id']:x}").job_id
        pool = Pool(1)
        turn(studio, studio.jobs.get(owner, str(job)), pool)
        pool.close()
        told = spoken.ok("validate.session.get", {"validate_session_id": again["val_session_id"]})
        assert (told["gt_annotation_set_id"], told["docker_task"]["status"]) == (row, "complete")
        figures[row] = spoken.ok("validate.session.metrics", {"validate_session_id": again["val_session_id"]})
    assert figures[other.row_id]["mAP"] < figures[found["gt_annotation_set_id"]]["mAP"]
    assert figures[other.row_id]["split"] == "all"


def _plain(asked: dict[str, Any]) -> dict[str, Any]:
    """As the wire has it."""
    return {k: v for k, v in asked.items() if k != "training"} | {"training_session_id": asked["training"]}


def test_tasks_are_told_stage_by_stage_and_found(spoken: Spoken) -> None:
    task = spoken.ok("trainer.session.get", {"trainer_session_id": session(spoken, name="odd one")})
    task_id = task["docker_task"]["id"]
    of = {"docker_task_id": task_id}
    stages = [{"read": "Read it"}, {"write": ""}]
    assert spoken.ok("status.stages", of | {"stages": stages})["id"] == task_id
    now = {"stage": "read", "status": "running", "message": "half", "percentage": 50}
    assert spoken.ok("status.update", of | now)["status"] == "created"
    assert spoken.ok("docker.update.status", of | {"status": "complete"})["status"] == "complete"
    found = spoken.ok("task.get", {"id": task_id})
    assert found["progress"]["stages"]["read"] == {
        "stage": "read",
        "percentage": 50,
        "status": "running",
        "description": "Read it",
        "message": "half",
        "docker_task_id": task_id,
    }
    assert "end_date" in found
    for wrong in (
        {"stages": "x"},
        {"stages": [1]},
        {"stages": [{"a": 1}]},
        {"stages": [{"a": ""}, {"a": ""}]},
        {},
    ):
        assert spoken.no("status.stages", of | wrong)[0] == 3
    for wrong in ({"percentage": 101}, {"percentage": "5"}, {"percentage": True}, {"status": 5}):
        assert spoken.no("status.update", of | now | wrong)[0] == 3
    assert spoken.no("status.update", of | now | {"stage": "none"})[0] == 101
    listed = spoken.ok("task.list", {"types": ["trainer"], "status": ["completed"], "manage_types": ["user"]})
    assert task_id in [each["id"] for each in listed["tasks"]]
    assert spoken.ok("task.list", {"types": ["nothing"]}) == {"tasks": [], "continue_token": ""}
    for wrong in ({"types": "x"}, {"status": [1]}, {"continue_token": "x"}, {"continue_token": 5}):
        assert spoken.no("task.list", wrong)[0] == 3
    assert spoken.no("task.list", {"continue_token": "999999999"})[0] == 101
    assert spoken.no("job.stop", {"task_id": task_id})[0] == 3


def test_a_long_list_of_tasks_is_read_to_its_end(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tintype_server.edgefirst.rpc_tasks.PAGE", 2)
    for _ in range(5):
        session(spoken, name="one of many")
    seen: list[int] = []
    token: str | None = None
    while token != "":
        page = spoken.ok("task.list", {} if token is None else {"continue_token": token})
        seen += [each["id"] for each in page["tasks"]]
        token = page["continue_token"]
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) >= 5


def test_charts_and_data_of_a_task(spoken: Spoken) -> None:
    found = spoken.ok("trainer.session.get", {"trainer_session_id": session(spoken)})
    of = {"task_id": found["docker_task"]["id"]}
    chart = of | {"group_name": "speed", "chart_name": "rate"}
    assert spoken.ok("task.chart.add", chart | {"data": {"y": [1, 2]}, "params": None})
    listed = spoken.ok("task.chart.list", of | {"group_name": ""})
    assert listed["data"] == {"speed": ["rate"]}
    assert isinstance(listed["server"], str)
    assert listed["organization_uid"].startswith("org-")
    assert spoken.ok("task.chart.list", of | {"group_name": "x"})["data"] == {}
    assert spoken.ok("task.chart.get", chart) == {"y": [1, 2]}
    code, text = spoken.no("task.chart.get", chart | {"chart_name": "none"})
    assert (code, "no chart 'none'" in text) == (3, True)
    for wrong in ({"data": None}, {"data": [None]}, {"group_name": ""}, {"chart_name": 5}):
        assert spoken.no("task.chart.add", chart | {"data": 1} | wrong)[0] == 3
    fields = {"task_id": str(of["task_id"]), "folder": "logs"}
    assert spoken.form("task.data.upload", fields, [("file", ("a.log", b"log"))])["result"]
    assert spoken.ok("task.data.list", of)["data"] == {"logs": ["a.log"]}
    assert spoken.post("task.data.download", of | {"folder": "logs", "file": "a.log"}).content == b"log"
    assert spoken.no("task.data.download", of | {"folder": "", "file": "a.log"})[0] == 3
    assert spoken.no("task.data.list", {"task_id": NO_ID})[0] == 101


def test_jobs_are_started_by_the_name_of_their_app(spoken: Spoken) -> None:
    studio, owner = spoken.rest.runtime.studio, spoken.rest.owner
    yard = studio.datasets.create(owner, name="yard")
    data = {"dataset_id": yard.row_id}
    job = spoken.ok("job.run", {"name": "verify", "job_name": "look", "env": {}, "data": data})
    assert (job["code"], job["job_name"], job["state"]) == ("verify", "look", "SUBMITTED")
    assert isinstance(job["task_id"], int)
    assert job["launch"].endswith("Z")
    done = spoken.ok("job.run", {"name": "export", "job_name": "out", "data": {**data, "name": "e"}})
    assert done["state"] == "SUCCEEDED"
    listed = spoken.ok("job.list", {})
    assert [each for each in listed if each["task_id"] in {job["task_id"], done["task_id"]}] == [done, job]
    assert spoken.ok("job.stop", {"task_id": job["task_id"]})
    assert spoken.ok("task.get", {"id": job["task_id"]})["status"] == "cancelled"
    assert spoken.no("job.stop", {"task_id": job["task_id"]})[0] == 3
    assert spoken.no("job.stop", {"task_id": NO_ID})[0] == 101
    assert spoken.no("job.run", {"name": "none", "job_name": "x"})[0] == 101
    run = {"name": "verify", "job_name": "x"}
    for wrong in ({"data": {}}, {"data": []}, {"data": {**data, "x": 1}}, {"env": {"A": "b"}, "data": data}):
        assert spoken.no("job.run", run | wrong)[0] == 3
    assert spoken.no("job.run", run | {"data": {"dataset_id": NO_ID}})[0] == 101
    assert spoken.no("job.run", run | {"data": data}, bearer="viewer")[0] == 403


def test_ids_of_another_organization_are_not_found(spoken: Spoken) -> None:
    training = session(spoken)
    made = started(spoken, training)
    found = spoken.ok("trainer.session.get", {"trainer_session_id": training})
    experiment_id, task = found["trainer_id"], made["id"]
    for method, params in (
        ("trainer.list2", {"project_id": project(spoken)}),
        ("trainer.get", {"trainer_id": experiment_id}),
        ("trainer.session.list", {"trainer_id": experiment_id}),
        ("trainer.session.get", {"trainer_session_id": training}),
        ("trainer.session.metrics", {"trainer_session_id": training}),
        ("trainer.session.metrics", {"trainer_session_id": training, "metrics": {"a": 1}}),
        ("trainer.get_artifacts", {"training_session_id": training}),
        ("trainer.download.file", {"session_id": training, "file_path": "artifacts/x"}),
        ("validate.session.list", {"project_id": project(spoken)}),
        ("validate.session.get", {"validate_session_id": made["val_session_id"]}),
        ("validate.session.metrics", {"validate_session_id": made["val_session_id"]}),
        ("validate.session.delete", {"session_ids": [made["val_session_id"]]}),
        ("val.data.list", {"session_id": made["val_session_id"]}),
        ("val.data.download", {"session_id": made["val_session_id"], "filename": "x"}),
        ("task.get", {"id": task}),
        ("task.data.list", {"task_id": task}),
        ("task.data.download", {"task_id": task, "folder": "", "file": "x"}),
        ("task.chart.list", {"task_id": task, "group_name": ""}),
        ("task.chart.add", {"task_id": task, "group_name": "g", "chart_name": "c", "data": 1}),
        ("docker.update.status", {"docker_task_id": task, "status": "failed"}),
        ("job.stop", {"task_id": task}),
    ):
        assert spoken.no(method, params, bearer="elsewhere")[0] == 101, method
    assert spoken.ok("task.list", bearer="elsewhere")["tasks"] == []
    assert spoken.ok("job.list", bearer="elsewhere") == []
    assert upload(spoken, training, ("artifacts/x", b"x"), bearer="elsewhere")["error"]["code"] == 101
