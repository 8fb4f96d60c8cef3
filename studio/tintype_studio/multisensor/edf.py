"""Datasets with all their sensors as EdgeFirst's table and files, and back.

What the format has no place for stands in the column ``x_image`` under ``sample``: the UUID, status,
names, facts with more digits than float32, where each file lies. Of a fact that stands in a column as
well, the exact one counts as long as both agree.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tintype_studio.catalog.samples import Status
from tintype_studio.formats.edf.dataset import EdfDataset, EdfSample, tables_in
from tintype_studio.formats.edf.documents import documents_of
from tintype_studio.formats.edf.rows import SampleFacts
from tintype_studio.formats.edf.shares import shortest, single
from tintype_studio.formats.edf.writing import Naming, TableSpool, file_path, segment
from tintype_studio.formats.reading.source import open_source
from tintype_studio.multisensor.file_types import FILE_TYPES, IMAGE, MAX_OTHER_BYTES
from tintype_studio.multisensor.sample_meta import SampleMeta, meta_of

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset, DatasetClass
    from tintype_studio.identity.keys import Principal
    from tintype_studio.multisensor.new_sample import NewSample
    from tintype_studio.multisensor.samples import SensorSample
    from tintype_studio.studio import Studio

PAGE = 500


@dataclass(frozen=True, slots=True)
class SampleSource:
    """A file of a sample that is not read yet."""

    type: str
    filename: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file of a sample on its way out: where it goes, and what holds its bytes."""

    path: str
    sha256: str
    size: int


def label_indices(dataset: Dataset) -> dict[str, int]:
    """The classes of a dataset and their indices."""
    found = {each.name: each.index for each in dataset.classes if each.index is not None}
    free = max(found.values(), default=-1) + 1
    for each in dataset.classes:
        if each.index is None:
            found[each.name] = free
            free += 1
    return {each.name: found[each.name] for each in dataset.classes}


def facts_of_sample(sample: SensorSample, naming: Naming) -> tuple[SampleFacts, list[PlacedFile]]:
    """What a table says of a sample, and where its files go."""
    sequence = None if sample.sequence is None else sample.sequence.name
    name, frame, base = naming.sample(sample.filename, sample.folder, sequence, sample.frame_number)
    files = [
        PlacedFile(file_path(base, kind, file.filename, frame), file.sha256, file.size)
        for kind, file in sample.files.items()
    ]
    paths = dict(zip(sample.files, (file.path for file in files), strict=True))
    meta = sample.meta
    size = None if sample.width is None or sample.height is None else (sample.width, sample.height)
    more: dict[str, Any] = {"uuid": sample.id, "status": sample.status.value, "files": paths}
    more["name"], more["folder"] = sample.filename, sample.folder
    names = {kind: file.filename for kind, file in sample.files.items()}
    if names:
        more["names"] = names
    if sample.display_name:
        more["display_name"] = sample.display_name
    if sample.sequence is not None:
        more["sequence"] = {"name": sample.sequence.name, "description": sample.sequence.description}
        more["frame"] = sample.frame_number
    if (told := meta.as_json()) is not None:
        more["meta"] = told
    return (
        SampleFacts(
            name,
            frame,
            sample.group,
            size,
            None if meta.location is None else (single(meta.location.lat), single(meta.location.lon)),
            None
            if meta.pose is None
            else (single(meta.pose.roll), single(meta.pose.pitch), single(meta.pose.yaw)),
            meta.degradation,
            tuple(meta.neg_label_indices) or None,
            tuple(meta.not_exhaustive_label_indices) or None,
            paths.get(IMAGE),
            {"sample": more},
        ),
        files,
    )


