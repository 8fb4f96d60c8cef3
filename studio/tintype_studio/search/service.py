"""What the tools call: images by tags, images that look alike, near-duplicates."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample, Samples
from tintype_studio.errors import InvalidInput, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.names import clean_folder, printable
from tintype_studio.search.duplicates import Candidate, Group, Likeness, group_duplicates
from tintype_studio.search.indexer import Indexer
from tintype_studio.search.looks import EMBEDDING_FAILED
from tintype_studio.search.scene_help import about_scenes
from tintype_studio.search.scope import Scope
from tintype_studio.search.tag_search import ImageTags, Wanted, matching, tags_of
from tintype_studio.search.vector_store import EXACT_UP_TO, FileVectorStore, VectorStore
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.search_tables import search_entries
from tintype_studio.storage.tables import datasets, projects, samples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CATCH_UP_IMAGES = 200
CATCH_UP_SECONDS = 3.0
"""What a search indexes itself before it answers, at most."""

_SPARE = 16
"""Neighbours asked for beyond those wanted: the image itself, and some from the recycle bin."""

_MOST_COMPARED = 200_000
"""Images that are compared pair by pair for near-duplicates, at most."""

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Hit:
    """An image that was found. ``similarity`` is the cosine within 0 to 1, where there is one."""

    sample: Sample
    tags: ImageTags
    similarity: float | None = None
    project_id: str | None = None
    dataset_id: str | None = None
    dataset_name: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of images. ``not_indexed`` images of the scope were not looked at yet: search again later."""

    hits: list[Hit]
    total: int | None
    not_indexed: int


@dataclass(frozen=True, slots=True)
class Duplicates:
    """A page of groups; ``total`` groups and ``spare`` images beyond those to keep are in the dataset."""

    groups: list[tuple[Hit, list[Hit]]]
    total: int
    spare: int
    not_indexed: int


