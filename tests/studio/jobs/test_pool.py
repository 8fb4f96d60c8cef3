"""Child processes: values, refusals, defects, deadlines, crashes, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.jobs import is_there

from tintype_studio.errors import DeadlineExceeded, InvalidInput, TintypeError
from tintype_studio.jobs.pool import ChildCrashed, Pool

HERE = "support.jobs"


def gone(pid: int, seconds: float = 3.0) -> bool:
    until = time.monotonic() + seconds
    while is_there(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_there(pid)


def test_a_call_returns_the_value_and_keeps_its_process(pool: Pool) -> None:
    first = pool.call("os:getpid")
    assert first != os.getpid()
    assert pool.call("os:getpid") == first
    assert pool.call("operator:add", b"\x00" * 300_000, b"\x01")[-2:] == b"\x00\x01"


def test_a_refusal_comes_through_with_all_its_parts_and_a_defect_without_any(pool: Pool) -> None:
    with pytest.raises(InvalidInput) as refused:
        pool.call(f"{HERE}:refuse_on_b", "b")
    assert (refused.value.code, refused.value.fix) == ("not_fit", "Leave it out.")
    with pytest.raises(TintypeError) as failed:
        pool.call(f"{HERE}:refuse_on_b", "c")
    assert failed.value.code == "internal"
    assert "secret" not in failed.value.message


def test_what_a_child_prints_does_not_disturb_the_pipe(pool: Pool) -> None:
    assert pool.call("builtins:print", "hello") is None
    assert pool.call("os:system", "echo hello") == 0
    assert pool.call("operator:add", 1, 2) == 3


def test_a_call_that_takes_too_long_is_killed_and_the_next_one_works(pool: Pool) -> None:
    pid = pool.call("os:getpid")
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded) as late:
        pool.call(f"{HERE}:spin", "a", 30.0, deadline=0.3)
    assert late.value.code == "item_deadline"
    assert time.monotonic() - started < 1
    assert gone(pid)
    assert pool.call("operator:add", 1, 2) == 3


def test_a_busy_call_is_stopped_by_whoever_waits_for_it(pool: Pool) -> None:
    pid = pool.call("os:getpid")
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()

    def check() -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.call(f"{HERE}:spin", "a", 30.0, check=check)
    assert time.monotonic() - started < 1
    assert gone(pid)


def test_a_child_that_dies_is_an_error_of_its_own_and_the_next_call_works(pool: Pool) -> None:
    with pytest.raises(ChildCrashed):
        pool.call("os:_exit", 3)
    assert pool.call("operator:add", 1, 2) == 3


def test_an_idle_child_that_died_is_replaced(pool: Pool) -> None:
    os.kill(pool.call("os:getpid"), signal.SIGKILL)
    time.sleep(0.2)
    assert pool.call("operator:add", 1, 2) == 3


def test_no_more_children_than_places_and_all_of_them_are_used(pool: Pool) -> None:
    seen: list[int] = []

    def work() -> None:
        pool.call("time:sleep", 0.2)
        seen.append(pool.call("os:getpid"))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 5
    assert len(set(seen)) == 2


PARENT = """
import sys, threading, time
from tintype_studio.jobs.pool import Pool
pool = Pool(1)
arguments = ("support.jobs:spin_told", "pid", sys.argv[1], 60.0)
threading.Thread(target=pool.call, args=arguments, daemon=True).start()
time.sleep(60)
"""


def test_a_busy_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)])
    file = tmp_path / "pid"
    try:
        until = time.monotonic() + 20
        while not (file.exists() and file.read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        child = int(file.read_text())
        assert is_there(child)
    finally:
        parent.kill()
        parent.wait()
    assert gone(child)
