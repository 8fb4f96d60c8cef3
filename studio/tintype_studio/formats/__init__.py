"""Dataset file formats: one module each, found by name in :data:`WRITERS`.

Looking a writer up imports its module; importing this package does not, so that listing the formats costs
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from tintype_studio.errors import UnsupportedFormat

if TYPE_CHECKING:
    from tintype_studio.formats.base import ExportWriter


class _LazyWriters(Mapping[str, "type[ExportWriter]"]):
    """Maps a format name to its writer class, which is imported at the look-up."""

    def __init__(self, targets: Mapping[str, tuple[str, str]]) -> None:
        self._targets = dict(targets)

    def __getitem__(self, name: str) -> type[ExportWriter]:
        module, attribute = self._targets[name]
        writer: type[ExportWriter] = getattr(import_module(f"{__name__}.{module}"), attribute)
        return writer

    def __contains__(self, name: object) -> bool:
        # Mapping's own version would import the module only to answer yes.
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)


WRITERS: Mapping[str, type[ExportWriter]] = _LazyWriters(
    {
        "pictograph": ("pictograph", "PictographWriter"),
        "coco": ("coco", "CocoWriter"),
        "yolo": ("yolo", "YoloWriter"),
        "cvat": ("cvat", "CvatWriter"),
        "pascal_voc": ("pascal_voc", "PascalVocWriter"),
        "labelme": ("labelme", "LabelMeWriter"),
        "csv": ("csv_rows", "CsvWriter"),
        "edgefirst": ("edf.export", "EdgeFirstWriter"),
    }
)
"""Format name to writer class; the order is the order in which the formats are shown."""


def writer_for(name: str) -> type[ExportWriter]:
    """The writer class of format ``name``.

    Raises:
        UnsupportedFormat: no writer has this name; the message lists those there are.
    """
    try:
        return WRITERS[name]
    except KeyError:
        known = ", ".join(WRITERS)
        raise UnsupportedFormat(
            f"There is no export format {name!r}; the formats are {known}.",
            fix=f"Set format to one of: {known}.",
            details={"formats": list(WRITERS)},
        ) from None
