"""The one guard that telemetry is: it stands outside all others and tells the observers how a call ended.

An observer that fails is logged and never changes what the caller gets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tintype_server.dispatch.running import Guard, Next, RunningCall, log
from tintype_studio.errors import TintypeError
from tintype_tools.call import Outcome

UNKNOWN_TOOL = "unknown"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended."""

    outcome: str
    """``ok`` or the error's code."""
    seconds: float
    credits: int = 0
    """What this call was charged; a replay is not."""
    replayed: bool = False
    error: BaseException | None = None


Finish = Callable[[Ending], None]


class Observer(Protocol):
    """Watches calls."""

    def begin(self, call: RunningCall) -> Finish:
        """A call has come in; what is returned is called, in the same thread, when it has ended."""


def observing(observers: Sequence[Observer]) -> Guard:
    """The guard for these observers; the first one begins first and finishes last."""

    def observe(call: RunningCall, proceed: Next) -> Outcome:
        finishers = [finish for observer in observers if (finish := _begun(observer, call)) is not None]
        started = time.perf_counter()
        outcome: Outcome | None = None
        error: BaseException | None = None
        try:
            outcome = proceed(call)
        except BaseException as caught:
            error = caught
            raise
        finally:
            ending = _ending(outcome, error, time.perf_counter() - started)
            for finish in reversed(finishers):
                _finished(finish, call, ending)
        return outcome

    return observe


def tool_label(call: RunningCall) -> str:
    """The tool's name if there is such a tool: callers must not be able to make up new names."""
    return call.request.tool if call.request.tool in call.registry else UNKNOWN_TOOL


def _ending(outcome: Outcome | None, error: BaseException | None, seconds: float) -> Ending:
    if outcome is not None:
        return Ending("ok", seconds, 0 if outcome.replayed else outcome.credits, outcome.replayed)
    if isinstance(error, TintypeError):
        return Ending(error.code, seconds, error=error)
    return Ending("internal" if isinstance(error, Exception) else "stopped", seconds, error=error)


def _begun(observer: Observer, call: RunningCall) -> Finish | None:
    try:
        return observer.begin(call)
    except Exception:
        log.exception("call %s could not be observed", call.id)
        return None


def _finished(finish: Finish, call: RunningCall, ending: Ending) -> None:
    try:
        finish(ending)
    except Exception:
        log.exception("call %s could not be observed", call.id)
