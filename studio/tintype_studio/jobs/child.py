"""A child process of the pool: runs named functions until its parent goes away.

A frame on the pipe is a length (4 bytes, big-endian) and a pickle. The parent sends ``(function,
arguments)`` and gets ``("begun", None)`` back once the function is loaded, then ``("value", value)``,
``("refused", error)`` or ``("failed", None)``.
"""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import queue
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import IO, Any

log = logging.getLogger("tintype.jobs")

HEADER = struct.Struct(">I")
MAX_TRACEBACKS = 3
"""Of one function, in the log."""

_told: Counter[str] = Counter()


def frame(message: Any) -> bytes:
    """One message as it goes through the pipe."""
    data = pickle.dumps(message, protocol=5)
    return HEADER.pack(len(data)) + data


def read_frame(pipe: IO[bytes]) -> Any:
    """Receive one message; ``EOFError`` when the other side is gone."""
    head = _exactly(pipe, HEADER.size)
    # Only the process at the other end of this pipe, which is our own, can have written it.
    return pickle.loads(_exactly(pipe, HEADER.unpack(head)[0]))  # noqa: S301


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    parts = []
    while count:
        part = pipe.read(count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def main() -> None:
    """Serve the parent on the standard streams."""
    reads, writes = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not get between the frames.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    requests: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
    # In a thread of its own, so that the end of the parent is noticed in the middle of long work.
    threading.Thread(target=_read, args=(reads, requests), daemon=True).start()

    def send(message: Any) -> None:
        writes.write(frame(message))
        writes.flush()

    while True:
        name, arguments = requests.get()
        send(_run(name, arguments, begun=lambda: send(("begun", None))))


def _read(pipe: IO[bytes], requests: queue.SimpleQueue[tuple[str, tuple[Any, ...]]]) -> None:
    try:
        while True:
            requests.put(read_frame(pipe))
    except (EOFError, OSError):
        os._exit(0)


def _run(name: str, arguments: tuple[Any, ...], *, begun: Callable[[], None]) -> tuple[str, Any]:
    from tintype_studio.errors import TintypeError, Unavailable

    try:
        function = function_of(name)
        begun()
        return "value", function(*arguments)
    except TintypeError as error:
        return "refused", as_sent(error)
    except MemoryError:
        return "refused", as_sent(
            Unavailable("There was not enough memory for this item.", code="out_of_memory", retryable=False)
        )
    except Exception:
        _told[name] += 1
        if _told[name] <= MAX_TRACEBACKS:  # a thousand items fail alike
            log.exception("%s failed", name)
        return "failed", None


def function_of(name: str) -> Callable[..., Any]:
    """The function that ``module:function`` names."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def as_sent(error: Any) -> dict[str, Any]:
    """An error as it crosses the pipe: its constructor may want more than a pickle would give it."""
    return {"class": type(error).__name__, **error.as_dict()}


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    main()
