"""Prometheus metrics: what is counted, with bounded labels, and who may read it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from support.telemetry import DISPATCH, SECRET, Probe, ProbeArgs, ProbeResult, owner_key, request

from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.http.app import build_app
from tintype_server.runtime import Runtime
from tintype_server.telemetry.metrics import Metrics
from tintype_server.telemetry.observe import observing
from tintype_studio import clock
from tintype_studio.errors import RateLimited, TintypeError, Unavailable
from tintype_studio.identity.keys import insert_key
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import organizations
from tintype_tools.call import Call
from tintype_tools.registry import Registry
from tintype_tools.spec import Result

Sample = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Sample:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Counted:
    """A dispatcher whose calls are counted."""

    def __init__(self, runtime: Runtime, registry: Registry) -> None:
        self.metrics = Metrics(runtime.studio.database)
        guard = observing([self.metrics])
        self.dispatch = Dispatcher(runtime.studio, registry, runtime.settings, around=(guard,))

    def text(self) -> str:
        return self.metrics.exposition("")[0].decode()

    def value(self, name: str, **labels: str) -> float | None:
        return parsed(self.text()).get((name, frozenset(labels.items())))


@pytest.fixture
def counted(runtime: Runtime, registry: Registry) -> Counted:
    return Counted(runtime, registry)


def test_calls_are_counted_by_tool_door_and_outcome(runtime: Runtime, counted: Counted) -> None:
    counted.dispatch(request(runtime))
    counted.dispatch(request(runtime, door="stdio"))
    for changes in ({"arguments": {"credits": 10**6}}, {"api_key": None}, {"arguments": {"zzz": SECRET}}):
        with pytest.raises(TintypeError):
            counted.dispatch(request(runtime, **changes))
    probe = {"tool": "run_probe"}
    for door, outcome in (
        ("toolkit", "ok"),
        ("stdio", "ok"),
        ("toolkit", "confirmation_required"),
        ("toolkit", "missing_key"),
        ("toolkit", "invalid_arguments"),
    ):
        assert counted.value("tintype_calls_total", **probe, door=door, outcome=outcome) == 1
    assert counted.value("tintype_call_seconds_count", **probe) == 5
    assert counted.value("tintype_credits_charged_total", **probe) == 10


def test_a_replay_is_charged_once(runtime: Runtime, counted: Counted) -> None:
    for _ in range(3):
        counted.dispatch(request(runtime, idempotency_key="k"))
    assert counted.value("tintype_credits_charged_total", tool="run_probe") == 5
    assert counted.value("tintype_calls_total", tool="run_probe", door="toolkit", outcome="ok") == 3


def test_callers_cannot_make_up_labels(runtime: Runtime, counted: Counted) -> None:
    before = len(parsed(counted.text()))
    for n in range(30):
        with pytest.raises(TintypeError):
            counted.dispatch(request(runtime, tool=f"made_up_{n}", agent=f"agent {n}", session=f"s{n}"))
    assert counted.value("tintype_calls_total", tool="unknown", door="toolkit", outcome="unknown_tool") == 30
    assert "made_up" not in counted.text()
    one_more = len(parsed(counted.text())) - before
    for n in range(30):
        with pytest.raises(TintypeError):
            counted.dispatch(request(runtime, tool=f"made_up_again_{n}"))
    assert len(parsed(counted.text())) - before == one_more


def test_gauges_follow_a_running_call_and_its_hold(runtime: Runtime, counted: Counted, probe: Probe) -> None:
    seen: list[tuple[float | None, float | None]] = []

    def look(_args: ProbeArgs, _call: Call) -> Result:
        seen.append((counted.value("tintype_calls_in_flight"), counted.value("tintype_holds")))
        return ProbeResult(text="")

    probe.behave = look
    counted.dispatch(request(runtime))
    assert seen == [(1, 1)]
    assert (counted.value("tintype_calls_in_flight"), counted.value("tintype_holds")) == (0, 0)


def test_refusals_for_too_many_calls_are_counted(runtime: Runtime, counted: Counted, probe: Probe) -> None:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    slow, _ = runtime.studio.keys.create(owner, name="slow", role=Role.MEMBER, rate_limit=1, max_concurrent=1)

    def call_again(_args: ProbeArgs, _call: Call) -> Result:
        with pytest.raises(RateLimited):
            counted.dispatch(request(runtime, api_key=slow, tool="list_datasets", arguments={}))
        return ProbeResult(text="")

    probe.behave = call_again
    counted.dispatch(request(runtime, api_key=slow))
    assert counted.value("tintype_rate_limited_total") == 1
    with pytest.raises(RateLimited):
        counted.dispatch(request(runtime, api_key=slow))
    assert counted.value("tintype_rate_limited_total") == 2


def test_calls_that_wait_for_a_person_are_counted(runtime: Runtime, counted: Counted) -> None:
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    runtime.studio.datasets.create(owner, name="d")
    assert counted.value("tintype_approvals_pending") == 0
    with pytest.raises(TintypeError) as raised:
        counted.dispatch(request(runtime, tool="delete_dataset", arguments={"name": "d"}))
    assert raised.value.code == "confirmation_required"
    assert counted.value("tintype_approvals_pending") == 1


def test_gauges_that_cannot_be_read_leave_the_rest(
    runtime: Runtime, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise Unavailable("The database is busy.")

    counted.dispatch(request(runtime))
    monkeypatch.setattr(runtime.studio.database, "read", fail)
    assert counted.value("tintype_calls_total", tool="run_probe", door="toolkit", outcome="ok") == 1
    assert counted.value("tintype_holds") is None


def make_key(home: Path, role: str) -> str:
    flags = ["keys", "create", "--role", role, "--name", role, "--json"]
    made = subprocess.run(
        [sys.executable, "-m", "tintype_server", "--home", str(home), *flags],
        capture_output=True,
        text=True,
        check=True,
    )
    key: str = json.loads(made.stdout)["api_key"]
    return key


def test_a_running_server_is_scraped(served: tuple[Path, str]) -> None:
    home, url = served
    key = owner_key(home)
    with httpx.Client(base_url=url, headers={"X-API-Key": key}) as http:
        http.post(f"{DISPATCH}/create_dataset", json={"name": SECRET}).raise_for_status()
        assert http.post(f"{DISPATCH}/get_dataset", json={"name": f"not {SECRET}"}).status_code == 404
        assert http.post(f"{DISPATCH}/{SECRET}", json={}).status_code == 404
        scraped = http.get("/metrics")
    assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = parsed(scraped.text)
    for tool, outcome in (
        ("create_dataset", "ok"),
        ("get_dataset", "dataset_not_found"),
        ("unknown", "unknown_tool"),
    ):
        labels = {"tool": tool, "door": "dispatch", "outcome": outcome}
        assert found["tintype_calls_total", frozenset(labels.items())] == 1
    assert found["tintype_call_seconds_count", frozenset({("tool", "create_dataset")})] == 1
    assert found["process_resident_memory_bytes", frozenset()] > 0
    for never in (SECRET, key, key[:12]):
        assert never not in scraped.text


def test_open_metrics_is_spoken(served: tuple[Path, str]) -> None:
    home, url = served
    headers = {"X-API-Key": owner_key(home), "Accept": "application/openmetrics-text; version=1.0.0"}
    scraped = httpx.get(f"{url}/metrics", headers=headers)
    assert scraped.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert scraped.text.rstrip().endswith("# EOF")


def test_metrics_take_a_key_as_prometheus_sends_it(served: tuple[Path, str]) -> None:
    home, url = served
    headers = {"Authorization": f"Bearer {make_key(home, 'admin')}"}
    assert httpx.get(f"{url}/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("role", "status"), [(None, 401), ("viewer", 403), ("member", 403), ("admin", 200), ("owner", 200)]
)
def test_metrics_need_an_admins_key(served: tuple[Path, str], role: str | None, status: int) -> None:
    home, url = served
    headers = {"X-API-Key": make_key(home, role)} if role else {}
    answer = httpx.get(f"{url}/metrics", headers=headers)
    assert answer.status_code == status
    assert ("tintype_calls_total" in answer.text) == (status == 200)


def test_another_organizations_owner_does_not_see_the_servers_metrics(runtime: Runtime) -> None:
    with runtime.studio.database.write() as connection:
        organization_id = connection.execute(
            sa.insert(organizations)
            .values(uuid=clock.new_id(), name="s", slug="s", tier="free", created_at=clock.now())
            .returning(organizations.c.id)
        ).scalar_one()
        stranger = insert_key(
            connection, runtime.studio.signer, organization_id=organization_id, name="s", role=Role.OWNER
        )
    counting = Runtime.over(runtime.studio, replace(runtime.settings, metrics=True))
    client = TestClient(build_app(counting), raise_server_exceptions=False)
    assert client.get("/metrics", headers={"X-API-Key": stranger}).status_code == 403
    assert client.get("/metrics", headers={"X-API-Key": owner_key(runtime.settings.home)}).status_code == 200


def test_without_the_setting_there_are_no_metrics(runtime: Runtime) -> None:
    client = TestClient(build_app(runtime))
    assert client.get("/metrics", headers={"X-API-Key": runtime.local_api_key() or ""}).status_code == 404