class Search:
    """Search over every organization; each call sees only the principal's own."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        catalog: Samples,
        folder: Path,
        *,
        model: str | None = None,
    ) -> None:
        self._db = database
        self._samples = catalog
        self.indexer = Indexer(database, blobs, folder, model=model)
        self.vectors: VectorStore = FileVectorStore(database, folder / "vectors")
        self.indexer.afterwards = self._prepare
        self._groups: dict[tuple[int, Likeness], tuple[object, list[Group]]] = {}
        self._lock = threading.Lock()

    def by_tags(
        self,
        principal: Principal,
        dataset: Dataset | None,
        wanted: Wanted,
        *,
        limit: int = 50,
        offset: int = 0,
        check: Callable[[], None] = lambda: None,
    ) -> Found:
        """Images with one of the tags of each category, in upload order; of all datasets with None.

        Raises ``InvalidInput`` (``no_tags``) without any tag.
        """
        wanted.require_some()
        scope = Scope(dataset.row_id if dataset else None, principal.organization_id)
        # What is annotated is known without looking at an image.
        left = self._catch_up(scope, check) if wanted.attributes or wanted.scenes else 0
        with self._db.read() as connection:
            query = matching(connection, principal, dataset, wanted, self.indexer.scenes_by)
            total = connection.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one()
            ids = [row.id for row in connection.execute(query.limit(limit).offset(offset))]
            hits = self._hits(connection, ids)
        return Found(hits, int(total), left)

    def about_scenes(self, wanted: Sequence[str]) -> str | None:
        """What an answer about scenes must say: why there are none, or which of them no image can have."""
        return about_scenes(self.indexer, wanted)

    def similar(
        self,
        principal: Principal,
        sample_id: str,
        *,
        threshold: float = 0.6,
        limit: int = 50,
        folder: str | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Found:
        """Images of the same dataset that look like one of them, most alike first, itself left out.

        ``folder`` restricts the search to a virtual folder and those below it; None is the image's own, and
        ``/`` the whole dataset. Raises ``NotFound`` for an unknown image, ``InvalidInput``
        (``no_descriptor``) for one that cannot be decoded, ``Unavailable`` without the embedder's weights.
        """
        sample = self._samples.get(principal, sample_id)
        folder = clean_folder(sample.folder if folder is None else folder)
        self.indexer.index(sample.row_id)
        embedder = self.indexer.embedder
        vector = self.vectors.get(sample.row_id, embedder.name)
        if vector is None:
            raise self._no_descriptor(sample)
        scope = Scope(sample.dataset_row_id)
        left = self._catch_up(scope, check)
        hits = self._nearest(sample, vector, threshold, limit, folder, check)
        return Found(hits, None, left)

    def duplicates(
        self,
        dataset: Dataset,
        likeness: Likeness,
        *,
        limit: int = 20,
        offset: int = 0,
        check: Callable[[], None] = lambda: None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Duplicates:
        """Groups of near-duplicates, largest first; of each group the first is the one to keep."""
        scope = Scope(dataset.row_id)
        left = self._catch_up(scope, check)
        images = self._fingerprints(dataset)
        groups = self._grouped(dataset, likeness, images, progress)
        page = groups[offset : offset + limit]
        wanted = [row_id for group in page for row_id in (group.keep, *group.others)]
        with self._db.read() as connection:
            hits = {
                hit.sample.row_id: hit
                for start in range(0, len(wanted), _AT_ONCE)
                for hit in self._hits(connection, wanted[start : start + _AT_ONCE])
            }
        shown = []
        for group in page:
            others = [
                _with(hits[row_id], 1 - bits / 128)
                for row_id, bits in zip(group.others, group.bits, strict=True)
                if row_id in hits
            ]
            if group.keep in hits and others:
                shown.append((hits[group.keep], others))
        return Duplicates(shown, len(groups), sum(len(g.others) for g in groups), left)

    def close(self) -> None:
        """Stop indexing."""
        self.indexer.close()

    def _prepare(self) -> None:
        """Remove what purged datasets left, and build the index of very large ones ahead of a search."""
        self.vectors.forget_purged()
        large = sa.select(datasets.c.id).where(
            datasets.c.image_count > EXACT_UP_TO, datasets.c.deleted_at.is_(None)
        )
        with self._db.read() as connection:
            found = list(connection.execute(large).scalars())
        for row_id in found:
            embedder = self.indexer.embedder
            self.vectors.ready(row_id, embedder.name, embedder.dimensions)

    def _catch_up(self, scope: Scope, check: Callable[[], None]) -> int:
        """Index a little of what is missing; how many images are left."""
        if not self.indexer.left(scope):
            return 0
        # A full disk keeps nobody from finding what is indexed.
        with suppress(Unavailable):
            self.indexer.catch_up(scope, most=CATCH_UP_IMAGES, seconds=CATCH_UP_SECONDS, check=check)
        left = self.indexer.left(scope)
        if left:
            self.indexer.wake()
        return left

    def _nearest(
        self,
        sample: Sample,
        vector: NDArray[np.float32],
        threshold: float,
        limit: int,
        folder: str,
        check: Callable[[], None],
    ) -> list[Hit]:
        within = None if folder == "/" else self._in_folder(sample, folder)
        # A similarity is never below 0, so a threshold of 0 lets everything pass.
        least = threshold if threshold > 0 else -2.0
        count = limit + _SPARE
        while True:
            ids, scores = self.vectors.nearest(
                sample.dataset_row_id,
                self.indexer.embedder.name,
                vector,
                count=count,
                threshold=least,
                within=within,
                check=check,
            )
            ranked = dict(zip(ids.tolist(), scores.tolist(), strict=True))
            ranked.pop(sample.row_id, None)
            with self._db.read() as connection:
                hits = [
                    hit
                    for start in range(0, len(ranked), _AT_ONCE)
                    for hit in self._hits(
                        connection,
                        list(ranked)[start : start + _AT_ONCE],
                        _in(sample.dataset_row_id, folder),
                    )
                ]
            if len(hits) >= limit or len(ids) < count:
                hits.sort(key=lambda hit: (-ranked[hit.sample.row_id], hit.sample.row_id))
                return [_with(hit, ranked[hit.sample.row_id]) for hit in hits[:limit]]
            # Many of the nearest lie in the recycle bin: look further.
            count *= 4

    def _in_folder(self, sample: Sample, folder: str) -> NDArray[np.int64]:
        import numpy as np

        query = sa.select(samples.c.id).where(*_in(sample.dataset_row_id, folder))
        with self._db.read() as connection:
            return np.fromiter(connection.execute(query).scalars(), np.int64)

    def _hits(
        self,
        connection: sa.Connection,
        row_ids: Sequence[int],
        conditions: Sequence[sa.ColumnElement[bool]] = (),
    ) -> list[Hit]:
        """Living images with their tags, in the order of ``row_ids``."""
        found = self._samples.of_rows(connection, row_ids, conditions)
        tags = tags_of(connection, list(found), self.indexer.scenes_by)
        places = {
            row.id: (row.project, row.uuid, row.name)
            for row in connection.execute(
                sa.select(datasets.c.id, datasets.c.uuid, datasets.c.name, projects.c.uuid.label("project"))
                .join(projects, projects.c.id == datasets.c.project_id)
                .where(datasets.c.id.in_({s.dataset_row_id for s in found.values()}))
            )
        }
        return [
            Hit(found[row_id], tags[row_id], None, *places[found[row_id].dataset_row_id])
            for row_id in row_ids
            if row_id in found
        ]

    def _fingerprints(self, dataset: Dataset) -> list[Candidate]:
        query = (
            sa.select(
                samples.c.id,
                search_entries.c.fingerprint,
                samples.c.annotation_count,
                (samples.c.width * samples.c.height).label("pixels"),
            )
            .join(search_entries, search_entries.c.sample_id == samples.c.id)
            .where(
                samples.c.dataset_id == dataset.row_id,
                samples.c.deleted_at.is_(None),
                search_entries.c.fingerprint.is_not(None),
            )
            .order_by(samples.c.id)
            .limit(_MOST_COMPARED + 1)
        )
        with self._db.read() as connection:
            images = [
                Candidate(row.id, row.fingerprint, row.annotation_count, row.pixels or 0)
                for row in connection.execute(query)
            ]
        if len(images) > _MOST_COMPARED:
            raise InvalidInput(
                f"Near-duplicates are looked for among {_MOST_COMPARED} images at most; "
                f"{dataset.name!r} has more.",
                code="too_many_images",
                fix="Split the dataset, or use search_by_similarity with a threshold of 0.95.",
            )
        return images

    def _grouped(
        self,
        dataset: Dataset,
        likeness: Likeness,
        images: list[Candidate],
        progress: Callable[[int, int], None],
    ) -> list[Group]:
        """The groups; those of the last question about unchanged images are kept for its further pages."""
        stamp = hash(tuple(images))
        key = (dataset.row_id, likeness)
        with self._lock:
            kept = self._groups.get(key)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        groups = group_duplicates(images, likeness, progress)
        with self._lock:
            self._groups = {key: (stamp, groups)}
        return groups

    def _no_descriptor(self, sample: Sample) -> InvalidInput | Unavailable:
        with self._db.read() as connection:
            problem = connection.execute(
                sa.select(search_entries.c.problem).where(search_entries.c.sample_id == sample.row_id)
            ).scalar()
        name = printable(sample.filename)
        if problem is None:
            return Unavailable(
                f"The bytes of {name!r} cannot be read just now.",
                code="not_indexed",
                fix="Call again in a few seconds.",
            )
        reason = "the embedder failed on it" if problem.startswith(EMBEDDING_FAILED) else problem
        return InvalidInput(
            f"{name!r} has no descriptor: {reason}.",
            code="no_descriptor",
            fix="Choose another image, or upload this one again as JPEG or PNG.",
        )


def _in(dataset_row_id: int, folder: str) -> list[sa.ColumnElement[bool]]:
    """Living images of a dataset, in a folder and below it."""
    found: list[sa.ColumnElement[bool]] = [
        samples.c.dataset_id == dataset_row_id,
        samples.c.deleted_at.is_(None),
    ]
    if folder != "/":
        # Not LIKE, which is blind to case in SQLite.
        below = sa.func.substr(samples.c.folder, 1, len(folder) + 1) == f"{folder}/"
        found.append(sa.or_(samples.c.folder == folder, below))
    return found


def _with(hit: Hit, similarity: float) -> Hit:
    return replace(hit, similarity=round(min(1.0, max(0.0, similarity)), 4))
