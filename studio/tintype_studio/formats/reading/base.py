"""What every reader shares: the items it yields, and how it is opened.

A reader looks at its source once (``__init__``) and refuses a file that it cannot understand as a whole,
before anything is imported. Then :meth:`Reader.items` yields every image with a way to its annotations, which
are read and converted only when they are asked for, so that one damaged entry fails its own image alone.
"""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from tintype_studio.catalog.datasets import ClassAttribute, DatasetClass
from tintype_studio.errors import InvalidInput, TintypeError
from tintype_studio.formats.reading.converted import Converted, invalid, label_of
from tintype_studio.names import printable

if TYPE_CHECKING:
    from tintype_studio.formats.reading.source import Source
    from tintype_studio.multisensor.edf import SampleSource
    from tintype_studio.multisensor.new_sample import NewSample

Convert = Callable[[int, int], Converted]
"""Reads an image's annotations; takes the upright size of the image in pixels."""


@dataclass(frozen=True, slots=True)
class ImportItem:
    """One image. ``folder`` is ``/`` or ``/stop/left``; ``split`` is train, val, test or None.

    ``image`` is its file in the source, None when only annotations are there. ``status`` is set where the
    format knows one. ``convert`` raises ``InvalidInput`` for annotations that cannot be taken as a whole.
    ``error`` says why the image cannot be imported at all.
    """

    folder: str
    filename: str
    image: str | None
    convert: Convert
    split: str | None = None
    status: str | None = None
    embedded: Callable[[], bytes] | None = None
    """Gives the image where it stands inside the annotation file."""
    any_extension: bool = False
    """Whether ``filename`` lacks its extension: the source has a label file and no image."""
    size: tuple[int, int] | None = None
    """Width and height that the source tells, where it does."""
    error: TintypeError | None = None
    arriving: Callable[[], tuple[NewSample, list[SampleSource]]] | None = None
    """Gives the sample of several sensors that it is, and its files; then ``image`` and ``embedded`` are
    only for a dataset that has its picture."""

    @property
    def path(self) -> str:
        """``folder/filename`` without a leading slash, unique among the items."""
        return f"{self.folder.strip('/')}/{self.filename}".lstrip("/")


def no_annotations(_width: int, _height: int) -> Converted:
    """For an image of which the source says nothing."""
    return Converted()


class Reader(ABC):
    """Reads one dataset of one format.

    ``classes`` are those that the source lists, in its order; empty where it lists none, and then the dataset
    learns them from the annotations. ``counts`` are notes on the whole (see ``converted.sentences``).
    """

    format: ClassVar[str]

    def __init__(self, source: Source) -> None:
        self.source = source
        self.classes: list[DatasetClass] = []
        self.counts: Counter[str] = Counter()

    @abstractmethod
    def _items(self) -> Iterator[ImportItem]:
        """Every image, in a fixed order."""

    def items(self) -> Iterator[ImportItem]:
        """Every image, in a fixed order, each ``path`` once.

        Two splits may have an image of one name: the second one goes to a folder named by its split. What is
        told twice in one split is an item with an error, under a name that says so.
        """
        seen: set[str] = set()
        self.counts["apart"] = 0
        for item in self._items():
            path = item.path
            if path not in seen:
                seen.add(path)
                yield item
                continue
            moved = replace(item, folder=f"/{item.split}/{item.folder.strip('/')}".rstrip("/"))
            if item.split is not None and moved.path not in seen:
                self.counts["apart"] += 1
                seen.add(moved.path)
                yield moved
                continue
            number = 2
            while f"{path} ({number})" in seen:
                number += 1
            seen.add(f"{path} ({number})")
            again = invalid(f"The image {printable(path)[:200]!r} is told twice.", code="image_twice")
            yield replace(item, filename=f"{item.filename} ({number})", error=item.error or again)

    def list_class(
        self,
        name: object,
        color: str | None = None,
        kind: str | None = None,
        attributes: tuple[ClassAttribute, ...] = (),
    ) -> str:
        """Add a class that the source lists; returns its name as ours.

        Raises:
            InvalidInput: two listed classes would have one name here.
        """
        label = label_of(name)
        for known in self.classes:
            if known.name == label:
                raise class_twice(label)
        self.counts["renamed"] += label != name
        self.classes.append(DatasetClass(label, kind, color_of(color), attributes))
        return label


def class_twice(label: str) -> InvalidInput:
    """The refusal of a list in which two classes would be one here."""
    return InvalidInput(
        f"The class {printable(label)!r} is listed twice (or two classes differ only in / \\ ? # %).",
        code="class_twice",
        fix="Rename one of the two in the annotation file.",
    )


def color_of(color: object) -> str | None:
    """``#rrggbb`` in lower case, or None for anything else."""
    text = color.strip().lower() if isinstance(color, str) else ""
    is_color = len(text) == 7 and text[0] == "#" and all(c in "0123456789abcdef" for c in text[1:])
    return text if is_color else None


@contextmanager
def undisturbed() -> Iterator[None]:
    """No search for garbage while a large file is parsed: it makes none, and looking takes twice as long.

    Nor afterwards: what was made counts as old then, as if it had been looked through. For the whole process;
    short.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():  # else somebody keeps it frozen
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def parse_json(data: bytes, path: str) -> Any:
    """JSON of a file.

    Raises:
        InvalidInput: it is not UTF-8 JSON (NaN and Infinity are none), or nested too deep.
    """
    try:
        return orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise broken(path, f"it is no JSON ({str(error)[:120]})") from None


def broken(path: str, why: str) -> InvalidInput:
    """The refusal of a file that cannot be read."""
    return InvalidInput(
        f"{printable(path)[:200]}: {why}.",
        code="broken_file",
        fix="Export the dataset again, or mend this file.",
    )
