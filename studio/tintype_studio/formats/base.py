"""What every export writer shares: the items it takes, the ZIP it fills, the summary it gives.

A writer is used once: ``with writer_class(zip, …) as writer``, ``add`` for each image in the order wanted,
``finish`` once. It streams: what must come last in the ZIP waits in a temporary file, so memory holds one
image at a time plus what :class:`zipfile.ZipFile` itself keeps for each member (under 1 kB).

Output is deterministic: the same items, classes and ``created_at`` give the same bytes. Every member
carries ``created_at`` (UTC) as its time; images are stored as they are, text is deflated.
"""

from __future__ import annotations

import re
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

import orjson

from tintype_studio.annotations.beside import with_beside
from tintype_studio.errors import InvalidInput
from tintype_studio.formats.archive import Archive, PackedSpool, Spool
from tintype_studio.formats.figures import Figure, StoredDocument, figure_of_model, outlined

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Annotation
    from tintype_studio.catalog.datasets import ClassAttribute
    from tintype_studio.multisensor.samples import SensorSample

SPLITS = ("train", "val", "test")
MAX_MEMBER_PATH = 65_535
"""Bytes; the ZIP format has two bytes for the length of a name."""


_KIND, _TYPE = attrgetter("kind"), attrgetter("type")
_USUAL = frozenset({"bbox", "polygon", "polyline", "keypoint"})
"""Types that every writer knows."""
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class ExportClass:
    """A class of the dataset; ``color`` (such as ``#ff8800``), ``type`` and ``attributes`` are passed on
    where they fit.
    """

    name: str
    color: str | None = None
    type: str | None = None
    attributes: tuple[ClassAttribute, ...] = ()
    index: int | None = None
    """Its label index, for formats that have ids of their own."""


