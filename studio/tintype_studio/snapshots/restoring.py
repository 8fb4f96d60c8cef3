"""Restores a snapshot into a dataset of its own: all of it, or nothing.

The dataset is there from the call on, so that its id can be given at once, and is filled by a job. Each chunk
of samples is one transaction with the job's items, so a turn that was killed is gone on with. A restore that
fails or is cancelled takes the dataset into the bin in the transaction that ends the job, and out of it for
good right after.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.catalog.bin import BATCH
from tintype_studio.catalog.datasets import put_into_bin
from tintype_studio.errors import Conflict, InvalidInput, NotFound, TintypeError, Unavailable
from tintype_studio.history.changes import PURGED
from tintype_studio.jobs.commits import Finished
from tintype_studio.jobs.kind import Done
from tintype_studio.names import FORBIDDEN_IN_NAMES, printable
from tintype_studio.snapshots.messages import Unreadable
from tintype_studio.snapshots.sources import Incoming, Source
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.sweep import mark_unused
from tintype_studio.storage.tables import changes, datasets, sample_files, samples

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.identity.keys import Principal
    from tintype_studio.jobs.run import Run
    from tintype_studio.multisensor.new_sample import NewSample
    from tintype_studio.storage.database import Database
    from tintype_studio.studio import Studio

KIND = "restore_snapshot"
CHUNK = 64
"""Samples in one transaction."""
THREADS = 8
KEY = 200


def free_name(studio: Studio, principal: Principal, wanted: str) -> str:
    """A name for a dataset that is not taken: the wanted one, as far as it can be one, or with a number.

    Of a file's name, that without its extension.
    """
    for extension in (".mcap", ".arrow", ".parquet", ".zip"):
        wanted = wanted.removesuffix(extension)
    plain = "".join(
        "-" if char in FORBIDDEN_IN_NAMES or not char.isprintable() else char for char in printable(wanted)
    )
    plain = " ".join(plain.split()).strip(".")[:100].strip() or "Restored"
    name, number = plain, 1
    while studio.datasets.find(principal, name) is not None:
        number += 1
        name = f"{plain} {number}"
    return name


class Restoring:
    """Samples of a source on their way into the dataset of a job."""

    def __init__(self, run: Run, source: Source, dataset: Dataset) -> None:
        self._run = run
        self._source = source
        self._dataset = dataset
        self._of_job = uuid.UUID(run.job.id)

    def take_all(self) -> None:
        """Restore what is not finished, chunk by chunk; the first sample that is refused is raised."""
        fresh = ((k, i) for k, i in self._keyed() if k not in self._run.finished)
        with ThreadPoolExecutor(THREADS, thread_name_prefix="restore") as pool:
            try:
                while chunk := list(islice(fresh, CHUNK)):
                    self._run.check()
                    self._take(chunk, pool)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _keyed(self) -> Iterator[tuple[str, Incoming]]:
        for number, incoming in enumerate(self._source.samples()):
            yield f"{number:07} {printable(incoming.name)}"[:KEY], incoming

    def _take(self, chunk: Sequence[tuple[str, Incoming]], pool: ThreadPoolExecutor) -> None:
        staged: dict[str, NewSample] = {}

        def one(key: str, incoming: Incoming) -> Done:
            self._run.check()
            try:
                staged[key] = self._staged(key, incoming)
            except Unreadable as error:
                return Done(skipped=True, detail={"why": f"{error.args[0]}"[:200]})
            except TintypeError as error:
                if incoming.may_miss and isinstance(error, InvalidInput):
                    return Done(skipped=True, detail={"why": error.message[:200]})
                raise _named(error, incoming.name) from error
            return Done(detail={"annotations": n} if (n := len(incoming.new.annotations)) else {})

        def attempt(pair: tuple[str, Incoming]) -> Finished:
            key, incoming = pair
            return self._run.attempt(key, lambda _key: one(key, incoming))

        finished = [*pool.map(attempt, chunk)]
        for each in finished:
            if each.error is not None:
                raise each.error
        # In the order of the source; the first of them writes for all, in the one transaction.
        news = [staged[key] for key, _incoming in chunk if key in staged]
        first = next((each for each in finished if each.key in staged), None)
        batch = [
            each
            if each is not first or each.done is None
            else Finished(each.key, Done(write=partial(self._write, news), detail=each.done.detail))
            for each in finished
        ]
        self._run.finish(batch)
        self._require_none_failed()

    def _staged(self, key: str, incoming: Incoming) -> NewSample:
        from dataclasses import replace

        stage = self._run.studio.population.stage
        files = []
        for file in incoming.files:
            try:
                data = file.read()
                files.append(stage(data, file.type, file.name(incoming.name, data)))
            except (Unreadable, InvalidInput):
                if not file.beside:
                    raise
        return replace(
            incoming.new,
            uuid=str(uuid.uuid5(self._of_job, key)),
            files=tuple(files),
        )

    def _write(self, news: Sequence[NewSample], _connection: sa.Connection) -> None:
        self._run.studio.population.populate(self._run.principal, self._dataset, news, learn=True)

    def _require_none_failed(self) -> None:
        for item in self._run.studio.jobs.items(self._run.job, outcome="failed", limit=1):
            raise InvalidInput(
                item.error_message or "A sample was refused.",
                code=item.error_code or "restore_refused",
                fix="Nothing was restored. Correct the files, and create and restore a new snapshot.",
            )


def _named(error: TintypeError, name: str) -> TintypeError:
    """The same error, which tells the sample."""
    if name and name not in error.message:
        error.message = f"{printable(name[:80])}: {error.message}"
    return error


def summary(run: Run) -> dict[str, int]:
    """What the job's items came to so far."""
    found = {"samples": 0, "skipped": 0, "annotations": 0}
    after = None
    while page := run.studio.jobs.items(run.job, limit=500, after=after):
        for item in page:
            if item.key.startswith("label "):
                continue
            found["samples"] += item.outcome == "done"
            found["skipped"] += item.outcome == "skipped"
            found["annotations"] += item.detail.get("annotations", 0)
        after = page[-1].key
    return found


