"""Waiting for long work that a command has started."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tintype_server.cli.progress import say

if TYPE_CHECKING:
    from tintype_server.cli.calling import Caller, CallOptions
    from tintype_tools.call import Outcome

ROUND = 60
"""Seconds of one call that waits."""
ENDED = frozenset({"completed", "failed", "cancelled"})


def wait_until_ended(
    ask: Callable[[int], dict[str, Any]], *, wait: bool, timeout: float, again: str
) -> dict[str, Any]:
    """Ask how something is doing until it has ended or the time is up; the last answer.

    ``ask`` takes the seconds that it may wait, and answers something with a ``status``. ``again`` is the
    command that shows it later: said where the work is left to others.
    """
    until = time.monotonic() + timeout
    answer = ask(0)
    try:
        while wait and answer["status"] not in ENDED and (left := until - time.monotonic()) > 0:
            answer = ask(min(ROUND, max(1, int(left))))
    except KeyboardInterrupt:
        _say_where(again)
        raise
    if answer["status"] not in ENDED:
        _say_where(again)
    return answer


def call_and_wait(
    caller: Caller,
    tool: str,
    arguments: dict[str, Any],
    options: CallOptions,
    job_of: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    wait: bool,
    timeout: float,
) -> Outcome:
    """Call a tool that starts a job, and wait for its end or until the time is up; the last answer.

    ``job_of`` finds ``status`` and ``job_id`` in an answer. Waiting on is the same call again, with its
    idempotency key.
    """
    from tintype_studio import clock

    options = replace(options, idempotency_key=options.idempotency_key or clock.new_id())
    first = caller.call(tool, arguments | {"wait_seconds": 0}, options)
    if first.dry_run or job_of(first.value)["status"] in ENDED:
        return first
    last = first

    def ask(seconds: int) -> dict[str, Any]:
        nonlocal last
        if seconds:
            last = caller.call(tool, arguments | {"wait_seconds": seconds}, options)
        return job_of(last.value)

    job_id = job_of(first.value)["job_id"]
    again = f"tintype call get_job --job-id {job_id} --wait-seconds {ROUND}"
    wait_until_ended(ask, wait=wait, timeout=timeout, again=again)
    return replace(last, replayed=first.replayed)


def _say_where(again: str) -> None:
    say(
        "It has not ended. `tintype serve`, `tintype worker` or any open Tintype process goes on with it; "
        f"follow it with `{again}`."
    )
