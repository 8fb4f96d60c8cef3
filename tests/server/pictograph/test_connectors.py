"""The connectors' routes, with the process that does an import; and where the key goes: nowhere."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import is_there
from support.providers import KEY, Provider, answer, open_provider
from support.rest import Rest, open_rest

from tintype_studio.jobs.worker import Worker, WorkerOptions
from tintype_studio.storage.job_tables import jobs

ROADS = {"id": "100", "name": "roads", "slug": "roads"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with open_provider() as opened:
        yield opened


@pytest.fixture
def rest(tmp_path: Path, provider: Provider) -> Iterator[Rest]:
    with open_rest(tmp_path / "home", v7_url=provider.url, roboflow_url=provider.url) as opened:
        opened.runtime.studio.jobs.supervisor.enabled = False
        yield opened


def start(rest: Rest, *datasets: dict[str, Any], provider: str = "v7", key: str = KEY, **given: Any) -> Any:
    body = {"provider": provider, "api_key": key, "datasets": list(datasets)}
    return rest.send("POST", "/connectors/import/start", json=body, **given)


def ended(rest: Rest, import_id: str, seconds: float = 30) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job = rest.ok("GET", f"/connectors/import/status/{import_id}")
        if job["status"] != "processing":
            return job
        time.sleep(0.1)
    raise AssertionError("the import did not end")


def traces(home: Path, secret: str) -> list[str]:
    """Files below ``home`` that hold a text."""
    wanted = secret.encode()
    return [str(p.relative_to(home)) for p in home.rglob("*") if p.is_file() and wanted in p.read_bytes()]


def test_an_import_from_start_to_end(rest: Rest, provider: Provider) -> None:
    provider.add_v7("roads", 3)
    found = rest.ok("POST", "/connectors/validate", json={"provider": "v7", "api_key": KEY})
    assert found == {
        "valid": True,
        "workspace": "road-team",
        "datasets": [{"id": "100", "name": "Roads", "slug": "roads", "image_count": 3, "version": None}],
        "error": None,
    }
    begun = start(rest, {**found["datasets"][0], "anything": 1}).json()
    assert (begun["status"], begun["total_images"]) == ("processing", 3)
    job = ended(rest, begun["import_id"])
    (told,) = job.pop("datasets")
    here = rest.ok("GET", "/datasets/by-name/Roads")["dataset"]
    assert told == {
        "name": "Roads",
        "dataset_name": "Roads",
        "project_id": here["id"],
        "status": "completed",
        "imported": 3,
        "images_imported": 3,
        "skipped": 0,
        "failed": 0,
        "total_images": 3,
        "error": None,
    }
    assert job == {
        "import_id": begun["import_id"],
        "status": "completed",
        "progress": 100.0,
        "total_images": 3,
        "imported_images": 3,
        "failed_images": 0,
        "current_dataset": "",
        "error_message": None,
        "failures": [],
        "notes": {},
    }


def test_the_key_is_nowhere(
    rest: Rest, provider: Provider, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    """Not after an import and its repetition, one that failed, one that was refused, and one rehearsed."""
    caplog.set_level(logging.DEBUG)
    home = rest.runtime.settings.home
    provider.add_v7("roads", 2)
    provider.projects["empty"] = {}
    rest.ok("POST", "/connectors/validate", json={"provider": "v7", "api_key": KEY})
    with_key = {"headers": {"Idempotency-Key": "once"}}
    begun = start(rest, ROADS, **with_key)
    assert ended(rest, begun.json()["import_id"])["status"] == "completed"
    again = start(rest, ROADS, **with_key)
    assert again.json()["import_id"] == begun.json()["import_id"]
    assert again.headers["idempotent-replayed"] == "true"
    failing = start(rest, {"id": "empty", "name": "empty", "slug": "empty"}, provider="roboflow")
    assert ended(rest, failing.json()["import_id"])["status"] == "error"
    wrong = f"{KEY}-wrong"  # holds the key
    refused = start(rest, ROADS, key=wrong)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "connector_key_refused")
    malformed = rest.send("POST", "/connectors/validate", json={"provider": "x", "api_key": KEY})
    dry = start(rest, {**ROADS, "name": "dry"}, headers={"X-Dry-Run": "true"})
    assert (malformed.status_code, dry.status_code) == (422, 200)
    for told in (begun, again, failing, refused, malformed, dry):
        assert KEY not in told.text
    tool = rest.send("POST", "/_dispatch/validate_connector", json={"provider": "v7", "api_key": KEY})
    bad = rest.send("POST", "/_dispatch/import_from_connector", json={"provider": "v7", "api_key": [KEY]})
    assert (tool.status_code, bad.status_code) == (200, 422)
    assert KEY not in tool.text + bad.text
    rest.runtime.studio.audit.flush()
    assert '"api_key":"***"' in _arguments(rest)
    assert traces(home, KEY) == []
    assert KEY not in caplog.text
    captured = capfd.readouterr()
    assert KEY not in captured.out + captured.err
    rest.runtime.studio.database.close()  # writes what is in the log of writes into the file
    assert traces(home, KEY) == []


def _arguments(rest: Rest) -> str:
    with rest.runtime.studio.database.read() as connection:
        return str(connection.execute(sa.text("SELECT tool, arguments FROM calls")).all())


def test_an_import_whose_process_dies_ends_and_the_next_one_goes_on(rest: Rest, provider: Provider) -> None:
    provider.add_v7("roads", 60)
    provider.picture_seconds = 0.15
    import_id = start(rest, ROADS).json()["import_id"]
    until = time.monotonic() + 30
    while time.monotonic() < until:
        done = rest.ok("GET", f"/connectors/import/status/{import_id}")["imported_images"]
        if done:
            break
        time.sleep(0.05)
    assert 0 < done < 60
    pid = _process_of(rest, import_id)
    os.kill(pid, signal.SIGKILL)
    while is_there(pid):
        time.sleep(0.05)
    provider.picture_seconds = 0.0
    assert rest.ok("GET", f"/connectors/import/status/{import_id}")["status"] == "processing"
    _one_round_of_a_worker(rest)
    job = ended(rest, import_id)
    assert (job["status"], job["datasets"][0]["status"]) == ("error", "error")
    assert "import_from_connector again" in job["error_message"]
    kept = rest.ok("GET", "/datasets/by-name/roads")["dataset"]["image_count"]
    assert done <= kept < 60
    before = provider.count("uploads")
    job = ended(rest, start(rest, ROADS).json()["import_id"])
    assert (job["status"], job["imported_images"], job["failed_images"]) == ("completed", 60, 0)
    assert job["datasets"][0]["skipped"] == kept
    assert provider.count("uploads") == before + 60 - kept
    assert rest.ok("GET", "/datasets/by-name/roads")["dataset"]["image_count"] == 60
    assert traces(rest.runtime.settings.home, KEY) == []


def _process_of(rest: Rest, import_id: str) -> int:
    """The process that does an import: the one that holds the lock of the job's instance."""
    studio = rest.runtime.studio
    with studio.database.read() as connection:
        query = sa.select(jobs.c.instance).where(jobs.c.uuid == import_id)
        instance = connection.execute(query).scalar_one()
    assert instance != studio.liveness.instance
    lock = (studio.home / "run" / f"{instance}.lock").stat()
    for line in Path("/proc/locks").read_text().splitlines():
        if line.split()[5].endswith(f":{lock.st_ino}"):
            return int(line.split()[4])
    raise AssertionError("nobody holds the lock")


