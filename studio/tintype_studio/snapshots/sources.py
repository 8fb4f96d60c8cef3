"""Where a restore takes its samples from: one shape for tables and recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tintype_studio.errors import InvalidInput
from tintype_studio.multisensor.file_types import FILE_TYPES
from tintype_studio.snapshots.contents import recordings_in
from tintype_studio.snapshots.snapshot import SnapshotType

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import DatasetClass
    from tintype_studio.multisensor.new_sample import NewSample


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file of a sample that is read when its turn comes."""

    type: str
    read: Callable[[], bytes]
    named: Callable[[bytes], str] | None = None
    """Tells its file name; None for that of the sample with the type's suffix."""
    beside: bool = False
    """Whether the sample comes without it where it cannot be read."""

    def name(self, sample: str, data: bytes) -> str:
        """Its file name."""
        return f"{sample}{FILE_TYPES[self.type].suffix}" if self.named is None else self.named(data)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A sample that is to be made."""

    name: str
    new: NewSample
    files: Sequence[FileSource] = field(default_factory=tuple)
    may_miss: bool = False
    """Whether one that cannot be read is left out; else nothing is restored."""


class Source(Protocol):
    """Samples in a fixed order, so that a restore that was interrupted finds its place."""

    classes: list[DatasetClass]
    count: int
    notes: list[str]

    def samples(self) -> Iterator[Incoming]:
        """Every sample; nothing of it was read yet."""

    def close(self) -> None:
        """Let the files go."""


class TableSource:
    """Samples of an Arrow table and its files."""

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        from tintype_studio.multisensor.edf import open_edf

        self._edf = open_edf(folder, paths)
        self.classes = list(self._edf.classes)
        self.count = self._edf.count
        self.notes: list[str] = []

    def samples(self) -> Iterator[Incoming]:
        """Every sample, in the order of the table."""
        for new, files in self._edf.samples():
            sources = [FileSource(file.type, file.read, _always(file.filename)) for file in files]
            yield Incoming(new.image_name or "", new, sources)

    def close(self) -> None:
        """Let the files go."""
        self._edf.close()


def _always(name: str) -> Callable[[bytes], str]:
    return lambda _data: name


def open_source(
    kind: SnapshotType,
    folder: Path,
    paths: Sequence[str],
    *,
    topics: Sequence[str],
    fps: float | None,
    check: Callable[[], None],
) -> Source:
    """The samples of a snapshot's files; ``InvalidInput`` where there are none."""
    from tintype_studio.snapshots.recordings import RecordingSource

    if kind is SnapshotType.MCAP:
        return RecordingSource(folder, recordings_in(paths), topics=topics, fps=fps, check=check)
    if kind is SnapshotType.EDGEFIRST:
        return TableSource(folder, paths)
    raise nothing_in_it()


def nothing_in_it() -> InvalidInput:
    """The refusal of files that no dataset can be made of."""
    return InvalidInput(
        "The snapshot holds no recording (.mcap) and no table (.arrow).",
        code="nothing_to_restore",
        fix="Download its files, and bring pictures in with import_dataset or upload_dataset_from_folder.",
    )
