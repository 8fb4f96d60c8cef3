"""EdgeFirst's format: a table (.arrow or .parquet) and files beside it, in folders or a ZIP of its name.

Samples come with all their sensors, sequences, groups and facts; see ``formats.edf``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from tintype_studio.catalog.image_files import MAX_FILE_BYTES
from tintype_studio.errors import TintypeError
from tintype_studio.formats.edf.dataset import EdfDataset, EdfSample
from tintype_studio.formats.edf.documents import documents_of
from tintype_studio.formats.reading.base import ImportItem, Reader
from tintype_studio.formats.reading.converted import Converted, invalid
from tintype_studio.multisensor.edf import EdfSource, folder_of, name_of, place_of, status_of

if TYPE_CHECKING:
    from tintype_studio.formats.reading.source import Source


class EdgeFirstReader(Reader):
    """Reads one table and its files."""

    format: ClassVar[str] = "edgefirst"

    def __init__(self, source: Source, files: Sequence[str]) -> None:
        super().__init__(source)
        self._dataset = EdfDataset(source, files[0] if len(files) == 1 else None)
        self._samples = EdfSource(self._dataset, source.close)
        self.classes = list(self._samples.classes)

    def _items(self) -> Iterator[ImportItem]:
        for sample in self._dataset.samples():
            yield self._item(sample)

    def _item(self, sample: EdfSample) -> ImportItem:
        facts = sample.facts
        sequence, frame = place_of(facts)
        error: TintypeError | None = None
        name = name_of(sample)
        if name is None:
            name = facts.name if frame is None else f"{facts.name}_{frame:03}"
            if not sample.files:
                error = invalid("The sample has no file.", code="no_file")
        image = sample.files.get("image")
        status = status_of(facts)
        return ImportItem(
            folder_of(facts) if sequence is None else f"/{sequence}",
            name,
            None,
            partial(self._convert, sample),
            facts.group,
            status=None if status is None else status.value,
            embedded=None if image is None else partial(self._dataset.read, image, MAX_FILE_BYTES),
            size=facts.size,
            error=error,
            arriving=partial(self._samples.one, sample),
        )

    @staticmethod
    def _convert(sample: EdfSample, width: int, height: int) -> Converted:
        told = sample.facts.size or (width, height)
        return documents_of(sample.rows, *told)