def _one_round_of_a_worker(rest: Rest) -> None:
    """As the next start of any process of the workspace would."""
    import threading

    stop = threading.Event()
    worker = Worker(rest.runtime.studio, WorkerOptions(1))
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    until = time.monotonic() + 30
    while time.monotonic() < until and rest.runtime.studio.jobs.any_unfinished():
        time.sleep(0.1)
    stop.set()
    thread.join(20)


def test_cancel(rest: Rest, provider: Provider) -> None:
    provider.add_v7("roads", 60)
    provider.picture_seconds = 0.3
    import_id = start(rest, ROADS).json()["import_id"]
    assert rest.no("POST", f"/connectors/import/cancel/{import_id}", role="elsewhere")[0] == 404
    answer_ = rest.ok("POST", f"/connectors/import/cancel/{import_id}")
    assert answer_ == {"status": "cancelled", "import_id": import_id}
    assert rest.no("POST", f"/connectors/import/cancel/{import_id}") == (409, "job_ended")


def test_roles_and_refusals(rest: Rest, provider: Provider) -> None:
    provider.add_v7("roads", 1)
    key = {"provider": "v7", "api_key": KEY}
    assert rest.no("POST", "/connectors/validate", role="viewer", json=key)[0] == 403
    assert rest.ok("POST", "/connectors/validate", role="member", json=key)["valid"]
    none = {"total_images": 0, "estimated_size_bytes": 0}
    assert rest.no("POST", "/connectors/check-limits", role="viewer", json=none)[0] == 403
    assert rest.ok("POST", "/connectors/check-limits", json=none)["allowed"] is True
    assert rest.no("POST", "/connectors/check-limits", json={**none, "total_images": -1})[0] == 422
    assert rest.no("POST", "/connectors/import/start", json={**key, "datasets": []})[0] == 422
    assert start(rest, ROADS, role="viewer").status_code == 403
    assert start(rest, {**ROADS, "id": "no", "slug": "no"}).status_code == 404
    assert rest.no("GET", "/connectors/import/status/no") == (404, "job_not_found")
    job = rest.runtime.studio.jobs.start(rest.owner, "verify_images", {"dataset": _dataset(rest)})
    assert rest.no("GET", f"/connectors/import/status/{job.id}") == (404, "import_not_found")
    provider.rule("GET /api/users", *[answer({}, 500)] * 9)
    assert rest.no("POST", "/connectors/validate", json=key) == (503, "connector_unavailable")
    provider.rules.clear()
    provider.rule("GET /api/users", *[(200, {}, b"<html>")] * 9)
    assert rest.no("POST", "/connectors/validate", json=key) == (501, "connector_answer")
    assert start(rest, ROADS).status_code == 501


def _dataset(rest: Rest) -> str:
    return rest.runtime.studio.datasets.create(rest.owner, name="any").name
