"""How async doors run calls: so many threads at a time, and quick reads without one."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_server.workers import MAX_CALLS_AT_ONCE, Workers
from tintype_studio.catalog.datasets import DatasetClass
from tintype_tools.call import Outcome, Request


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path / "home"))
    owner = opened.studio.keys.authenticate(opened.local_api_key())
    opened.studio.datasets.create(owner, name="d")
    yield opened
    opened.close()


def request(runtime: Runtime, tool: str, **arguments: Any) -> Request:
    return Request(
        tool=tool,
        arguments=arguments,
        api_key=runtime.local_api_key(),
        door="http",
        files=everything(runtime.settings),
    )


class Spy:
    """The dispatcher, with a note of the thread that ran each call."""

    def __init__(self, runtime: Runtime) -> None:
        self.threads: list[int] = []
        self._dispatch = runtime.dispatch

    def __call__(self, request: Request) -> Outcome:
        self.threads.append(threading.get_ident())
        return self._dispatch(request)


@pytest.mark.parametrize(
    ("tool", "arguments", "quick"),
    [
        ("get_dataset", {"name": "d"}, True),
        ("get_dataset", {"name": "d", "include_images": True}, False),
        ("estimate_credit_cost", {"operation": "image_inference"}, True),
        ("get_credit_balance", {}, True),
        ("list_datasets", {}, False),
        ("create_dataset", {"name": "e"}, False),
    ],
)
def test_only_quick_reads_run_on_the_loop(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tool: str, arguments: dict[str, Any], quick: bool
) -> None:
    spy = Spy(runtime)
    monkeypatch.setattr(Runtime, "dispatch", spy)
    runtime.studio.keys.authenticate(runtime.local_api_key())
    anyio.run(Workers(runtime).run, request(runtime, tool, **arguments))
    assert (spy.threads == [threading.get_ident()]) is quick


@pytest.mark.parametrize(("budget", "quick"), [(300, False), (24_999, False), (25_000, True), (0, True)])
def test_a_call_whose_answer_may_be_cut_takes_a_thread(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, budget: int, quick: bool
) -> None:
    spy = Spy(runtime)
    monkeypatch.setattr(Runtime, "dispatch", spy)
    runtime.studio.keys.authenticate(runtime.local_api_key())
    made = replace(request(runtime, "get_dataset", name="d"), max_response_tokens=budget)
    anyio.run(Workers(runtime).run, made)
    assert (spy.threads == [threading.get_ident()]) is quick


def test_a_key_that_must_be_looked_up_takes_a_thread(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(runtime)
    monkeypatch.setattr(Runtime, "dispatch", spy)
    monkeypatch.setattr(runtime.studio.keys, "cached", lambda _key: None)
    anyio.run(Workers(runtime).run, request(runtime, "get_dataset", name="d"))
    assert spy.threads != [threading.get_ident()]


def test_callers_that_hang_up_start_no_threads_beyond_the_limit(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave, running, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    def slow(_request: Request) -> Outcome:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        leave.wait(10)
        with lock:
            running[0] -= 1
        return Outcome("id", {})

    monkeypatch.setattr(Runtime, "dispatch", staticmethod(slow))
    made = [request(runtime, "list_datasets") for _ in range(3 * MAX_CALLS_AT_ONCE)]

    async def crowd() -> int:
        workers = Workers(runtime)
        async with anyio.create_task_group() as tasks:
            for one in made:
                tasks.start_soon(workers.run, one)
            await anyio.sleep(0.3)
            tasks.cancel_scope.cancel()
        at_hang_up = running[0]
        with anyio.move_on_after(0.2):
            await workers.run(request(runtime, "list_datasets"))
        started_meanwhile = most[0]
        leave.set()
        await workers.run(request(runtime, "list_datasets"))
        return max(at_hang_up, started_meanwhile)

    assert anyio.run(crowd) == MAX_CALLS_AT_ONCE
    assert sum(one.cancelled.is_set() for one in made) >= MAX_CALLS_AT_ONCE


def test_what_is_cut_from_a_quick_answer_is_parked_off_the_loop(runtime: Runtime) -> None:
    """While somebody else holds the database's write lock, for a moment, the loop goes on."""
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    classes = [DatasetClass(f"{n:04} {'x' * 110}") for n in range(1_000)]
    runtime.studio.classes.declare(owner, "d", classes)
    blocker = sqlite3.connect(
        runtime.settings.home / "tintype.db", isolation_level=None, check_same_thread=False
    )
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await anyio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    async def unblock() -> None:
        await anyio.sleep(1.5)
        blocker.execute("ROLLBACK")

    async def main() -> Outcome:
        async with anyio.create_task_group() as tasks:
            blocker.execute("BEGIN IMMEDIATE")
            tasks.start_soon(beat)
            tasks.start_soon(unblock)
            await anyio.sleep(0.05)
            runtime.studio.keys.authenticate(runtime.local_api_key())
            outcome = await Workers(runtime).run(request(runtime, "get_dataset", name="d"))
            tasks.cancel_scope.cancel()
        return outcome

    outcome = anyio.run(main)
    blocker.close()
    assert longest < 1
    (cut,) = outcome.value["_truncated"]["cuts"]
    rest = runtime.dispatch(
        replace(request(runtime, "read_more", cursor=cut["cursor"]), max_response_tokens=0)
    )
    assert len(rest.value["items"]) == cut["left_out"] > 0
    runtime.studio.audit.flush()
    assert [c.tool for c in runtime.studio.audit.list(owner)] == ["read_more", "get_dataset"]
