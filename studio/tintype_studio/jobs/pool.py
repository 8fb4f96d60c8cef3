"""Child processes for work that would hold the interpreter, hang or crash: one function call each at a time.

A child is a fresh interpreter (never a fork of a process that has threads), keeps what it has loaded (models,
libraries) between calls, and ends when its parent does. Whoever waits for a call can kill the child under it;
the next call gets a new one.
"""

from __future__ import annotations

import math
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from tintype_studio import errors
from tintype_studio.errors import DeadlineExceeded, TintypeError, Unavailable
from tintype_studio.jobs.child import frame, read_frame

POLL_SECONDS = 0.05
"""How soon a waiting caller notices that it shall stop."""

THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Who takes more threads, as a training does, must not spin: beside a busy neighbour that halves its pace.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""For the libraries in a child; what the operator has set goes before it."""

START_SECONDS = 120.0
"""How long a new child may load libraries before it begins."""


class ChildCrashed(Unavailable):
    """The process that worked on the item ended: out of memory, or a crash in a library."""

    default_code = "item_crashed"
    default_fix = "Check this item by itself (its size, whether it opens); the others went on."


class Pool:
    """At most ``size`` children, started when they are needed. Thread-safe."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size or os.cpu_count() or 1
        self._places = threading.Semaphore(self.size)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._closed = False

    def call(
        self,
        function: str,
        *arguments: Any,
        deadline: float | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Any:
        """Run ``module:function`` in a child and return its value.

        ``check`` is called while waiting; what it raises kills the child. Arguments and value must pickle.

        Raises ``DeadlineExceeded`` when the function takes longer than ``deadline`` seconds,
        ``ChildCrashed`` when the child ends, and the function's own ``TintypeError``; any other exception
        of it becomes an error that says nothing of it.
        """
        while not self._places.acquire(timeout=POLL_SECONDS):
            check()
        try:
            child = self._take()
            try:
                kind, value = child.ask(function, arguments, deadline, check)
            except BaseException:
                self._drop(child)
                raise
            self._give_back(child)
        finally:
            self._places.release()
        if kind == "value":
            return value
        raise _received(value) if kind == "refused" else defect()

    def close(self) -> None:
        """Kill the children."""
        with self._lock:
            self._closed = True
            children = list(self._all)
        for child in children:
            child.kill()

    def _take(self) -> _Child:
        with self._lock:
            if self._closed:
                raise Unavailable("The worker is stopping.", code="worker_stopping")
            while self._idle:
                child = self._idle.pop()  # the last one used is the warmest
                if child.alive:
                    return child
                self._all.discard(child)
            child = _Child()
            self._all.add(child)
            return child

    def _give_back(self, child: _Child) -> None:
        with self._lock:
            self._idle.append(child)

    def _drop(self, child: _Child) -> None:
        child.kill()
        with self._lock:
            self._all.discard(child)


class _Child:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tintype_studio.jobs.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # There is a child per core: threads of their own would only wait for each other.
            env={**THREADS, **os.environ},
            # A buffer would hide from ``select`` what it has read already.
            bufsize=0,
            # A signal at the terminal is for the worker, which then decides about its children.
            start_new_session=True,
        )
        os.set_blocking(self._pipes()[0].fileno(), False)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, function: str, arguments: tuple[Any, ...], deadline: float | None, check: Callable[[], None]
    ) -> tuple[str, Any]:
        writes, reads = self._pipes()
        until = time.monotonic() + START_SECONDS

        def go_on() -> None:
            check()
            if time.monotonic() > until:
                raise _late(deadline)

        kind, value = "", None
        try:
            _send(writes.fileno(), frame((function, arguments)), go_on)
            while kind in {"", "begun"}:
                while not select.select([reads], [], [], POLL_SECONDS)[0]:
                    go_on()
                kind, value = read_frame(reads)
                if kind == "begun":
                    # Starting an interpreter and loading libraries is not the item's fault.
                    until = math.inf if deadline is None else time.monotonic() + deadline
        except (EOFError, OSError, ValueError) as error:  # ValueError: the pool was closed meanwhile
            raise ChildCrashed("The process that worked on the item ended.") from error
        return kind, value

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        writes, reads = self._process.stdin, self._process.stdout
        if writes is None or reads is None:
            raise RuntimeError("the child was started without pipes")
        return writes, reads

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes():
            with suppress(OSError):  # what was not sent any more
                pipe.close()


def _send(fd: int, data: bytes, go_on: Callable[[], None]) -> None:
    """Write to a pipe whose reader may hang."""
    left = memoryview(data)
    while left:
        if select.select([], [fd], [], POLL_SECONDS)[1]:
            left = left[os.write(fd, left) :]
        else:
            go_on()


def _late(deadline: float | None) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"The item took longer than {deadline or START_SECONDS:g} s and was stopped.",
        code="item_deadline",
        fix="Check this item by itself (its size, whether it opens); the others went on.",
    )


def defect() -> TintypeError:
    """What is told of an item that met a defect; the log has the rest."""
    return TintypeError("The server failed on this item; its log tells why.")


def _received(sent: dict[str, Any]) -> TintypeError:
    kind = getattr(errors, sent["class"], TintypeError)
    if not issubclass(kind, TintypeError) or "__init__" in vars(kind):  # it wants more than was sent
        kind = TintypeError
    error: TintypeError = kind(
        sent["message"],
        code=sent["code"],
        fix=sent["fix"],
        retryable=sent["retryable"],
        details=sent.get("details"),
    )
    return error
