"""Jobs through real doors, with real workers: waiting, progress, hanging up, ``tintype worker``."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcp import Client, StdioServerParameters
from PIL import Image
from support.doors import Site

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.jobs.job import Job, JobStatus
from tintype_studio.studio import Studio

pytestmark = pytest.mark.slow

SMALL, LARGE = 3, 60


def add_images(studio: Studio, name: str, count: int, side: int) -> None:
    """Pictures that differ in a comment."""
    owner = studio.keys.authenticate(saved_api_key(studio.home))
    dataset = studio.datasets.create(owner, name=name)
    noise = np.random.default_rng(1).integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((side, side)).save(buffer, "JPEG")
    data = buffer.getvalue()
    for n in range(count):
        comment = f"{n:08}".encode()
        marked = data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
        studio.ingest.add_image(owner, dataset, data=marked, filename=f"{n}.jpg")


@pytest.mark.parametrize("door", ["stdio-2026", "http-2025", "dispatch", "cli"])
def test_a_job_is_waited_for_and_looked_up_through_every_kind_of_door(site: Site, door: str) -> None:
    name = f"verified-{door}"
    studio = open_studio(Settings(home=site.home))
    add_images(studio, name, SMALL, 64)
    studio.close()
    reply = site.door(door).call("verify_dataset", {"dataset_name": name}, idempotency_key=f"verify-{door}")
    assert (reply.value["job"]["status"], reply.value["images_read"]) == ("completed", SMALL)
    again = site.door(door).call("verify_dataset", {"dataset_name": name}, idempotency_key=f"verify-{door}")
    assert (again.replayed, again.value) == (True, reply.value)
    looked = site.door(door).call("get_job", {"job_id": reply.value["job"]["job_id"]})
    assert looked.value["result"] == {"images": SMALL, "damaged": 0}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A workspace with a dataset whose verification takes a while."""
    studio = open_studio(Settings(home=tmp_path / "home"))
    add_images(studio, "large", LARGE, 2000)
    studio.close()
    yield tmp_path / "home"
    time.sleep(0.5)  # workers go before their folder


def only_job(home: Path) -> Job:
    studio = open_studio(Settings(home=home))
    try:
        [job] = studio.jobs.list(studio.keys.authenticate(saved_api_key(home)))
        return job
    finally:
        studio.close()


def command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tintype_server", "--home", str(home), *arguments]


def test_mcp_gets_progress_and_a_client_that_leaves_stops_the_server_at_once_and_another_goes_on(
    home: Path,
) -> None:
    seen: list[float] = []
    left = 0.0

    async def on_progress(done: float, _total: float | None, _message: str | None) -> None:
        seen.append(done)

    async def connect_and_leave() -> None:
        nonlocal left
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "tintype_server", "mcp", "--home", str(home)]
        )
        async with Client(server) as client:
            arguments: dict[str, Any] = {"dataset_name": "large", "wait_seconds": 30}
            call = asyncio.create_task(
                client.call_tool("verify_dataset", arguments, progress_callback=on_progress)
            )
            while not any(done > 0 for done in seen):
                await asyncio.sleep(0.02)
                assert not call.done()
            call.cancel()
            left = time.monotonic()

    asyncio.run(asyncio.wait_for(connect_and_leave(), 60))
    assert time.monotonic() - left < 5
    time.sleep(0.5)
    handed = only_job(home)
    assert handed.status in {JobStatus.QUEUED, JobStatus.RUNNING}
    assert 0 < handed.done < LARGE
    subprocess.run(command(home, "worker", "--processes", "2", "--idle-seconds", "1"), check=True, timeout=60)
    ended = only_job(home)
    assert (ended.status, ended.done, ended.failed) == (JobStatus.COMPLETED, LARGE, 0)
    assert ended.result == {"images": LARGE, "damaged": 0}


def test_a_worker_that_gets_sigterm_hands_back_and_ends_at_once(home: Path) -> None:
    started = subprocess.run(
        command(home, "call", "verify_dataset", "--args", '{"dataset_name": "large", "wait_seconds": 0}'),
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert b"queued" in started.stdout
    worker = subprocess.Popen(command(home, "worker"), env=os.environ | {"TINTYPE_WORKER_PROCESSES": "2"})
    try:
        began = time.monotonic()
        while only_job(home).done == 0:
            assert time.monotonic() - began < 30
            time.sleep(0.1)
        worker.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert worker.wait(10) == 0
        assert time.monotonic() - asked < 3
    finally:
        worker.kill()
    handed = only_job(home)
    assert handed.status is JobStatus.QUEUED
    assert 0 < handed.done < LARGE
