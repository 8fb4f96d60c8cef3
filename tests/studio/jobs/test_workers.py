"""Whole workers, each a process with the queue: take-over, hand-back, limits, the worker beside a server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import PRICE, books, is_there, start

from tintype_studio.identity.keys import Principal
from tintype_studio.jobs import commits, supervisor, worker
from tintype_studio.jobs.job import Job, JobStatus
from tintype_studio.storage.job_tables import jobs
from tintype_studio.studio import Studio

pytestmark = pytest.mark.slow

KEYS = [f"{n:02}" for n in range(16)]
MORE_KEYS = [f"{n:02}" for n in range(30)]

WORKER = """
import os, sys, threading
from pathlib import Path
from support import jobs as support
from tintype_studio.jobs.worker import Worker, WorkerOptions
from tintype_studio.studio import Studio, Workspace

support.register_kinds()
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
studio = Studio(Workspace(Path(sys.argv[1])))
studio.jobs.supervisor.enabled = False
Worker(studio, WorkerOptions(processes=2)).run(stop)
studio.close()
os._exit(0)
"""


def until(condition: Callable[[], bool], seconds: float = 20.0) -> float:
    """Wait for the condition; returns how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


def holder(studio: Studio, job: Job) -> str | None:
    with studio.database.read() as connection:
        return connection.execute(sa.select(jobs.c.instance).where(jobs.c.id == job.row_id)).scalar()


def test_a_dead_workers_job_is_taken_over_by_another_within_seconds(
    studio: Studio, owner: Principal, spawn: Any
) -> None:
    before = books(studio, owner)[0]
    first = spawn(WORKER)
    job = start(studio, owner, {"keys": MORE_KEYS, "work": "spin", "more": [0.25]})
    until(lambda: studio.jobs.get(owner, job.id).done > 0)
    mine = holder(studio, job)
    second = spawn(WORKER)
    time.sleep(1.5)  # until the second could have taken it, were it not the first one's
    assert holder(studio, job) == mine
    done = studio.jobs.get(owner, job.id).done
    assert done < len(MORE_KEYS)
    first.kill()
    first.wait()
    until(lambda: holder(studio, job) not in {mine, None}, 5)
    ended = studio.jobs.wait(owner, job.id, 30)
    assert (ended.status, ended.done, ended.failed) == (JobStatus.COMPLETED, len(MORE_KEYS), 0)
    assert [line.text for line in studio.jobs.logs(ended)] == ["Resumed; what was finished stays as it is."]
    assert books(studio, owner) == (before - PRICE * len(MORE_KEYS), 0)
    second.communicate(timeout=5)  # closes its input
    assert second.returncode == 0


def test_a_worker_that_is_stopped_hands_its_jobs_back_at_once(
    studio: Studio, owner: Principal, spawn: Any, tmp_path: Path
) -> None:
    before = books(studio, owner)[0]
    told = tmp_path / "told"
    told.mkdir()
    first = spawn(WORKER)
    job = start(studio, owner, {"keys": KEYS, "work": "spin_told", "more": [str(told), 0.3]})
    until(lambda: studio.jobs.get(owner, job.id).done > 0)
    asked = time.monotonic()
    first.communicate(timeout=5)  # closes its input
    assert first.returncode == 0
    assert studio.jobs.get(owner, job.id).status is JobStatus.QUEUED
    assert time.monotonic() - asked < 3
    assert not any(is_there(int(file.read_text())) for file in told.iterdir())
    half = studio.jobs.get(owner, job.id)
    assert books(studio, owner) == (before - PRICE * half.done, PRICE * (len(KEYS) - half.done))
    spawn(WORKER)
    assert studio.jobs.wait(owner, job.id, 30).status is JobStatus.COMPLETED
    assert books(studio, owner) == (before - PRICE * len(KEYS), 0)


def test_a_worker_cancels_within_a_second_and_keeps_its_limits_and_a_lost_queue_is_filled_again(
    studio: Studio, owner: Principal, spawn: Any
) -> None:
    one = spawn(WORKER)
    busy = {"keys": KEYS, "work": "spin", "more": [0.4]}
    several = [start(studio, owner, {**busy, "keys": [f"{n}-{key}" for key in KEYS]}) for n in range(3)]

    def states() -> list[str]:
        return [studio.jobs.get(owner, job.id).status.value for job in several]

    until(lambda: states().count("running") == 2)
    time.sleep(0.5)
    assert sorted(states()) == ["queued", "running", "running"]
    running = next(job for job in several if studio.jobs.get(owner, job.id).status is JobStatus.RUNNING)
    asked = time.monotonic()
    studio.jobs.cancel(owner, running.id)
    until(lambda: studio.jobs.get(owner, running.id).ended)
    assert time.monotonic() - asked < 1
    assert studio.jobs.get(owner, running.id).status is JobStatus.CANCELLED
    until(lambda: states().count("running") == 2)  # its place is free again

    one.kill()
    one.wait()
    for file in studio.home.glob("queue.db*"):
        file.unlink()
    spawn(WORKER)
    until(lambda: states().count("running") == 2)
    for job in several:
        if not studio.jobs.get(owner, job.id).ended:
            studio.jobs.cancel(owner, job.id)
    until(lambda: states().count("cancelled") == 3)
    assert books(studio, owner)[1] == 0