def write_snapshot(
    studio: Studio,
    principal: Principal,
    dataset: Dataset,
    annotation_set: str,
    folder: Path,
    *,
    check: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda _done: None,
) -> list[Path]:
    """Write a dataset as ``<name>.arrow`` and ``<name>.zip`` into a folder, in flat memory.

    ``check`` is called for each sample and may raise; ``progress`` is told how many are done.

    Raises:
        NotFound: there is no such annotation set; or a file was purged meanwhile (``blob_missing``).
    """
    from tintype_studio.annotations.documents import set_row_id

    with studio.database.read() as connection:
        set_id = set_row_id(connection, dataset.row_id, annotation_set)
    stem = segment(dataset.name)
    table, container = folder / f"{stem}.arrow", folder / f"{stem}.zip"
    naming, done, after = Naming(), 0, 0
    with (
        TableSpool(label_indices(dataset), colors_of(dataset), scratch=folder) as spool,
        zipfile.ZipFile(container, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        while page := studio.multisensor.page(dataset, annotation_set=set_id, after=after, limit=PAGE):
            for sample in page:
                check()
                facts, files = facts_of_sample(sample, naming)
                spool.add(facts, sample.entries)
                for file in files:
                    _store(studio, archive, file)
                done += 1
                progress(done)
            after = page[-1].row_id
        spool.finish(table)
    return [table, container]


def colors_of(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """What a table says of classes beside their indices."""
    return {each.name: {"color": each.color} for each in dataset.classes if each.color}


def _store(studio: Studio, archive: zipfile.ZipFile, file: PlacedFile) -> None:
    info = zipfile.ZipInfo(file.path, (1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o100644 << 16
    info.file_size = file.size
    with archive.open(info, "w", force_zip64=file.size > 1 << 30) as member:
        for chunk in studio.blobs.stream(file.sha256):
            member.write(chunk)


class EdfSource:
    """Samples of a table on their way in. The table was checked as a whole, files are read one by one."""

    def __init__(self, dataset: EdfDataset, close: Callable[[], None]) -> None:
        self._dataset = dataset
        self._close = close
        self.classes: list[DatasetClass] = dataset.classes
        self.count = dataset.count
        self._indices = {name: index for name, index in dataset.labels.items() if index is not None}

    def samples(self) -> Iterator[tuple[NewSample, list[SampleSource]]]:
        """Every sample with its files, always in the same order.

        Raises:
            InvalidInput: a row says what cannot be; told with the name of its sample.
        """
        for sample in self._dataset.samples():
            yield self.one(sample)

    def one(self, sample: EdfSample) -> tuple[NewSample, list[SampleSource]]:
        """A sample and its files. Raises as ``samples``."""
        return self._new(sample), self._files(sample)

    def _new(self, sample: EdfSample) -> NewSample:
        from tintype_studio.multisensor.new_sample import NewSample

        facts, told = sample.facts, told_of(sample.facts)
        width, height = facts.size or (None, None)
        sequence, frame = place_of(facts)
        annotations = documents_of(sample.rows, width, height).annotations
        own = {each.name for each in annotations}
        return NewSample(
            image_name=name_of(sample),
            group=facts.group,
            sequence_name=sequence,
            sequence_description=_text(_mapping(told.get("sequence")).get("description")),
            frame_number=frame,
            width=width,
            height=height,
            meta=meta_of_facts(facts),
            status=status_of(facts),
            annotations=annotations,
            label_indices={name: index for name, index in self._indices.items() if name in own},
            display_name=_text(told.get("display_name")),
            folder=folder_of(facts),
        )

    def _files(self, sample: EdfSample) -> list[SampleSource]:
        names = _mapping(told_of(sample.facts).get("names"))
        return [
            SampleSource(
                kind,
                _text(names.get(kind)) or path.rpartition("/")[2],
                lambda path=path, kind=kind: self._dataset.read(path, most_bytes(kind)),  # type: ignore[misc]
            )
            for kind, path in sample.files.items()
        ]

    def close(self) -> None:
        """Let the files go."""
        self._dataset.close()
        self._close()

    def __enter__(self) -> EdfSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_edf(folder: Path, names: Sequence[str] = ()) -> EdfSource:
    """The dataset of a folder with a table and its files: a ZIP of the table's name, or a tree.

    ``names`` are the files that count as the dataset's, all if there are none named.

    Raises:
        UnsupportedFormat: no table, or several (``format_not_found``, ``format_ambiguous``).
        InvalidInput, TooLarge: the table or the ZIP is damaged, or claims what cannot be.
    """
    source = open_source(folder.resolve())
    try:
        wanted = tables_in([*names]) if names else []
        dataset = EdfDataset(source, wanted[0] if len(wanted) == 1 else None)
    except BaseException:
        source.close()
        raise
    return EdfSource(dataset, source.close)


def most_bytes(kind: str) -> int:
    """How large a file of a type may be."""
    return FILE_TYPES[kind].max_bytes if kind in FILE_TYPES else MAX_OTHER_BYTES


def told_of(facts: SampleFacts) -> Mapping[str, Any]:
    """What a file of ours tells of a sample beyond the format's columns."""
    return _mapping((facts.more or {}).get("sample"))


def place_of(facts: SampleFacts) -> tuple[str | None, int | None]:
    """Sequence and frame of a sample."""
    if facts.frame is not None:
        return facts.name, facts.frame
    told = told_of(facts)
    frame = told.get("frame")
    sequence = _text(_mapping(told.get("sequence")).get("name"))
    return sequence, frame if type(frame) is int and sequence is not None else None


def folder_of(facts: SampleFacts) -> str:
    """The folder of a sample that is no frame: what a file of ours tells, else that of its name."""
    told = told_of(facts).get("folder")
    if isinstance(told, str):
        return told
    path = (facts.file_name or facts.name).replace("\\", "/")
    segments = [part for part in path.split("/")[:-1] if part not in {"", ".", ".."}]
    return "/" + "/".join(segments)


def name_of(sample: EdfSample) -> str | None:
    """The file name of a sample; None if nothing tells one."""
    told = _text(told_of(sample.facts).get("name"))
    if told is not None:
        return told.replace("\\", "/").rpartition("/")[2]
    path = sample.files.get(IMAGE) or sample.facts.file_name
    return None if path is None else path.replace("\\", "/").rpartition("/")[2]


def meta_of_facts(facts: SampleFacts) -> SampleMeta:
    """The facts of a sample beside its columns.

    Raises:
        InvalidInput: one is no fact, such as a latitude of 200 degrees (``invalid_sample``).
    """
    told = dict(_mapping(told_of(facts).get("meta")))
    if facts.location is None:
        told.pop("location", None)
    else:
        told["location"] = _exact(told.get("location"), ("lat", "lon"), facts.location)
    if facts.pose is None:
        told.pop("pose", None)
    else:
        told["pose"] = _exact(told.get("pose"), ("roll", "pitch", "yaw"), facts.pose)
    for name in ("degradation", "neg_label_indices", "not_exhaustive_label_indices"):
        value = getattr(facts, name)
        if value is None:
            told.pop(name, None)
        else:
            told[name] = list(value) if isinstance(value, tuple) else value
    return meta_of(told)


def _exact(told: object, names: Sequence[str], column: Sequence[float]) -> dict[str, float]:
    """The numbers of a column, with the digits that the JSON tells of those that are the same in float32."""
    exact = _mapping(told)
    found = {}
    for name, value in zip(names, column, strict=True):
        own = exact.get(name)
        same = isinstance(own, int | float) and single(float(own)) == single(value)
        found[name] = float(own) if same else shortest(value)  # type: ignore[arg-type]
    return found


def status_of(facts: SampleFacts) -> Status | None:
    """The status that a file of ours tells."""
    told = told_of(facts).get("status")
    try:
        return Status(told) if isinstance(told, str) else None
    except ValueError:
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
