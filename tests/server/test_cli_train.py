"""``tintype train``: start, wait, follow and stop runs, with a session that learns nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.cli import Cli
from support.trained import use_fake_models
from support.training import Script, fill

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.pool import Pool
from tintype_studio.jobs.supervisor import Supervisor
from tintype_studio.storage.job_tables import jobs
from tintype_studio.studio import Studio

CONFIG = json.dumps({"epochs": 3, "max_minutes": 2})


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Script:
    # A worker of its own would not know the session that learns nothing.
    monkeypatch.setattr(Supervisor, "wake", lambda _self: None)
    return use_fake_models(monkeypatch, tmp_path)


@pytest.fixture
def studio(cli: Cli, script: Script) -> Iterator[Studio]:
    """A workspace with the labelled dataset ``signs``."""
    opened = open_studio(Settings(home=cli.home))
    owner = opened.keys.authenticate(saved_api_key(cli.home))
    fill(opened, owner, opened.datasets.create(owner, name="signs"))
    yield opened
    opened.close()


@pytest.fixture
def worker(studio: Studio) -> Iterator[None]:
    """Does what is queued, as another process would."""
    executor, stop = Executor(studio, Pool(1)), threading.Event()

    def serve() -> None:
        begun: set[tuple[str, int]] = set()
        while not stop.wait(0.05):
            executor.watch()
            with studio.database.read() as connection:
                rows = connection.execute(sa.select(jobs.c.uuid, jobs.c.turn, jobs.c.status)).all()
            for row in rows:
                if row.status == "queued" and (row.uuid, row.turn) not in begun:
                    begun.add((row.uuid, row.turn))
                    executor.execute(row.uuid, row.turn)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    executor.stop(2)
    stop.set()
    thread.join()


START = ("train", "start", "signs", "-p", "yolox", "--config", CONFIG)


def test_a_run_is_waited_for_and_looked_at(cli: Cli, worker: None, tmp_path: Path) -> None:
    result = cli.run(*START, "--name", "first", "--json")
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    told = json.loads(result.stdout)
    assert set(told) == {"run_id", "status", "progress", "model_id"}
    assert (told["status"], told["progress"]) == ("completed", 100)
    assert [model["id"] for model in cli.json("models", "list")] == [told["model_id"]]
    run = cli.json("train", "status", told["run_id"])
    assert (run["name"], run["status"], run["current_epoch"]) == ("first", "completed", 3)
    assert "completed" in cli.ok("train", "status", told["run_id"], "--wait")
    assert [each["id"] for each in cli.json("train", "list", "--dataset", "signs")] == [told["run_id"]]
    assert told["run_id"] in cli.ok("train", "list")
    logs = cli.run("train", "logs", told["run_id"], "--json", "--follow")
    lines = [json.loads(line) for line in logs.stdout.splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert all(line["metrics"] for line in lines)
    assert logs.stderr == "first: completed, 100 %, epoch 3/3\n"
    (last,) = cli.ok("train", "logs", told["run_id"], "-n", "1").splitlines()
    assert last.startswith("epoch 3/3  ")
    cli.ok("models", "download", told["model_id"], "-o", str(tmp_path / "m.onnx"))


def test_a_run_that_fails_is_exit_code_1_with_the_reason(cli: Cli, worker: None, script: Script) -> None:
    script.set(_1=["diverge"] * 9)
    result = cli.run(*START)
    assert result.exit_code == 1
    assert "failed" in result.stdout
    run_line, error, fix = result.stderr.splitlines()
    assert run_line.startswith("run ")
    assert error.startswith("error: ")
    assert fix.startswith("fix: ")
    run_id = run_line.removeprefix("run ")
    assert cli.run("train", "status", run_id, "--wait").exit_code == 1
    assert cli.run("train", "status", run_id).exit_code == 0
    logs = cli.run("train", "logs", run_id)
    assert "failed" in logs.stderr
    assert "The loss is not a number." in logs.stderr


def test_a_run_that_nobody_works_at_is_started_left_and_cancelled(cli: Cli, studio: Studio) -> None:
    result = cli.run(*START, "--no-wait", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["status"], told.get("model_id")) == (0, "queued", None)
    assert f"`tintype train status {told['run_id']} --wait`" in result.stderr
    declined = cli.run("train", "cancel", told["run_id"], text="n\n")
    assert (declined.exit_code, "Stop the training?" in declined.stderr) == (1, True)
    assert cli.json("train", "status", told["run_id"])["status"] == "queued"
    assert cli.json("train", "cancel", told["run_id"], "--yes")["status"] == "cancelled"
    assert cli.ok("train", "cancel", told["run_id"], "--yes")


def test_the_time_to_wait_is_kept(cli: Cli, studio: Studio) -> None:
    result = cli.run(*START, "--timeout", "1", "--json")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (0, "queued")
    assert "It has not ended." in result.stderr


def test_what_costs_much_needs_a_word(cli: Cli, studio: Studio) -> None:
    start = ("train", "start", "signs", "-p", "yolox", "--gpu", "h100", "--no-wait", "--config", CONFIG)
    assert "--yes" in cli.refused("confirmation_required", *start)[-1]
    assert cli.json("train", "list") == []
    told = json.loads(cli.ok(*start, "--dry-run"))
    assert (told["price"]["credits"], told["approval"]["required"]) == (240, True)
    assert json.loads(cli.ok(*start, "--yes", "--json"))["status"] == "queued"


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["-p", "yolox", "--config", "{"], 2),
        (["-p", "yolox", "--config", "[]"], 2),
        (["-p", "nope"], 2),
        ([], 2),
        (["-p", "yolox", "--config", '{"epochs": "many"}'], 1),
        (["-p", "yolox", "--export", "nope"], 1),
    ],
)
def test_what_cannot_be_trained_starts_nothing(cli: Cli, studio: Studio, flags: list[str], code: int) -> None:
    result = cli.run("train", "start", "signs", *flags, "--no-wait")
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert cli.json("train", "list") == []


def test_a_run_that_is_not_there_is_refused(cli: Cli) -> None:
    for words in (("status", "x"), ("status", "x", "--wait"), ("logs", "x"), ("cancel", "x", "--yes")):
        cli.refused("training_run_not_found", "train", *words)
