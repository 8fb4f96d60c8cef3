"""A dataset in EdgeFirst's format: a table and the files of its samples, wherever they lie.

Read are a folder or ZIP with ``<name>.arrow`` (or ``.parquet``) at any depth, and beside it the files, or
a ZIP of them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tintype_studio.errors import UnsupportedFormat
from tintype_studio.formats.edf.claims import MAX_BYTES
from tintype_studio.formats.edf.coco_samples import grouped
from tintype_studio.formats.edf.layout import FileIndex
from tintype_studio.formats.edf.rows import UNLABELED, EdfRow, SampleFacts, facts_of_rows
from tintype_studio.formats.edf.table import EdfTable, read_table
from tintype_studio.formats.reading.converted import label_of
from tintype_studio.formats.reading.source import too_large
from tintype_studio.names import printable

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import DatasetClass
    from tintype_studio.formats.reading.source import Source

TABLES = (".arrow", ".parquet")
SAMPLES = 200
"""Samples whose rows are read together."""


@dataclass(frozen=True, slots=True)
class EdfSample:
    """A sample: what is said of it, its rows, and its files by type as paths of the container."""

    facts: SampleFacts
    rows: list[EdfRow]
    files: dict[str, str]


class EdfDataset:
    """A dataset that was opened: the whole table was read and checked, no file yet."""

    def __init__(self, source: Source, table_path: str | None = None) -> None:
        """``table_path`` is that of the table; None for the only one.

        Raises:
            UnsupportedFormat: there is no table, or there are several (``format_not_found``,
                ``format_ambiguous``).
            InvalidInput, TooLarge: as ``read_table``.
        """
        self._opened: list[Source] = []
        self.path = _only_table(source) if table_path is None else table_path
        self.table = self._read(source)
        self.container, paths = self._container(source)
        self._index = FileIndex(paths)
        self._owner, self._first = grouped(self.table)
        self.count = len(self._first)
        self.labels = _labels(self.table)

    def _read(self, source: Source) -> EdfTable:
        if source.size(self.path) > MAX_BYTES:
            raise too_large(self.path, MAX_BYTES)
        with source.open(self.path) as stream:
            if source.local(self.path) is not None:
                return read_table(stream)
            # A table is read from its end on, which a deflated member would be inflated anew for.
            with tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(stream, copy)
                return read_table(copy)

    def _container(self, source: Source) -> tuple[Source, list[str]]:
        """What the files are in, and their paths: a ZIP beside the table, else the folders there."""
        from tintype_studio.formats.reading.zip_source import ZipSource

        folder, slash, filename = self.path.rpartition("/")
        stem = filename.rpartition(".")[0]
        for name in (f"{folder}{slash}{stem}.zip", f"{folder}{slash}dataset.zip"):
            place = source.local(name) if name in source.paths else None
            if place is not None:
                inner = ZipSource(place)
                self._opened.append(inner)
                return inner, inner.paths
        return source, [path for path in source.paths if path != self.path]

    @property
    def classes(self) -> list[DatasetClass]:
        """The labels as classes, with their indices."""
        from tintype_studio.catalog.datasets import DatasetClass

        return [DatasetClass(name, index=index) for name, index in self.labels.items()]

    def samples(self) -> Iterator[EdfSample]:
        """Every sample, in the order in which the table names them first."""
        import numpy as np

        order = np.argsort(self._owner, kind="stable")
        ends = np.cumsum(np.bincount(self._owner, minlength=self.count)) if self.count else np.empty(0)
        for at in range(0, self.count, SAMPLES):
            stop = min(at + SAMPLES, self.count)
            start = int(ends[at - 1]) if at else 0
            numbers = order[start : int(ends[stop - 1])]
            rows = self.table.read(numbers.tolist())
            own: list[list[EdfRow]] = [[] for _ in range(stop - at)]
            for owner, row in zip(self._owner[numbers].tolist(), rows, strict=True):
                own[owner - at].append(row)
            for each in own:
                facts = facts_of_rows(each)
                yield EdfSample(facts, each, self._files(facts))

    def _files(self, facts: SampleFacts) -> dict[str, str]:
        """Paths of a sample's files: those that our own files tell, else those that are named like it."""
        told = (facts.more or {}).get("sample")
        listed = told.get("files") if isinstance(told, dict) else None
        found = self._index.find(facts.name, facts.frame, facts.file_name)
        if isinstance(listed, dict):
            for kind, path in listed.items():
                at = self._index.path(path) if isinstance(path, str) else None
                if at is not None:
                    found[kind] = at
        return found

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of a file of the container. Raises as ``Source.read``."""
        return self.container.read(path, limit)

    def close(self) -> None:
        """Let go of what was opened here; the source is the caller's."""
        for source in self._opened:
            source.close()

    def __enter__(self) -> EdfDataset:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def tables_in(paths: list[str]) -> list[str]:
    """Which of some paths are tables."""
    return [path for path in paths if path.lower().endswith(TABLES)]


def _only_table(source: Source) -> str:
    found = tables_in(source.paths)
    if not found:
        raise UnsupportedFormat(
            "There is no table (.arrow or .parquet).",
            code="format_not_found",
            fix="Name a folder or ZIP with <dataset>.arrow and its files.",
        )
    if len(found) > 1:
        shown = ", ".join(printable(path)[:80] for path in found[:5])
        raise UnsupportedFormat(
            f"There are several tables: {shown}.",
            code="format_ambiguous",
            fix="Keep one .arrow or .parquet file; other versions of it go elsewhere.",
        )
    return found[0]


def _labels(table: EdfTable) -> dict[str, int | None]:
    """Labels as classes of a dataset, and their indices: those that the file lists, then those of rows.

    Of two labels with one index the first keeps it.
    """
    from collections import Counter

    found: dict[str, int | None] = {}
    taken: set[int] = set()

    def put(name: str, index: object) -> None:
        label = label_of(name)
        own = index if type(index) is int and 0 <= index < 2**31 and index not in taken else None
        if found.get(label) is None:
            found[label] = own
            if own is not None:
                taken.add(own)

    pairs = Counter(zip(table.values("label"), table.values("label_index"), strict=True))
    by_rows = {name: index for (name, index), _ in reversed(pairs.most_common()) if name is not None}
    listed = [*table.facts.labels, *table.facts.categories]
    for place, name in enumerate(listed):
        facts = table.facts.categories.get(name, {})
        put(name, by_rows.get(name, facts.get("id", place if not table.facts.categories else None)))
    for name, index in by_rows.items():
        put(name, index)
    if any(name is None for name, _ in pairs) and _has_unlabeled(table):
        put(UNLABELED, None)
    return found


def _has_unlabeled(table: EdfTable) -> bool:
    """Whether something is marked and not labelled."""
    import numpy as np

    from tintype_studio.formats.edf.arrays import present

    marked = np.zeros(table.rows, dtype=np.bool_)
    for name in ("polygon", "mask", "box2d", "box3d"):
        if (column := table.column(name)) is not None:
            there = present(column)
            marked |= np.ones(table.rows, dtype=np.bool_) if there is None else there
    label = table.column("label")
    labelled = np.zeros(table.rows, dtype=np.bool_)
    if label is not None:
        there = present(label)
        labelled = np.ones(table.rows, dtype=np.bool_) if there is None else there
    return bool((marked & ~labelled).any())
