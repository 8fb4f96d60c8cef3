"""The official conformance suite: https://www.npmjs.com/package/@modelcontextprotocol/conformance

Each revision's required scenarios, frozen at its release, against our HTTP application with the fixtures that
the suite asks for. What is not required is run as well; what of it fails is listed here, with the reason.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.doors import free_port, stop

from judges.judge import run_node

pytestmark = pytest.mark.sdk

TASKS = "the tasks extension is not served: long work is a job with tools of its own, on every client"
NOT_PASSED = {
    "server-sse-polling": "a stream is not resumed: a call that was cut off is asked for again, by its key",
    **dict.fromkeys(
        (
            *("tasks-lifecycle", "tasks-capability-negotiation", "tasks-wire-fields"),
            *("tasks-request-state-removal", "tasks-mrtr-input", "tasks-request-headers"),
            *("tasks-dispatch-and-envelope", "tasks-required-task-error", "tasks-mrtr-composition"),
        ),
        TASKS,
    ),
}
"""Scenarios that a revision does not require, and why they are not passed."""
LEAST_CHECKS = {"2025-11-25": 81, "2026-07-28": 150}


@pytest.fixture(scope="module")
def fixtures_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    script = Path(__file__).parent / "fixture_server.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path_factory.mktemp("fixtures") / "home"), str(port)]
    )
    url = f"http://localhost:{port}"
    for _ in range(300):
        try:
            if httpx.get(f"{url}/healthz").status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
        assert process.poll() is None, "the server ended"
    yield f"{url}/mcp"
    stop(process)


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_a_revisions_requirements_are_met(fixtures_url: str, tmp_path: Path, revision: str) -> None:
    done = run_node(
        "conformance", "server", "--url", fixtures_url, "--requirements", revision, "-o", str(tmp_path)
    )
    assert "Total:" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    statuses: dict[str, Counter[str]] = {}
    problems: dict[str, list[str]] = {}
    for checks in tmp_path.glob("*/checks.json"):
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT.*", "", checks.parent.name.removeprefix("server-"))
        for check in json.loads(checks.read_text()):
            statuses.setdefault(scenario, Counter())[check["status"]] += 1
            if check["status"] in {"FAILURE", "WARNING"}:
                problems.setdefault(scenario, []).append(f"{check['id']}: {check.get('errorMessage')}")
    assert {k: v for k, v in problems.items() if k not in NOT_PASSED} == {}
    assert sum(counts["SUCCESS"] for counts in statuses.values()) >= LEAST_CHECKS[revision]
    asked = {scenario for scenario in NOT_PASSED if scenario in statuses}
    assert set(problems) == asked  # whatever begins to pass is required from then on