SERVER = """
import sys, time
from pathlib import Path
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

studio = Studio(Workspace(Path(sys.argv[1])))
owner = studio.keys.authenticate(saved_api_key(studio.home))
job = studio.jobs.start(owner, "verify_images", {"dataset": "signs"})
ended = studio.jobs.wait(owner, job.id, 30)
pid = studio.jobs.supervisor._process.pid
print(ended.status.value, ended.result, "dbos" in sys.modules, pid, flush=True)
time.sleep(60)
"""


def test_a_server_gets_a_worker_when_it_needs_one_and_takes_it_along_when_it_dies(
    studio: Studio, owner: Principal, dataset: Any, picture: Any, spawn: Any
) -> None:
    for n in range(3):
        studio.ingest.add_image(owner, dataset, data=picture(seed=n), filename=f"{n}.jpg")
    sample = studio.samples.find(dataset, "1.jpg")
    path = studio.home / "blobs" / "sha256" / sample.sha256[:2] / sample.sha256
    path.chmod(0o600)
    path.write_bytes(b"\xff" + path.read_bytes()[1:-1] + b"x")
    server = spawn(SERVER)
    words = server.stdout.readline().split()
    assert words[0] == "completed"
    assert "{'images': 3, 'damaged': 1}" in " ".join(words)
    assert words[-2] == "False"
    worker = int(words[-1])
    assert is_there(worker)
    [job] = studio.jobs.list(owner)
    [item] = studio.jobs.items(job, outcome="failed")
    assert (item.key, item.error_code) == (sample.id, "image_damaged")
    assert "/1.jpg" in (item.error_message or "")
    server.kill()
    server.wait()
    until(lambda: not is_there(worker), 5)


def test_the_worker_beside_a_server_ends_when_idle_and_comes_back(
    studio: Studio, owner: Principal, dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "IDLE_SECONDS", 1.0)
    monkeypatch.setattr(supervisor, "START_SECONDS", 0.0)
    studio.jobs.supervisor.enabled = True
    pids: list[int] = []
    start = supervisor.Supervisor._start

    def note(self: supervisor.Supervisor) -> Any:
        # Not asked for after the job: until its end is noticed here, the worker may be gone.
        process = start(self)
        pids.append(process.pid)
        return process

    monkeypatch.setattr(supervisor.Supervisor, "_start", note)
    for number in range(1, 3):
        job = studio.jobs.start(owner, "verify_images", {"dataset": dataset.name})
        assert studio.jobs.wait(owner, job.id, 30).status is JobStatus.COMPLETED
        until(lambda: studio.jobs.supervisor._thread is None, 10)
        assert len(pids) == number
        assert not is_there(pids[-1])


def test_a_job_whose_end_could_not_be_written_is_taken_up_again(
    studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker lives on, so that no lock tells."""
    made = worker.Worker(studio, worker.WorkerOptions(processes=1))
    places: dict[str, Any] = {}
    monkeypatch.setattr(made._queues, "places", lambda _turns: places)
    monkeypatch.setattr(made._queues, "enqueue", lambda *_: None)
    job = start(studio, owner, {"keys": ["a"]})
    made._enqueue_new()

    def fail(*_arguments: Any, **_named: Any) -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as broken:
        broken.setattr(commits.Commits, "finish", fail)
        with pytest.raises(RuntimeError):
            made._executor.execute(job.id, 0)
    assert studio.jobs.get(owner, job.id).status is JobStatus.RUNNING
    made._reconcile()
    assert studio.jobs.get(owner, job.id).status is JobStatus.QUEUED
    made._executor.execute(job.id, 1)
    assert studio.jobs.get(owner, job.id).status is JobStatus.COMPLETED
    assert books(studio, owner)[1] == 0


def test_a_light_start_imports_no_queue() -> None:
    code = "import sys, tintype_server.runtime, tintype_studio.jobs.worker; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"dbos", "numpy", "cv2"} & {name.split(".")[0] for name in loaded.split()}
