"""``tintype audit``: filters, roles, JSON lines, and agents that write to the terminal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from support.doors import serve, stop

from tintype_server import create_toolkit
from tintype_server.cli import audit
from tintype_server.cli.group import root
from tintype_server.cli.interrupts import until_interrupted
from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.errors import TintypeError
from tintype_studio.history.audit import Audit
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.roles import Role

EVIL = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\r\n\x9b31m[red]\x7f"
"""Sets a title, clears the screen, turns the writing direction, returns the carriage, colours, marks up."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def member(home: Path) -> str:
    """A member's key in a workspace where the owner and the member called tools."""
    studio = open_studio(Settings(home=home))
    owner = studio.keys.authenticate(saved_api_key(home))
    secret, _ = studio.keys.create(owner, name="m", role=Role.MEMBER)
    studio.close()
    call(home, "create_dataset", {"name": "road"}, agent="Claude Code 2.1")
    call(home, "get_dataset", {"name": "nowhere"}, agent="Claude Code 2.1")
    call(home, "list_datasets", {}, key=secret, agent="robot 1.0")
    call(home, "delete_dataset", {"name": "road", "confirm_name": "road"}, key=secret, agent=EVIL)
    return secret


def call(home: Path, tool: str, arguments: dict[str, Any], *, agent: str, key: str | None = None) -> None:
    with create_toolkit(home=home, api_key=key, agent=agent) as toolkit, suppress(TintypeError):
        toolkit.call(tool, arguments)


def run(home: Path, *flags: str, key: str | None = None) -> Result:
    front = ["--home", str(home), *(["--api-key", key] if key else [])]
    return CliRunner().invoke(root, [*front, "audit", *flags])


def rows(home: Path, *flags: str, key: str | None = None) -> list[dict[str, Any]]:
    result = run(home, "--json", *flags, key=key)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def tools(home: Path, *flags: str, key: str | None = None) -> list[str]:
    return [row["tool"] for row in rows(home, *flags, key=key)]


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ([], ["delete_dataset", "list_datasets", "get_dataset", "create_dataset"]),
        (["--limit", "2"], ["delete_dataset", "list_datasets"]),
        (["--tool", "get_dataset"], ["get_dataset"]),
        (["--outcome", "ok"], ["list_datasets", "create_dataset"]),
        (["--outcome", "refused"], ["delete_dataset", "get_dataset"]),
        (["--outcome", "role_required"], ["delete_dataset"]),
        (["--agent", "claude"], ["get_dataset", "create_dataset"]),
        (["--agent", "claude", "--outcome", "ok"], ["create_dataset"]),
        (["--since", "2h"], ["delete_dataset", "list_datasets", "get_dataset", "create_dataset"]),
        (["--until", "2h"], []),
        (["--since", "2020-01-01", "--until", "2020-01-02T03:04:05+05:30"], []),
        (["--session", "none"], []),
    ],
)
def test_filters(home: Path, member: str, flags: list[str], found: list[str]) -> None:
    assert tools(home, *flags) == found


def test_one_call_and_the_calls_of_one_key(home: Path, member: str) -> None:
    wanted = rows(home)[2]
    assert rows(home, "--call", wanted["id"]) == [wanted]
    assert tools(home, "--key", member[:12]) == ["delete_dataset", "list_datasets"]
    assert tools(home, "--key", wanted["api_key_id"]) == ["get_dataset", "create_dataset"]


def test_an_iso_time_is_utc_unless_it_says_otherwise(home: Path, member: str) -> None:
    now = datetime.now(UTC)
    later = (now + timedelta(minutes=1)).replace(tzinfo=None).isoformat()
    assert len(rows(home, "--until", later)) == 4
    assert rows(home, "--until", f"{later}+02:00") == []


def test_pages(home: Path, member: str) -> None:
    first = rows(home, "--limit", "3")
    second = rows(home, "--limit", "3", "--before", str(first[-1]["row"]))
    assert [row["tool"] for row in (*first, *second)] == tools(home)


def test_a_row_says_who_what_and_how_it_ended(home: Path, member: str) -> None:
    row = rows(home, "--tool", "get_dataset")[0]
    assert (row["agent"], row["door"], row["role"], row["outcome"]) == (
        "Claude Code 2.1",
        "toolkit",
        "owner",
        "dataset_not_found",
    )
    assert row["arguments"]["name"] == "nowhere"
    assert datetime.fromisoformat(row["created_at"]).utcoffset() == timedelta(0)


def test_a_member_sees_its_own_calls_and_is_told_so(home: Path, member: str) -> None:
    result = run(home, "--json", key=member)
    assert [json.loads(line)["tool"] for line in result.stdout.splitlines()] == [
        "delete_dataset",
        "list_datasets",
    ]
    assert "role admin" in result.stderr
    assert "role admin" not in run(home, "--json").stderr


