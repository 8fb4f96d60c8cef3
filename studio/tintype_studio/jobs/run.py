"""One turn of a job, as its kind sees it: which items are left, where to do them, how to finish them.

Items are worked on in threads that mostly wait: for a child process, or for somebody else's server. What they
finish is gathered for up to ``COMMIT_SECONDS`` and written in one transaction, which pays for the disk once;
a crash costs the work of that time, never what was written.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tintype_studio import clock
from tintype_studio.errors import RateLimited, TintypeError, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.commits import (
    NOT_NOW,
    PATIENCE_SECONDS,
    Commits,
    Finished,
    Lost,
    Notes,
    Stopped,
    patiently,
)
from tintype_studio.jobs.kind import Done, Kind, Queue, Write
from tintype_studio.jobs.pool import ChildCrashed, Pool, defect

if TYPE_CHECKING:
    from tintype_studio.jobs.job import Job
    from tintype_studio.studio import Studio

log = logging.getLogger("tintype.jobs")

COMMIT_SECONDS = 0.5
COMMIT_ITEMS = 64
NOTE_SECONDS = 0.5
TICK_SECONDS = 0.05
RETRIES = 3
"""Of an item that failed for a reason that may pass."""
CRASHES = 2
"""After so many an item is given up that ends the process that works on it."""
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
STORAGE_PAUSE_SECONDS = 1.0
IO_CONCURRENCY = 8
MAX_TRACEBACKS = 3
"""Of one turn, in the worker's log."""
LAST_WORDS_SECONDS = 0.5
"""How long a stopped run waits for its threads; those that wait for others are left behind."""

Work = Callable[[str], Done]
"""Does one item: may raise ``TintypeError``, which becomes the item's failure."""


class Cancelled(Stopped):
    """Somebody cancelled the job."""


class HandedBack(Stopped):
    """The worker is stopping; another one goes on."""


class Refused(Stopped):
    """Whoever started the job may not do so any more."""

    def __init__(self, error: TintypeError) -> None:
        super().__init__()
        self.error = error


