"""Workers that fail or cannot be started, and a queue file that is damaged."""

from __future__ import annotations

import errno
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tintype_studio.identity.keys import Principal
from tintype_studio.jobs import supervisor
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.supervisor import Supervisor
from tintype_studio.studio import Studio, Workspace

GARBAGE = b"this was a database once" * 400


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.01)


class Ended:
    """A process that is over already."""

    stdin = None

    def __init__(self, code: int) -> None:
        self._code = code

    def wait(self) -> int:
        return self._code


class Machine:
    """Starts processes that end at once, or cannot: one outcome for each start, the last for all further."""

    def __init__(self, *outcomes: int | OSError) -> None:
        self._outcomes = list(outcomes)
        self.starts: list[float] = []

    def __call__(self, *_arguments: Any, **_named: Any) -> Ended:
        self.starts.append(time.monotonic())
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, OSError):
            raise outcome
        return Ended(outcome)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "START_SECONDS", 0.0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE, errno.EAGAIN])
def test_a_worker_that_cannot_be_started_is_tried_again_ever_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    full = OSError(number, "no room")
    machine = Machine(full, full, full, 0)
    monkeypatch.setattr(subprocess, "Popen", machine)
    beside = Supervisor(Workspace(tmp_path), lambda: len(machine.starts) < 4)
    beside.wake()
    until(lambda: beside._thread is None)
    pauses = [after - before for before, after in zip(machine.starts, machine.starts[1:], strict=False)]
    assert len(pauses) == 3
    assert all(pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True))

    beside.wake()  # and goes on to start one whenever it is needed
    until(lambda: len(machine.starts) == 5)
    beside.close()


@pytest.mark.usefixtures("quick")
def test_a_thread_that_cannot_be_started_is_not_taken_for_one_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(0)
    monkeypatch.setattr(subprocess, "Popen", machine)
    beside = Supervisor(Workspace(tmp_path), lambda: False)

    def fail(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr("threading.Thread.start", fail)
        with pytest.raises(RuntimeError):
            beside.wake()
    beside.wake()
    until(lambda: len(machine.starts) == 1)
    beside.close()


@pytest.mark.slow
def test_a_worker_that_cannot_open_its_queue_says_why_and_fails(studio: Studio) -> None:
    (studio.home / "queue.db").mkdir()
    told = {"workspace": {"home": str(studio.home)}, "idle_seconds": 1.0}
    ended = subprocess.run(
        [sys.executable, "-m", "tintype_studio.jobs.worker"],
        input=json.dumps(told) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "unable to open database file" in ended.stderr


@pytest.mark.slow
def test_a_damaged_queue_is_moved_aside_and_filled_again(
    studio: Studio, owner: Principal, dataset: Any
) -> None:
    (studio.home / "queue.db").write_bytes(GARBAGE)
    studio.jobs.supervisor.enabled = True
    first = studio.jobs.start(owner, "verify_images", {"dataset": dataset.name})
    assert studio.jobs.wait(owner, first.id, 30).status is JobStatus.COMPLETED
    assert (studio.home / "queue.db.damaged").read_bytes() == GARBAGE
    worker = studio.jobs.supervisor._process

    # The next one is damaged while a worker has it open.
    queue = studio.home / "queue.db"
    with closing(sqlite3.connect(queue, timeout=10)) as connection:
        until(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
    garbage = GARBAGE[::-1] * (1 + queue.stat().st_size // len(GARBAGE))
    with queue.open("r+b") as file:
        file.write(garbage)
    second = studio.jobs.start(owner, "verify_images", {"dataset": dataset.name})
    assert studio.jobs.wait(owner, second.id, 45).status is JobStatus.COMPLETED
    assert (studio.home / "queue.db.damaged").read_bytes() == garbage
    assert worker is not None
    assert worker.returncode == 1
