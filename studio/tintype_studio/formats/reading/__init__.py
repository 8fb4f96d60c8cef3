"""Readers of annotated datasets: one module per format, found by name or by what the files look like.

``open_reader`` is the way in. Nothing is imported here that a list of the formats does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tintype_studio.errors import UnsupportedFormat

if TYPE_CHECKING:
    from tintype_studio.formats.reading.base import Reader
    from tintype_studio.formats.reading.source import Source

FORMATS = ("pictograph", "coco", "yolo", "cvat", "pascal_voc", "labelme", "csv", "darwin", "edgefirst")
AUTO = "auto"


def open_reader(source: Source, format: str = AUTO) -> Reader:
    """A reader of what the source holds; with ``auto``, of the format that its files have.

    Raises:
        UnsupportedFormat: there is no such format, the source holds no files of it (``format_not_found``),
            or with ``auto`` files of several (``format_ambiguous``) or of none.
        InvalidInput: a file that is needed for the whole is broken.
    """
    from tintype_studio.formats.reading.detect import detect

    if format not in {AUTO, *FORMATS}:
        known = ", ".join(FORMATS)
        raise UnsupportedFormat(
            f"There is no import format {format[:40]!r}; the formats are {known}.",
            fix=f"Set format to auto or one of: {known}.",
            details={"formats": list(FORMATS)},
        )
    return detect(source, format)