class Run:
    """What a kind works with. Its methods may be called from any thread."""

    def __init__(
        self, studio: Studio, principal: Principal, job: Job, kind: Kind, commits: Commits, pool: Pool
    ) -> None:
        self.studio = studio
        self.principal = principal
        """Who started the job, in the call that started it: changes are logged under that call."""
        self.job = job
        self.args: dict[str, Any] = job.args
        self.pool = pool
        self.finished: set[str] = commits.finished_keys()
        """Keys of items that are done with."""
        self._kind = kind
        self._commits = commits
        self._stop: Stopped | None = None
        self._halted = threading.Event()
        self._notes = Notes()
        self._lock = threading.Lock()
        self._noted_at = 0.0
        self._defects = 0

    # --- Whether to go on -------------------------------------------------------------------------------

    def stop(self, reason: Stopped) -> None:
        """End the run from another thread; the first reason counts."""
        with self._lock:
            self._stop = self._stop or reason
        self._halted.set()

    def check(self) -> None:
        """Raise when the job shall stop. Call it in every loop that takes longer than a moment."""
        if self._halted.is_set():
            raise self._stop or Stopped

    def pause(self, seconds: float) -> None:
        """Wait; raises as soon as the job shall stop."""
        self._halted.wait(seconds)
        self.check()

    # --- What it says of itself -------------------------------------------------------------------------

    def stage(self, name: str, *, total: int | None = None) -> None:
        """Begin a stage; ``total`` replaces the number of items."""
        with self._lock:
            self._notes.values["stage"] = name[:40]
            if total is not None:
                self._notes.values["total"] = total
            self._noted_at = 0.0
        self._write_notes()

    def progress(self, message: str, *, total: int | None = None) -> None:
        """Say what is going on; written within ``NOTE_SECONDS``. Finished items are counted by themselves."""
        with self._lock:
            self._notes.values["message"] = message[:200]
            if total is not None:
                self._notes.values["total"] = total
        self._write_notes()

    def log(self, text: str, level: str = "info") -> None:
        """Add a line to the job's log: for the user, so no path and no exception text."""
        line = {"level": level[:8], "text": text[:500], "at": clock.now()}
        with self._lock:
            self._notes.lines.append(line)
        self._write_notes()

    def take_notes(self) -> Notes:
        """What is to be written with the next transaction."""
        with self._lock:
            notes, self._notes = self._notes, Notes()
            self._noted_at = time.monotonic()
            return notes

    def _write_notes(self) -> None:
        if time.monotonic() - self._noted_at > NOTE_SECONDS:
            notes = self.take_notes()
            if notes.values or notes.lines:
                with suppress(Unavailable):  # a full disk is met again, and waited for, where it matters
                    self._commits.notes(notes)

    # --- Items ------------------------------------------------------------------------------------------

    def in_child(self, function: str, *arguments: Any, deadline: float | None = None) -> Any:
        """Run ``module:function`` in a child process; killed when the job stops or ``deadline`` is over."""
        return self.pool.call(
            function, *arguments, deadline=deadline or self._kind.item_seconds, check=self.check
        )

    def commit(
        self,
        key: str,
        *,
        credits: int = 0,
        write: Write | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Finish one item now, in its own transaction: for work that goes step after step.

        Nothing when the item is finished already.
        """
        if key not in self.finished:
            self._write([Finished(key, Done(credits, write, detail or {}))])

    def finish(self, batch: Sequence[Finished]) -> None:
        """Finish several items (of ``attempt``) now, in one transaction and in their order."""
        fresh = [finished for finished in batch if finished.key not in self.finished]
        if fresh:
            self._write(fresh)

    def fail(self, key: str, error: TintypeError) -> None:
        """Give one item up, free of charge."""
        if key not in self.finished:
            self._write([Finished(key, error=error)])

    def each(self, keys: Iterable[str], work: Work, *, concurrency: int | None = None) -> None:
        """Do every item that is not finished, some at a time, and finish it.

        ``keys`` may be lazy; each is up to 200 characters and unique in the job. An item that raises is
        written as failed, free of charge, and the rest goes on; a reason that may pass is tried again first.
        """
        if concurrency is None:
            # One more than there are children, so that none waits for the reading of its next item. A model
            # on a GPU is there once: the calls of one thread go to the same child.
            own = {Queue.CPU: self.pool.size + 1, Queue.GPU: 1, Queue.IO: IO_CONCURRENCY}
            concurrency = own[self._kind.queue]
        feed = (key for key in keys if key not in self.finished)
        crew = _Crew(self, feed, work, concurrency)
        batch: list[Finished] = []
        since = time.monotonic()
        try:
            for finished in crew.results():
                self.check()
                if finished is not None:
                    since = since if batch else time.monotonic()
                    batch.append(finished)
                if batch and (len(batch) >= COMMIT_ITEMS or time.monotonic() - since >= COMMIT_SECONDS):
                    self._write(batch)
                    batch = []
            if batch:
                self._write(batch)
        except Lost:
            raise
        except BaseException:
            # What is finished was worked for; it is kept, if the disk takes it now.
            crew.stop()
            with suppress(Exception, Stopped):
                self._commits.items([*batch, *crew.left()], self.take_notes())
            raise
        finally:
            crew.stop()

    def _write(self, batch: list[Finished]) -> None:
        notes = self.take_notes()

        def write() -> None:
            self._commits.items(batch, notes)

        patiently(write, self.pause)
        self.finished.update(finished.key for finished in batch)

    def attempt(self, key: str, work: Work) -> Finished:
        """Do one item, again if that may help; ``finish`` writes it."""
        crashes, tries, until = 0, 0, time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return Finished(key, work(key))
            except ChildCrashed as error:
                crashes += 1
                if crashes >= CRASHES:
                    return Finished(key, error=error)
            except (Unavailable, RateLimited) as error:
                if error.code in NOT_NOW:  # no item's fault: the job waits, and fails if it stays so
                    if time.monotonic() > until:
                        raise
                    self.pause(STORAGE_PAUSE_SECONDS)
                    continue
                tries += 1
                if tries > RETRIES or not error.retryable:
                    return Finished(key, error=error)
                self.pause(_back_off(error, tries))
            except TintypeError as error:
                return Finished(key, error=error)
            except Exception:
                self._defects += 1
                if self._defects <= MAX_TRACEBACKS:  # a thousand items fail alike
                    log.exception("job %s, item %s failed", self.job.id, key)
                return Finished(key, error=defect())


def _back_off(error: TintypeError, tries: int) -> float:
    wanted = error.details.get("retry_after")
    seconds = float(wanted) if isinstance(wanted, int | float) else FIRST_RETRY_SECONDS * 4 ** (tries - 1)
    return min(seconds, LONGEST_RETRY_SECONDS)


class _Crew:
    """Threads that do items."""

    def __init__(self, run: Run, feed: Iterator[str], work: Work, size: int) -> None:
        self._run = run
        self._feed = feed
        self._work = work
        self._turn = threading.Lock()
        self._results: queue.Queue[Finished | BaseException | None] = queue.Queue()
        self._over = threading.Event()
        # So that nobody runs far ahead of a database that does not take the results.
        self._room = threading.Semaphore(2 * COMMIT_ITEMS + size)
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def results(self) -> Iterator[Finished | None]:
        """What is finished, as it comes; None every now and then."""
        working = len(self._threads)
        while working:
            try:
                result = self._results.get(timeout=TICK_SECONDS)
            except queue.Empty:
                yield None
                continue
            if result is None:
                working -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                self._room.release()
                yield result

    def stop(self) -> None:
        """Let no item be begun any more, and wait a moment for those that are."""
        self._over.set()
        until = time.monotonic() + LAST_WORDS_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def left(self) -> list[Finished]:
        """Finished items that nobody took."""
        found: list[Finished] = []
        with suppress(queue.Empty):
            while True:
                result = self._results.get_nowait()
                if isinstance(result, Finished):
                    found.append(result)
        return found

    def _serve(self) -> None:
        try:
            while not self._over.is_set():
                if not self._room.acquire(timeout=TICK_SECONDS):
                    continue
                with self._turn:
                    key = next(self._feed, None)
                if key is None:
                    break
                self._results.put(self._run.attempt(key, self._work))
        except BaseException as error:
            self._results.put(error)
        finally:
            self._results.put(None)