def test_the_table_names_key_agent_tool_outcome(home: Path, member: str) -> None:
    lines = run(home, "--agent", "Claude").stdout.splitlines()
    assert lines[0].split() == ["time", "(UTC)", "key", "agent", "tool", "outcome", "credits", "duration"]
    assert ("Claude Code 2.1" in lines[1], "get_dataset" in lines[1]) == (True, True)
    assert "dataset_not_found" in lines[1]
    assert saved_api_key(home)[:12] in lines[1]  # type: ignore[index]
    assert len(lines) == 3


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_an_agents_text_is_shown_and_not_obeyed(home: Path, member: str, flags: list[str]) -> None:
    shown = run(home, "--tool", "delete_dataset", *flags).stdout
    assert [c for c in shown if not c.isprintable() and c != "\n"] == []
    if flags:
        assert json.loads(shown)["agent"] == EVIL
    else:
        assert r"\x1b]0;owned\x07" in shown


@pytest.mark.parametrize(
    "flags",
    [
        ["--since", "yesterday"],
        ["--since", "9999999h"],
        ["--since", "999999w"],
        ["--since", ""],
        ["--limit", "0"],
        ["--limit", "1001"],
        ["--follow", "--until", "1h"],
        ["--follow", "--before", "3"],
    ],
)
def test_a_slip_is_a_usage_error(home: Path, flags: list[str]) -> None:
    result = run(home, *flags)
    assert (result.exit_code, result.stdout) == (2, "")


def test_follow_shows_what_comes_until_interrupted(home: Path, member: str) -> None:
    command = [sys.executable, "-m", "tintype_server", "--home", str(home), "audit", "--follow", "--json"]
    follower = subprocess.Popen(
        [*command, "--limit", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert follower.stdout is not None
    assert follower.stderr is not None
    try:
        seen = [json.loads(follower.stdout.readline())["tool"] for _ in range(2)]
        call(home, "create_dataset", {"name": "one"}, agent="a")
        call(home, "list_datasets", {}, agent="a")
        seen += [json.loads(follower.stdout.readline())["tool"] for _ in range(2)]
        call(home, "create_dataset", {"name": "two"}, agent="a")
        seen.append(json.loads(follower.stdout.readline())["tool"])
        follower.send_signal(signal.SIGINT)
        rest, errors = follower.communicate(timeout=15)
    finally:
        follower.kill()
    assert seen == ["list_datasets", "delete_dataset", "create_dataset", "list_datasets", "create_dataset"]
    assert (follower.returncode, rest, errors) == (0, "", "")


def test_ctrl_c_in_the_middle_of_a_read_ends_following_in_order(
    home: Path, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt that came up inside the driver could be lost there, or come out as another error."""
    monkeypatch.setattr(audit, "POLL_SECONDS", 0.0)
    listed, done = Audit.list, []

    def interrupted(self: Audit, *arguments: Any, **named: Any) -> Any:
        with self._db.read():
            signal.raise_signal(signal.SIGINT)
            found = listed(self, *arguments, **named)
        done.append(named)
        return found

    before = signal.getsignal(signal.SIGINT)
    shown = run(home, "--json", "--limit", "1").stdout
    reads = 0

    def second(self: Audit, *arguments: Any, **named: Any) -> Any:
        nonlocal reads
        reads += 1
        return (listed if reads == 1 else interrupted)(self, *arguments, **named)

    monkeypatch.setattr(Audit, "list", second)
    result = run(home, "--json", "--limit", "1", "--follow")
    assert (result.exit_code, result.stdout, result.stderr) == (0, shown, "")
    assert len(done) == 1
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def interruptible() -> Iterator[None]:
    """As at a terminal: what runs in the background may have been started deaf to Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_the_second_ctrl_c_interrupts_as_always() -> None:
    with until_interrupted() as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGINT)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_follow_ends_when_its_key_is_revoked(home: Path, member: str) -> None:
    follower = subprocess.Popen(
        [sys.executable, "-m", "tintype_server", "--home", str(home), "--api-key", member, "audit", "-f"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    try:
        assert "time (UTC)" in follower.stdout.readline()
        studio = open_studio(Settings(home=home))
        owner = studio.keys.authenticate(saved_api_key(home))
        studio.keys.revoke(owner, prefix=studio.keys.authenticate(member).key_uuid)
        studio.close()
        _, errors = follower.communicate(timeout=15)
    finally:
        follower.kill()
    assert follower.returncode == 1
    assert "invalid_key" in errors


def test_calls_of_a_running_server_show_within_a_second(home: Path, member: str) -> None:
    process, url = serve(home)
    try:
        httpx.post(
            f"{url}/api/v1/developer/_dispatch/list_datasets",
            headers={"X-API-Key": member, "User-Agent": "far agent/3"},
        ).raise_for_status()
        deadline = time.monotonic() + 5
        while not (found := rows(home, "--agent", "far agent")):
            assert time.monotonic() < deadline
    finally:
        stop(process)
    assert [(row["tool"], row["door"], row["agent"]) for row in found] == [
        ("list_datasets", "dispatch", "far agent/3")
    ]


def test_a_server_that_is_told_to_end_loses_no_read(home: Path, member: str) -> None:
    process, url = serve(home)
    headers = {"X-API-Key": member, "User-Agent": "last agent"}
    with httpx.Client(base_url=url, headers=headers) as http:
        for _ in range(5):
            http.post("/api/v1/developer/_dispatch/list_datasets").raise_for_status()
    stop(process)
    assert tools(home, "--agent", "last agent") == ["list_datasets"] * 5
