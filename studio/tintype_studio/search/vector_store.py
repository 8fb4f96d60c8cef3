"""Nearest vectors of a dataset.

The database holds the vectors; a memory-mapped copy of them (``vector_files``) is searched. Up to
``EXACT_UP_TO`` vectors, and wherever no index can be made, every vector is compared: the answer is exact.
Beyond, an inverted-file index finds candidates, and their exact cosines decide.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import sqlalchemy as sa

from tintype_studio.errors import Unavailable
from tintype_studio.search.vector_files import Mapped, VectorFiles
from tintype_studio.storage.database import Database
from tintype_studio.storage.search_tables import search_vectors, search_versions
from tintype_studio.storage.tables import datasets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXACT_UP_TO = 100_000
"""Vectors of a dataset that are all compared."""

BLOCK = 65_536
"""Vectors compared between two looks at whether the search is still wanted."""

GATHERED = 8192
"""The same for a search within some samples, whose vectors are copied together first."""

_SPARE = 16
"""Neighbours looked at beyond those wanted: some may be gone since the files were written."""

_KEPT_OPEN = 8
"""Datasets whose files stay open."""

_FETCH = 500


class VectorStore(Protocol):
    """Vectors of samples by dataset and embedder, and which are nearest to a given one."""

    def get(self, sample_row_id: int, embedder: str) -> NDArray[np.float32] | None:
        """The vector of a sample, or None if it has none."""
        ...

    def nearest(
        self,
        dataset_row_id: int,
        embedder: str,
        vector: NDArray[np.float32],
        *,
        count: int,
        threshold: float,
        within: NDArray[np.int64] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Sample row ids and cosines of the ``count`` nearest vectors at or above ``threshold``, best first.

        ``within`` restricts the search to these sample row ids. Rows of the recycle bin may be among them:
        the caller knows which samples it may show.
        """
        ...

    def ready(self, dataset_row_id: int, embedder: str, dimensions: int) -> None:
        """Do now what would make the next search of a dataset slow."""
        ...

    def forget_purged(self) -> None:
        """Drop what is kept beside the database of datasets that are no more."""
        ...


