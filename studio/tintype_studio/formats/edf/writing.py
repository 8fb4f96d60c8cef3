"""Writing a table of any number of samples, and the names of their files.

Rows are set aside in a temporary file, some thousand at a time, so memory is flat; which columns are
needed is known at the end. Then they are read back batch by batch. The lists of labels and groups are the
same in every batch, as an Arrow file has one of each.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tintype_studio.formats.base import folder_segments
from tintype_studio.formats.edf.from_coco import EVEN_ODD, RINGS
from tintype_studio.formats.edf.layout import split_name
from tintype_studio.formats.edf.rows import FIELDS, Document, EdfRow, SampleFacts, rows_of
from tintype_studio.formats.edf.schema import COLUMNS, arrow_type, metadata_of
from tintype_studio.formats.edf.table import arrays_of, write_table

if TYPE_CHECKING:
    from arro3.core import Array, RecordBatch

ROWS = 8192
"""Rows that are set aside together."""

_CATEGORIES = ("label", "group", "category_frequency")


class TableSpool:
    """Gathers rows, then writes them as one table. Use as a context, which frees the temporary file.

    ``labels`` are all classes and their indices, ``categories`` facts of some of them for the metadata.
    """

    def __init__(
        self,
        labels: Mapping[str, int],
        categories: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        scratch: Path | None = None,
    ) -> None:
        self._labels = dict(labels)
        self._metadata = {**metadata_of(labels, categories), RINGS: EVEN_ODD}
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed by close()
        self._pieces: list[tuple[int, int]] = []
        self._waiting: list[EdfRow] = []
        self._said: set[str] = set()
        self._names: dict[str, dict[str, None]] = {name: {} for name in _CATEGORIES}
        self._names["label"] = dict.fromkeys(labels)
        self.rows = 0

    def add(self, sample: SampleFacts, documents: Sequence[Document]) -> int:
        """Add a sample with its annotations as they are kept; returns how many rows it has."""
        rows = rows_of(sample, documents, self._labels)
        self._waiting.extend(rows)
        self.rows += len(rows)
        if len(self._waiting) >= ROWS:
            self._set_aside()
        return len(rows)

    def _set_aside(self) -> None:
        from arro3.core import DataType, RecordBatch
        from arro3.io import write_ipc_stream

        if not self._waiting:
            return
        arrays: dict[str, Any] = arrays_of(self._waiting)
        for name, known in self._names.items():
            for row in self._waiting:
                if (value := getattr(row, name)) is not None:
                    known.setdefault(value)
            arrays[name] = arrays[name].cast(DataType.utf8())
        self._said |= {name for name, array in arrays.items() if array.null_count < len(array)}
        stream = io.BytesIO()
        write_ipc_stream(RecordBatch.from_pydict(arrays), stream)
        data = stream.getvalue()
        self._pieces.append((self._file.tell(), len(data)))
        self._file.write(data)
        self._waiting.clear()

    def finish(self, output: IO[bytes] | Path, *, parquet: bool = False) -> None:
        """Write the table."""
        self._set_aside()
        names = [name for name in FIELDS if name in self._said or name == "name"]
        write_table(output, self._batches(names), self._metadata, parquet=parquet)

    def _batches(self, names: Sequence[str]) -> Iterator[dict[str, Array]]:
        if not self._pieces:
            yield {name: array for name, array in arrays_of([]).items() if name in {"name", "label", "size"}}
            return
        ordered = [name for name in COLUMNS if name in names]
        for at, length in self._pieces:
            batch = self._read(at, length)
            yield {
                name: self._coded(name, batch[name]) if name in _CATEGORIES else batch[name]
                for name in ordered
            }

    def _read(self, at: int, length: int) -> RecordBatch:
        from arro3.io import read_ipc_stream

        self._file.seek(at)
        return read_ipc_stream(io.BytesIO(self._file.read(length))).read_next_batch()

    def _coded(self, name: str, texts: Array) -> Array:
        """Texts as categories whose list is the whole one, whatever occurs among them."""
        from arro3.core import Array, ChunkedArray, DataType

        known = Array(list(self._names[name]), DataType.utf8())
        joined = ChunkedArray([known, texts]).combine_chunks()
        return joined.cast(arrow_type(COLUMNS[name])).slice(len(known))

    def close(self) -> None:
        """Free the temporary file."""
        self._file.close()

    def __enter__(self) -> TableSpool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Naming:
    """Names of samples and of their files in the container, each once."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def sample(
        self, filename: str, folder: str, sequence: str | None = None, frame: int | None = None
    ) -> tuple[str, int | None, str]:
        """``(name, frame, base)`` of a sample: its columns, and the path that its files' names begin with.

        A frame is named by its sequence; another sample by its file's name without extension, with the folder
        and the extension as far as they tell it from others.
        """
        if sequence is not None and frame is not None and self._take(f"{sequence}\0{frame}"):
            safe = segment(sequence)
            return sequence, frame, f"{safe}/{safe}_{frame:03}"
        folders = [segment(part) for part in folder_segments(folder)]
        known = split_name(filename)
        stem = known[0] if known is not None else filename
        for choice in (stem, "/".join((*folders, stem)), "/".join((*folders, filename))):
            if self._take(choice):
                name = choice
                break
        else:
            number = 2
            while not self._take(f"{'/'.join((*folders, filename))} ({number})"):
                number += 1
            name = f"{'/'.join((*folders, filename))} ({number})"
        last = name.rpartition("/")[2] if name.startswith("/".join(folders)) else name
        return name, None, "/".join((*folders, segment(last)))

    def _take(self, name: str) -> bool:
        key = hash(name.lower())  # names are matched without regard to case
        if key in self._taken:
            return False
        self._taken.add(key)
        return True


def segment(text: str) -> str:
    """A text as one segment of a path."""
    cleaned = "".join("_" if char in '/\\:*?"<>|' or not char.isprintable() else char for char in text)
    return f"_{cleaned}" if cleaned in {"", ".", ".."} else cleaned


def file_path(base: str, kind: str, filename: str, frame: int | None) -> str:
    """The path of a file in the container: ``base`` with what tells its kind, or for the picture of a sample
    that is no frame its own name.
    """
    from tintype_studio.multisensor.file_types import FILE_TYPES

    if kind != "image":
        return base + (FILE_TYPES[kind].suffix if kind in FILE_TYPES else f".{segment(kind)}")
    if frame is None:
        folder, slash, _ = base.rpartition("/")
        return f"{folder}{slash}{segment(filename)}"
    _, dot, extension = filename.rpartition(".")
    return f"{base}.camera.{segment(extension.lower()) if dot else 'jpeg'}"