def dataset_of(studio: Studio, principal: Principal, job_row_id: int) -> Dataset:
    """The dataset of a restore, while it is there."""
    from tintype_studio.catalog.dataset_rows import dataset_of_row

    with studio.database.read() as connection:
        row_id = connection.execute(sa.select(jobs.c.dataset_id).where(jobs.c.id == job_row_id)).scalar()
    if row_id is None:
        raise NotFound("The dataset was purged.", code="dataset_not_found", fix="Restore the snapshot again.")
    return dataset_of_row(studio, principal, row_id)


def doom(connection: sa.Connection, job_row_id: int, job_id: str) -> None:
    """Take what a restore has made out of sight, in the transaction that ends its job."""
    row_id = connection.execute(sa.select(jobs.c.dataset_id).where(jobs.c.id == job_row_id)).scalar()
    if row_id is None:
        return
    connection.execute(
        sa.update(changes)
        .where(changes.c.dataset_id == row_id, changes.c.undone_by.is_(None))
        .values(undone_by=PURGED)
    )
    put_into_bin(connection, row_id, clock.now(), job_id)
    connection.execute(sa.update(datasets).where(datasets.c.id == row_id).values(deleted_call=job_id))


def purge_doomed(database: Database) -> int:
    """Remove for good what failed restores have made; returns how many datasets."""
    query = (
        sa.select(datasets.c.id)
        .join(jobs, jobs.c.dataset_id == datasets.c.id)
        .where(
            jobs.c.kind == KIND, jobs.c.uuid == datasets.c.deleted_call, datasets.c.deleted_at.is_not(None)
        )
    )
    with database.read() as connection:
        doomed = connection.execute(query).scalars().all()
    for row_id in doomed:
        while _purge_some(database, row_id):
            pass
        with database.write() as connection:
            connection.execute(sa.delete(datasets).where(datasets.c.id == row_id))
    return len(doomed)


def _purge_some(database: Database, dataset_row_id: int) -> bool:
    """Some of its samples; False when none is left."""
    with database.write(durable=False) as connection:
        ids = (
            connection.execute(
                sa.select(samples.c.id).where(samples.c.dataset_id == dataset_row_id).limit(BATCH)
            )
            .scalars()
            .all()
        )
        digests = (
            connection.execute(sa.select(sample_files.c.sha256).where(sample_files.c.sample_id.in_(ids)))
            .scalars()
            .all()
        )
        connection.execute(sa.delete(samples).where(samples.c.id.in_(ids)))
        mark_unused(database, connection, digests)
    return bool(ids)


def require_whole(run: Run, source: Source, done: dict[str, Any]) -> None:
    """Refuse a restore of which nothing could be read."""
    if source.count and not done["samples"]:
        (item,) = run.studio.jobs.items(run.job, outcome="skipped", limit=1)
        raise InvalidInput(
            f"None of the {source.count:,} frames can be read: {item.detail.get('why', 'damaged')}",
            code="nothing_to_restore",
            fix="Check the recording in a viewer; restore other topics of it.",
        )


def gone() -> Conflict:
    """The refusal of a name that was free when it was chosen."""
    return Conflict("The dataset is gone.", code="dataset_gone", fix="Restore the snapshot again.")


__all__ = [
    "Restoring",
    "Unavailable",
    "dataset_of",
    "doom",
    "free_name",
    "purge_doomed",
    "require_whole",
    "summary",
]