class FileVectorStore:
    """The vectors of a database, searched through memory-mapped files in ``folder``."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._db = database
        self._folder = folder
        self._files: OrderedDict[tuple[int, str], VectorFiles] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sample_row_id: int, embedder: str) -> NDArray[np.float32] | None:
        """See ``VectorStore``."""
        import numpy as np

        with self._db.read() as connection:
            raw = connection.execute(
                sa.select(search_vectors.c.vector).where(
                    search_vectors.c.sample_id == sample_row_id, search_vectors.c.embedder == embedder
                )
            ).scalar()
        return None if raw is None else np.frombuffer(raw, "<f2").astype(np.float32)

    def nearest(
        self,
        dataset_row_id: int,
        embedder: str,
        vector: NDArray[np.float32],
        *,
        count: int,
        threshold: float,
        within: NDArray[np.int64] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See ``VectorStore``."""
        import numpy as np

        query = np.asarray(vector, np.float32)
        query = query / max(float(np.linalg.norm(query)), 1e-9)
        mapped, files = self._open(dataset_row_id, embedder, len(query))
        wanted = count + _SPARE
        while True:
            rows = None
            if within is not None:
                rows = np.flatnonzero(np.isin(mapped.sample_ids, within))
            elif mapped.state.count > EXACT_UP_TO:
                from tintype_studio.search.vector_index import candidates

                rows = candidates(files, mapped, query, wanted)
            scores, places = _best(mapped.vectors, query, rows, wanted, threshold, check)
            there = self._are_there(mapped, places, embedder)
            if there.sum() >= count or len(places) < wanted:
                ids: NDArray[np.int64] = mapped.sample_ids[places[there]][:count]
                return ids, scores[there][:count]
            wanted *= 4

    def ready(self, dataset_row_id: int, embedder: str, dimensions: int) -> None:
        """See ``VectorStore``: bring the files, and the index of very many vectors, up to date."""
        mapped, files = self._open(dataset_row_id, embedder, dimensions)
        if mapped.state.count > EXACT_UP_TO:
            from tintype_studio.search.vector_index import build

            build(files, mapped)

    def forget_purged(self) -> None:
        """See ``VectorStore``: remove their files."""
        found: dict[int, list[Path]] = {}
        if self._folder.is_dir():
            for folder in self._folder.iterdir():
                number = folder.name.partition("-")[0]
                if number.isdecimal():
                    found.setdefault(int(number), []).append(folder)
        # Asked after the folders were listed: one made meanwhile is not among them.
        for row_id in found.keys() - self._living(list(found)):
            for folder in found[row_id]:
                shutil.rmtree(folder, ignore_errors=True)

    def _living(self, dataset_row_ids: list[int]) -> set[int]:
        living: set[int] = set()
        for start in range(0, len(dataset_row_ids), _FETCH):
            query = sa.select(datasets.c.id).where(datasets.c.id.in_(dataset_row_ids[start : start + _FETCH]))
            with self._db.read() as connection:
                living.update(connection.execute(query).scalars())
        return living

    def _open(self, dataset_row_id: int, embedder: str, dimensions: int) -> tuple[Mapped, VectorFiles]:
        with self._lock:
            key = (dataset_row_id, embedder)
            files = self._files.get(key)
            if files is None:
                # The name of a model may be a path.
                name = hashlib.sha256(embedder.encode()).hexdigest()[:12]
                files = VectorFiles(self._folder / f"{dataset_row_id}-{name}", dimensions)
                self._files[key] = files
            self._files.move_to_end(key)
            while len(self._files) > _KEPT_OPEN:
                self._files.popitem(last=False)
        with files.turn:
            mapped = files.current(self._version(dataset_row_id, embedder))
            if mapped is not None:
                return mapped, files
            version, keys = self._keys(dataset_row_id, embedder)

            def fetch(sample_ids: NDArray[np.int64]) -> NDArray[np.float32]:
                return self._fetch(sample_ids, embedder, dimensions)

            try:
                return files.bring_to(version, keys, fetch), files
            except OSError as error:
                raise Unavailable(
                    "The copy of the vectors cannot be written: the disk of the workspace is full or closed.",
                    code="storage_failed",
                    fix="Ask the operator to free disk space (the folder search/ of the workspace may be "
                    "deleted), then call again.",
                ) from error

    def _version(self, dataset_row_id: int, embedder: str) -> int:
        with self._db.read() as connection:
            return _version_in(connection, dataset_row_id, embedder)

    def _keys(self, dataset_row_id: int, embedder: str) -> tuple[int, NDArray[np.int64]]:
        """The version, and (n, 2) of tokens and sample ids as they are now."""
        import numpy as np

        query = sa.select(search_vectors.c.token, search_vectors.c.sample_id).where(
            search_vectors.c.dataset_id == dataset_row_id, search_vectors.c.embedder == embedder
        )
        with self._db.read() as connection:
            version = _version_in(connection, dataset_row_id, embedder)
            pairs = [tuple(row) for row in connection.execute(query)]
        return version, np.array(pairs, np.int64).reshape(len(pairs), 2)

    def _are_there(self, mapped: Mapped, places: NDArray[np.int64], embedder: str) -> NDArray[np.bool_]:
        """Which rows the database still has: one may be purged, and its sample id another image's."""
        import numpy as np

        ids = [int(i) for i in mapped.sample_ids[places]]
        tokens: dict[int, int] = {}
        for start in range(0, len(ids), _FETCH):
            query = sa.select(search_vectors.c.sample_id, search_vectors.c.token).where(
                search_vectors.c.sample_id.in_(ids[start : start + _FETCH]),
                search_vectors.c.embedder == embedder,
            )
            with self._db.read() as connection:
                tokens |= {row.sample_id: row.token for row in connection.execute(query)}
        known = np.fromiter((tokens.get(i, -1) for i in ids), np.int64, len(ids))
        there: NDArray[np.bool_] = known == mapped.tokens[places]
        return there

    def _fetch(self, sample_ids: NDArray[np.int64], embedder: str, dimensions: int) -> NDArray[np.float32]:
        """Vectors from the database; zeros for what went away since its key was read."""
        import numpy as np

        found = np.zeros((len(sample_ids), dimensions), np.float32)
        for start in range(0, len(sample_ids), _FETCH):
            part = [int(i) for i in sample_ids[start : start + _FETCH]]
            place = {sample_id: start + i for i, sample_id in enumerate(part)}
            with self._db.read() as connection:
                rows = connection.execute(
                    sa.select(search_vectors.c.sample_id, search_vectors.c.vector).where(
                        search_vectors.c.sample_id.in_(part), search_vectors.c.embedder == embedder
                    )
                ).all()
            for row in rows:
                if len(row.vector) == 2 * dimensions:
                    found[place[row.sample_id]] = np.frombuffer(row.vector, "<f2")
        return found


def _best(
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    rows: NDArray[np.int64] | None,
    count: int,
    threshold: float,
    check: Callable[[], None],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores and places of the best rows, best first; only the scores of all are in memory."""
    import numpy as np

    vectors = np.asarray(vectors)  # the class of memory maps makes every slice slow
    total = len(vectors) if rows is None else len(rows)
    scores = np.empty(total, np.float32)
    step = BLOCK if rows is None else GATHERED
    for start in range(0, total, step):
        check()
        block = vectors[start : start + step] if rows is None else vectors[rows[start : start + step]]
        np.dot(block, query, out=scores[start : start + step])
    first = max(0, total - count)
    places = np.argpartition(scores, first)[first:] if first else np.arange(total)
    places = places[scores[places] >= threshold]
    places = places[np.lexsort((places, -scores[places]))]
    return scores[places], places if rows is None else rows[places]


def note_change(connection: sa.Connection, database: Database, dataset_row_id: int, embedder: str) -> None:
    """Say in the writing transaction that vectors were written: copies of them are no longer complete.

    Versions begin and go up at random. Counted from 0, files left by a purged dataset whose row id is used
    again, or by what came after a backup that was restored, could have the number of other content.
    """
    key = {"dataset_id": dataset_row_id, "embedder": embedder}
    connection.execute(database.insert_ignore(search_versions).values(**key, version=secrets.randbits(40)))
    connection.execute(
        sa.update(search_versions)
        .where(search_versions.c.dataset_id == dataset_row_id, search_versions.c.embedder == embedder)
        .values(version=search_versions.c.version + 1 + secrets.randbits(24))
    )


def _version_in(connection: sa.Connection, dataset_row_id: int, embedder: str) -> int:
    found = connection.execute(
        sa.select(search_versions.c.version).where(
            search_versions.c.dataset_id == dataset_row_id, search_versions.c.embedder == embedder
        )
    ).scalar()
    return found or 0
