"""EdgeFirst's format as an export.

    <dataset>/<dataset>.arrow               the table, one row per annotation
    <dataset>/<dataset>/<sequence>/…        files of frames
    <dataset>/<dataset>/…                   files of other samples

Everything is held: samples of all sensors, with and without a picture, every kind of annotation, groups of
every name. Coordinates are float32 shares; where these cannot tell a pixel coordinate exactly,
``x_annotation`` does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any, ClassVar

from tintype_studio.annotations.geometry import Annotation
from tintype_studio.formats.base import ExportItem, ExportWriter, counted
from tintype_studio.formats.edf.rows import Document, SampleFacts
from tintype_studio.formats.edf.writing import Naming, TableSpool, file_path, segment

COPY_CHUNK = 1 << 18


class EdgeFirstWriter(ExportWriter):
    """Writes the table last; files go in as they come."""

    format: ClassVar[str] = "edgefirst"
    takes_all: ClassVar[bool] = True
    needs_size: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        indices = {cls.name: cls.index for cls in self.classes if cls.index is not None}
        free = max(indices.values(), default=-1) + 1
        for cls in self.classes:
            if cls.name not in indices:
                indices[cls.name] = free
                free += 1
        colors = {cls.name: {"color": cls.color} for cls in self.classes if cls.color}
        self._spool = TableSpool({cls.name: indices[cls.name] for cls in self.classes}, colors)
        self._naming = Naming()
        self._root = segment(self.dataset_name)

    def _add(self, item: ExportItem, annotations: Sequence[Annotation]) -> None:
        documents: list[Document] = [a.model_dump(mode="json", exclude_none=True) for a in annotations]
        if item.sensors is None:
            facts = self._facts(item)
            if item.image is not None:
                self.archive.write(self._path(facts.file_name or facts.name), item.image(), deflate=False)
        else:
            from tintype_studio.multisensor.edf import facts_of_sample

            facts, files = facts_of_sample(item.sensors, self._naming)
            for file in files if item.read is not None else ():
                assert item.read is not None
                self.archive.write(self._path(file.path), item.read(file.sha256), deflate=False)
        self._spool.add(facts, documents)
        self.written += len(documents)

    def _facts(self, item: ExportItem) -> SampleFacts:
        """Of a picture by itself."""
        name, frame, base = self._naming.sample(item.filename, item.folder)
        path = file_path(base, "image", item.filename, frame)
        told = {
            "uuid": item.image_id,
            "status": item.status,
            "name": item.filename,
            "folder": item.folder,
            "files": {"image": path},
        }
        size = (item.width, item.height) if item.width and item.height else None
        return SampleFacts(name, frame, item.split, size, file_name=path, more={"sample": told})

    def _path(self, path: str) -> str:
        return f"{self._root}/{self._root}/{path}"

    def _finish(self) -> None:
        with tempfile.TemporaryFile() as table:
            self._spool.finish(table)
            table.seek(0)
            spool = self.spool()
            while chunk := table.read(COPY_CHUNK):
                spool.append(chunk)
        self.archive.write_chunks(f"{self._root}/{self._root}.arrow", [spool])

    def close(self) -> None:
        """Free the temporary files, too."""
        super().close()
        self._spool.close()

    def _notes(self) -> list[str]:
        return [
            f"The table has {counted(self._spool.rows, 'row', 'rows')}: one per annotation, and one for each "
            "sample without any."
        ]