@dataclass(frozen=True, slots=True)
class ExportItem:
    """One image with its annotations.

    ``folder`` is ``/`` or ``/stop/left``; ``width`` and ``height`` are pixels of the upright image;
    ``split`` is ``train``, ``val``, ``test`` or None. ``image`` gives the file's bytes, or is None when
    images are left out of the export.
    """

    image_id: str
    filename: str
    folder: str
    width: int
    height: int
    status: str
    split: str | None
    annotations: Sequence[Annotation] | StoredDocument
    image: Callable[[], bytes] | None = None
    sensors: SensorSample | None = None
    """All that is known of it, for a format that holds everything."""
    read: Callable[[str], bytes] | None = None
    """Gives the bytes of its files by their digests; None when files are left out."""

    def models(self) -> Sequence[Annotation]:
        """The annotations as models."""
        return self.annotations.models() if isinstance(self.annotations, StoredDocument) else self.annotations

    def figures(self, *, paired: bool = False) -> list[Figure]:
        """The annotations with their geometry as text, its points told apart if ``paired``."""
        if isinstance(self.annotations, StoredDocument):
            return self.annotations.figures(paired=paired)
        return [figure_of_model(annotation, paired=paired) for annotation in self.annotations]


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was written. ``notes`` says, in sentences, what the format could not hold and what was changed."""

    images: int
    annotations: int
    left_out: int = 0
    notes: list[str] = field(default_factory=list)


def to_json(value: Any) -> bytes:
    """UTF-8 JSON, compact."""
    return orjson.dumps(value)


def counted(number: int, one: str, many: str) -> str:
    """``1 box was`` or ``1,200 boxes were``."""
    return f"{number:,} {one if number == 1 else many}"


def folder_segments(folder: str) -> list[str]:
    """``/stop/left`` as ``["stop", "left"]``; the root is an empty list."""
    return [segment for segment in folder.split("/") if segment]


def member_path(root: str, segments: Sequence[str], filename: str) -> str:
    """``root/segment/…/filename``, safe to unpack: relative, with nothing that can step out of ``root``.

    Raises:
        InvalidInput: a segment is empty, ``.`` or ``..``, or holds a separator, a control character or
            text that is not valid Unicode; or the whole is too long for a ZIP.
    """
    for segment in (*segments, filename):
        if segment in {"", ".", ".."} or _UNSAFE.search(segment):
            raise InvalidInput(
                f"The name {segment!r} cannot stand in a ZIP path.",
                fix="Rename the image or its folder: no separators, control characters, '.' or '..'.",
            )
    path = "/".join((root, *segments, filename))
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"The name {path!r} is not valid Unicode.", fix="Rename the image.") from None
    if length > MAX_MEMBER_PATH:
        raise InvalidInput(
            f"A path of {length:,} bytes is over the {MAX_MEMBER_PATH:,} bytes that a ZIP can hold.",
            fix="Shorten the names of the folders.",
        )
    return path


class ExportWriter(ABC):
    """Fills a ZIP with a dataset in one format. One use: ``add`` many times, ``finish`` once.

    Args of the constructor: an open, writable ZIP (which the caller closes), the dataset's name, its
    classes in their order, and the time to stamp on everything (a naive one is taken as UTC).

    Raises:
        InvalidInput: two classes have the same name, or a name is not valid Unicode.
    """

    format: ClassVar[str]
    takes_figures: ClassVar[bool] = False
    """Whether ``_add`` is given figures, not models."""
    takes_pairs: ClassVar[bool] = False
    """Whether the points of figures are told apart."""
    takes_masks: ClassVar[bool] = False
    """Whether ``_add`` is given masks, not their outlines."""
    takes_all: ClassVar[bool] = False
    """Whether ``_add`` is given models as they are, of every type, and groups of every name."""
    needs_size: ClassVar[bool] = True
    """Whether images without a size (0) are refused."""
    lists_attributes: ClassVar[bool] = False
    """Whether the format tells the attributes of a class with their options."""

    def __init__(
        self,
        zip: zipfile.ZipFile,
        *,
        dataset_name: str,
        classes: Sequence[ExportClass],
        created_at: datetime,
    ) -> None:
        self.archive = Archive(zip, created_at)
        self.dataset_name = dataset_name
        self.classes = tuple(classes)
        self.class_index = {c.name: index for index, c in enumerate(self.classes)}
        """Class name to its 0-based position."""
        self.counts: Counter[str] = Counter()
        """How often each thing happened that :meth:`_notes` reports."""
        self.images = 0
        self.written = 0
        self.left_out = 0
        self._lost: Counter[str] = Counter()
        self._other_groups: Counter[str] = Counter()
        self._spools: list[Spool | PackedSpool] = []
        self._closed = False
        if len(self.class_index) != len(self.classes):
            twice = next(name for name, n in Counter(c.name for c in self.classes).items() if n > 1)
            raise InvalidInput(f"The class {twice!r} is listed twice.", fix="Merge or rename one of the two.")
        for name in (dataset_name, *self.class_index):
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InvalidInput(f"The name {name!r} is not valid Unicode.", fix="Rename it.") from None

    def add(self, item: ExportItem) -> None:
        """Write one image and its annotations.

        Raises:
            InvalidInput: an annotation's class is not in the list, the size or split makes no sense, or a
                name cannot stand in a ZIP path. Nothing of the item has been written then.
            Conflict: the ZIP has a member of that name, so two images would be one file.
        """
        if self._closed:
            raise RuntimeError("this writer has finished")
        annotations = item.figures(paired=self.takes_pairs) if self.takes_figures else item.models()
        if not self.class_index.keys() >= {annotation.name for annotation in annotations}:
            self._refuse_class(item, annotations)
        if self.needs_size and (item.width < 1 or item.height < 1):
            raise InvalidInput(
                f"{item.filename!r} has a size of {item.width} x {item.height} pixels.",
                fix="Upload the image again so that its size is read.",
            )
        if not self.takes_all:
            if item.split is not None and item.split not in SPLITS:
                self._other_groups[item.split] += 1
                item = replace(item, split=None)
            annotations = self._holdable(annotations)
        self._add(item, annotations)
        self.images += 1

    def _holdable(self, annotations: Sequence[Any]) -> Sequence[Any]:
        """The annotations without those that have no place in a picture, and masks as outlines."""
        if self.takes_figures:
            if _USUAL.issuperset(map(_KIND, annotations)):
                return annotations
        else:
            annotations = [with_beside(annotation) for annotation in annotations]
            if _USUAL.issuperset(map(_TYPE, annotations)):
                return annotations
        kept = []
        for annotation in annotations:
            kind = annotation.kind if self.takes_figures else annotation.type
            if kind in {"box3d", "tag"}:
                self._lost[kind] += 1
            elif kind == "mask" and not self.takes_masks:
                try:
                    kept.append(self._outline(annotation))
                except InvalidInput:
                    self._lost["ragged"] += 1
                else:
                    self._lost["mask"] += 1
            else:
                kept.append(annotation)
        self.left_out += len(annotations) - len(kept)
        return kept

    def _outline(self, annotation: Any) -> Any:
        """A mask as a polygon."""
        if self.takes_figures:
            return outlined(annotation, paired=self.takes_pairs)
        from tintype_studio.annotations.masks import as_outline

        return as_outline(annotation)

    def _refuse_class(self, item: ExportItem, annotations: Sequence[Annotation | Figure]) -> NoReturn:
        found = next(a for a in annotations if a.name not in self.class_index)
        raise InvalidInput(
            f"Annotation {found.id!r} of {item.filename!r} has the class {found.name!r}, "
            "which is not a class of this export.",
            fix="Add the class to the dataset, rename it in the annotation, or filter it out.",
            details={"class": found.name, "image_id": item.image_id},
        )

    def finish(self) -> ExportSummary:
        """Write what had to wait and say what the ZIP holds. The ZIP stays open."""
        if self._closed:
            raise RuntimeError("this writer has finished")
        self._finish()
        notes = [*self._notes(), *self._what_is_lost(), *self._unlisted_attributes()]
        summary = ExportSummary(self.images, self.written, self.left_out, notes)
        self.close()
        return summary

    def close(self) -> None:
        """Free the temporary files; also the way to give up half-way. May be called twice."""
        self._closed = True
        for spool in self._spools:
            spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def spool(self, separator: bytes = b"") -> PackedSpool:
        """A new spool for a member, closed with this writer."""
        spool = PackedSpool(separator)
        self._spools.append(spool)
        return spool

    def plain_spool(self) -> Spool:
        """A new spool for what is read again, closed with this writer."""
        spool = Spool()
        self._spools.append(spool)
        return spool

    def store_image(self, item: ExportItem, path: str) -> None:
        """Put the image's file at ``path``, undeflated; nothing when images are left out."""
        if item.image is not None:
            self.archive.write(path, item.image(), deflate=False)

    @abstractmethod
    def _add(self, item: ExportItem, annotations: Sequence[Any]) -> None:
        """Write one checked item and keep the counts."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what comes last."""

    def _what_is_lost(self) -> list[str]:
        """Of new geometry and groups, what the format has no place for, in sentences."""
        notes = []
        if n := self._lost["mask"]:
            notes.append(
                f"{counted(n, 'mask', 'masks')} went in as the outline of the pixels, which is exact."
            )
        if n := self._lost["ragged"]:
            notes.append(
                f"{counted(n, 'mask was', 'masks were')} left out: the outline has more rings or points "
                "than a polygon can have."
            )
        if n := self._lost["box3d"]:
            notes.append(
                f"{counted(n, 'annotation was', 'annotations were')} left out: a 3-D box that is not marked "
                "in the picture has no place in this format. edgefirst and pictograph hold it."
            )
        if n := self._lost["tag"]:
            notes.append(
                f"{counted(n, 'tag was', 'tags were')} left out: a label of the whole image has no place in "
                "this format. edgefirst and pictograph hold it."
            )
        if self._other_groups:
            n = sum(self._other_groups.values())
            names = ", ".join(sorted(self._other_groups)[:5]) + (", …" if len(self._other_groups) > 5 else "")
            notes.append(
                f"{counted(n, 'image is', 'images are')} in other groups than train, val and test ({names}) "
                "and went in without a split. edgefirst and pictograph hold them."
            )
        return notes

    def _unlisted_attributes(self) -> list[str]:
        number = 0 if self.lists_attributes else sum(len(cls.attributes) for cls in self.classes)
        if not number:
            return []
        listed = counted(number, "attribute of a class is", "attributes of classes are")
        return [f"{listed} not listed with all options: the format has no place for them."]

    def _notes(self) -> list[str]:
        """What the format could not hold, in sentences."""
        return []
