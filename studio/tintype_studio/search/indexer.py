"""Looks at every image once: tags, fingerprint and vector, after the upload and beside it.

What is to do is what lacks its row, so nothing is lost when a process dies, and nothing has to be queued.
One process of a workspace indexes in the background at a time; a search indexes a few missing images itself.
Rows are written without waiting for the disk: whatever a power cut takes is found missing and made again.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tintype_studio.catalog.samples import IMAGE
from tintype_studio.errors import Unavailable
from tintype_studio.search import looks
from tintype_studio.search.looks import Look, Missing
from tintype_studio.search.scope import EVERYTHING, Scope
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.search_tables import search_entries, search_vectors
from tintype_studio.storage.tables import datasets, sample_files, samples
from tintype_studio.vision.embedders import Embedder, SceneNamer, make_embedder

BATCH = 16
"""Images in one transaction."""

_LOOKS = (1.0, 5.0)
"""Seconds after a wake-up at which the thread looks for work: an upload commits a little after it says so."""

_SHORT_UPLOAD_SECONDS = 0.3
_TURN_SECONDS = 5.0

_TRY_AGAIN_SECONDS = 60
"""For how long a model that could not be loaded is not tried again."""


class Indexer:
    """Keeps the search index complete. Thread-safe."""

    def __init__(self, database: Database, blobs: Blobs, folder: Path, *, model: str | None = None) -> None:
        self._db = database
        self._blobs = blobs
        self._folder = folder
        self._model = model
        self._embedder: Embedder | None = None
        self._failure: tuple[float, Unavailable] | None = None
        self._loading = threading.Lock()
        self._turn = threading.Lock()
        self._uploads = 0
        self._uploading_since = 0.0
        self._guard = threading.Lock()
        self._complete: dict[Scope, Hashable] = {}
        self.afterwards: Callable[[], None] = lambda: None
        """Called by the background when nothing is missing any more."""
        self._woken = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def embedder(self) -> Embedder:
        """The engine of the setting, loaded when it is first needed; raises ``Unavailable``."""
        with self._loading:
            if self._embedder is not None:
                return self._embedder
            if self._failure is not None and time.monotonic() < self._failure[0]:
                known = self._failure[1]
                raise Unavailable(known.message, code=known.code, fix=known.fix, retryable=known.retryable)
            try:
                self._embedder = make_embedder(self._model, self._folder)
            except Unavailable as error:
                self._failure = (time.monotonic() + _TRY_AGAIN_SECONDS, error)
                raise
            return self._embedder

    def _do_without(self, error: Unavailable) -> None:
        """The engine turned out to be unusable: go on without it for a while."""
        with self._loading:
            self._embedder = None
            self._failure = (time.monotonic() + _TRY_AGAIN_SECONDS, error)

    def missing(self, scope: Scope = EVERYTHING) -> int:
        """How many images are not indexed yet."""
        with self._db.read() as connection:
            return int(connection.execute(self._query(scope, sa.func.count())).scalar_one())

    def left(self, scope: Scope) -> int:
        """``missing``, without counting again while nothing came to a scope that was complete.

        The background counts in any case, so that even a change that looks like none is seen in the end.
        """
        stamp = self._stamp(scope)
        if self._complete.get(scope) == stamp:
            return 0
        count = self.missing(scope)
        if count == 0:
            self._complete[scope] = stamp
        return count

    def _stamp(self, scope: Scope) -> Hashable:
        """Changes when images come to a scope, leave it or come back."""
        newest = (
            sa.select(samples.c.uuid)
            .where(samples.c.dataset_id == datasets.c.id)
            .order_by(samples.c.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        query = (
            sa.select(datasets.c.id, datasets.c.image_count, datasets.c.total_size, newest)
            .where(*scope.of_datasets())
            .order_by(datasets.c.id)
        )
        with self._db.read() as connection:
            rows = tuple(tuple(row) for row in connection.execute(query))
        return looks.ANALYZER, self._embedder_name(), self.scenes_by(), rows

    def catch_up(
        self,
        scope: Scope = EVERYTHING,
        *,
        most: int | None = None,
        seconds: float | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> int:
        """Index what is missing, oldest first, until ``most`` images or ``seconds`` are spent.

        Returns how many were done. ``check`` is called between images; it raises to stop.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        done, after = 0, 0
        while (most is None or done < most) and (deadline is None or time.monotonic() < deadline):
            limit = BATCH if most is None else min(BATCH, most - done)
            # One batch at a time in this process, so that a crowd of searches does not do one work. Not
            # waited for long: whoever has the turn may wait for a transaction that this thread is in.
            if not self._turn.acquire(timeout=_TURN_SECONDS):
                break
            try:
                batch = self._next(scope, after, limit)
                if not batch:
                    break
                done += self._do(batch, deadline, check)
            finally:
                self._turn.release()
            # What the store could not hand over now is left for the next time, not tried in a circle.
            after = batch[-1].sample_id
        return done

    def _do(self, batch: list[Missing], deadline: float | None, check: Callable[[], None]) -> int:
        found = []
        try:
            for image in batch:
                check()
                look = self._look(image)
                if look is not None:
                    found.append(look)
                if deadline is not None and time.monotonic() > deadline:
                    break
        finally:  # who stops often must get on, too
            if found:
                self._write(found)
        return len(found)

    def index(self, sample_row_id: int) -> None:
        """Index one image now, if it is not."""
        with self._db.read() as connection:
            rows = connection.execute(self._query(EVERYTHING).where(samples.c.id == sample_row_id)).all()
        for row in rows:
            look = self._look(Missing(*row))
            if look is not None:
                self._write([look])

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Let the background rest while images come in, and look at them afterwards."""
        with self._guard:
            if not self._uploads:
                self._uploading_since = time.monotonic()
            self._uploads += 1
        try:
            yield
        finally:
            with self._guard:
                self._uploads -= 1
            self.wake()

    def start(self) -> None:
        """Index in the background from now on: for a process that stays. Elsewhere searches do, a little."""
        with self._guard:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="search-indexer", daemon=True)
                self._thread.start()
        self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    def close(self) -> None:
        """Stop after the image at hand."""
        self._closed.set()
        self._woken.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(10)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._woken.wait()
            self._woken.clear()
            for pause in _LOOKS:
                if self._closed.wait(pause):
                    return
                try:
                    self._work()
                except _Stopped:
                    break
                except Exception:  # a full disk, a busy database: the rows are still missing, so go on later
                    break

    def _work(self) -> None:
        if self._should_rest():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "indexer.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self.missing():
                self.catch_up(check=self._may_go_on)
            self.afterwards()

    def _may_go_on(self) -> None:
        if self._closed.is_set() or self._should_rest():
            raise _Stopped

    def _should_rest(self) -> bool:
        """During an upload of many images; one image is no reason."""
        return self._uploads > 0 and time.monotonic() - self._uploading_since > _SHORT_UPLOAD_SECONDS

    def _query(self, scope: Scope, *wanted: Any) -> sa.Select[Any]:
        """Images that lack something; the vector does not count while no embedder can be loaded."""
        wanted = wanted or (samples.c.id, samples.c.dataset_id, sample_files.c.sha256)
        looked_at = sa.and_(search_entries.c.sample_id == samples.c.id, looks.analyzed(self.scenes_by()))
        query = (
            sa.select(*wanted)
            .select_from(samples)
            .join(datasets, datasets.c.id == samples.c.dataset_id)
            .join(
                sample_files, sa.and_(sample_files.c.sample_id == samples.c.id, sample_files.c.type == IMAGE)
            )
            .outerjoin(search_entries, looked_at)
            .where(*scope.conditions())
        )
        lacking: sa.ColumnElement[bool] = search_entries.c.sample_id.is_(None)
        name = self._embedder_name()
        if name is not None:
            embedded = sa.and_(search_vectors.c.sample_id == samples.c.id, search_vectors.c.embedder == name)
            query = query.outerjoin(search_vectors, embedded)
            problem = search_entries.c.problem
            can_be_had = sa.or_(
                problem.is_(None),
                sa.and_(problem.startswith(looks.EMBEDDING_FAILED), problem != looks.failed(name)),
            )
            lacking = sa.or_(lacking, sa.and_(can_be_had, search_vectors.c.sample_id.is_(None)))
        return query.where(lacking)

    def _embedder_name(self) -> str | None:
        try:
            return self.embedder.name
        except Unavailable:
            return None

    def scenes_by(self) -> str | None:
        """What names scenes now, as entries are stamped with it; None while nothing does."""
        try:
            embedder = self.embedder
        except Unavailable:
            return None
        return embedder.scenes_name if isinstance(embedder, SceneNamer) else None

    def _next(self, scope: Scope, after: int, limit: int) -> list[Missing]:
        query = self._query(scope).where(samples.c.id > after).order_by(samples.c.id).limit(limit)
        with self._db.read() as connection:
            return [Missing(*row) for row in connection.execute(query)]

    def _look(self, image: Missing) -> Look | None:
        try:
            embedder = self.embedder
        except Unavailable:
            embedder = None
        try:
            known = looks.scenes_again(image, self._db, embedder) if embedder else None
            return known or looks.look_at(image, self._blobs, embedder)
        except Unavailable as error:
            self._do_without(error)
            return looks.look_at(image, self._blobs, None)

    def _write(self, found: list[Look]) -> None:
        looks.write_looks(self._db, found)


class _Stopped(Exception):
    """The background makes way."""
