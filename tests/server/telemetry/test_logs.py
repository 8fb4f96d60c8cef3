"""JSON logs, line by line, through several doors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from support.telemetry import DISPATCH, SECRET, collector, owner_key


def lines(text: str) -> list[dict[str, Any]]:
    """The JSON lines; what ``tintype serve`` says to the person who started it is none."""
    return [json.loads(line) for line in text.splitlines() if not line.startswith("Owner key: ")]


def call_lines(text: str) -> list[dict[str, Any]]:
    return [line for line in lines(text) if line["logger"] == "tintype.calls"]


def test_a_running_server_logs_a_line_per_call(served: tuple[Path, str]) -> None:
    home, url = served
    key, log = owner_key(home), home.with_suffix(".log")
    before = log.stat().st_size
    headers = {"X-API-Key": key, "User-Agent": 'robot "2"'}
    with httpx.Client(base_url=url, headers=headers) as http:
        made = http.post(f"{DISPATCH}/create_dataset", json={"name": f"{SECRET} 2"})
        http.post(f"{DISPATCH}/get_dataset", json={"name": f"no {SECRET}"})
        http.post(f"{DISPATCH}/get_dataset", json={"name": "x"}, headers={"X-API-Key": f"pk_live_{SECRET}"})
    text = log.read_text()[before:]
    created, missing, refused = call_lines(text)
    assert created.pop("duration_ms") > 0
    assert created.pop("time").endswith("+00:00")
    assert created.pop("session")
    assert len(created.pop("organization")) == 36
    assert created == {
        "level": "info",
        "logger": "tintype.calls",
        "message": "call",
        "call_id": made.headers["x-request-id"],
        "tool": "create_dataset",
        "door": "dispatch",
        "outcome": "ok",
        "credits": 0,
        "key": key[:12],
        "agent": 'robot "2"',
        "replayed": False,
        "dry_run": False,
        "nested": False,
    }
    assert (missing["outcome"], missing["level"]) == ("dataset_not_found", "info")
    assert (refused["outcome"], refused["key"], refused["organization"]) == ("invalid_key", None, None)
    assert SECRET not in text
    assert key not in text


def test_over_stdio_the_log_keeps_to_stderr(home: Path, tmp_path: Path) -> None:
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "pipe\x1b[2J", "version": "1"},
    }
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "create_dataset", "arguments": {"name": SECRET}},
        },
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "tintype_server", "mcp", "--home", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"TINTYPE_LOG_FORMAT": "json", "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for message in messages:
            process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()
        answers: list[Any] = []
        while len(answers) < 2:  # between them the server may tell that its lists have changed
            told = json.loads(process.stdout.readline())
            answers += [told] if "id" in told else []
        rest, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert [answer["id"] for answer in answers] == [1, 2]
    assert all("id" not in json.loads(told) for told in rest.splitlines())
    [line] = call_lines(errors)
    assert (line["tool"], line["door"], line["outcome"], line["agent"]) == (
        "create_dataset",
        "stdio",
        "ok",
        "pipe\x1b[2J 1",
    )
    assert "\x1b" not in errors
    assert SECRET not in errors


FAILS = """
import sys
from pathlib import Path
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import TintypeError
from tintype_tools.call import Request

def fail(*_args, **_kwargs):
    try:
        raise KeyError("hush-hush-argument")
    except KeyError as error:
        raise RuntimeError("dsn=postgres://u:hush-hush-argument@h") from error

for log_format, traces in (("json", False), ("json", True)):
    runtime = Runtime.open(Settings(home=Path(sys.argv[1]), log_format=log_format, traces=traces))
    runtime.studio.datasets.list = fail
    try:
        runtime.dispatch(Request(tool="list_datasets", arguments={}, api_key=runtime.local_api_key(),
            door="cli", files=everything(runtime.settings)))
    except TintypeError:
        pass
    runtime.close()
"""


def test_a_defect_is_told_by_type_and_place_without_its_text(home: Path) -> None:
    with collector() as (endpoint, received):
        done = subprocess.run(
            [sys.executable, "-c", FAILS, str(home)],
            capture_output=True,
            text=True,
            check=True,
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "PATH": "/usr/bin:/bin"},
        )
    assert done.stdout == ""
    found = lines(done.stderr)
    assert [(line["logger"], line["level"]) for line in found] == [
        ("tintype", "error"),
        ("tintype.calls", "error"),
    ] * 2
    defect, call = found[0], found[1]
    assert call["outcome"] == "internal"
    assert call["call_id"] in defect["message"]
    assert [error["type"] for error in defect["exception"]] == ["builtins.RuntimeError", "builtins.KeyError"]
    assert all(error["at"][-1].endswith(" fail") for error in defect["exception"])
    assert SECRET not in done.stderr
    [span] = [s for m in received for r in m.resource_spans for c in r.scope_spans for s in c.spans]
    assert found[3]["trace_id"] == span.trace_id.hex()
    assert "trace_id" not in call
    assert SECRET not in str(received)


def test_commands_keep_stdout_for_their_answer(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tintype_server", "--home", str(home), "call", "list_datasets"],
        capture_output=True,
        text=True,
        check=True,
        env={"TINTYPE_LOG_FORMAT": "json", "PATH": "/usr/bin:/bin"},
    )
    assert json.loads(done.stdout)["count"] == 0
    assert [line["door"] for line in call_lines(done.stderr)] == ["cli"]
