"""Annotations on their way in, in the form in which they are kept, and what was noticed about them.

Readers add shapes to a :class:`Converted`, which checks them and makes each a document: the very dictionary
that ``annotations.documents.as_text`` would make of the model. Building hundreds of thousands of ``Point``
models only to dump them again would take most of the time of an import, so models are made on demand, and
documents when they are asked for.

Coordinates are pixels as in ``annotations.geometry``.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.beside import taken_out
from tintype_studio.errors import InvalidInput
from tintype_studio.formats.base import counted
from tintype_studio.names import FORBIDDEN_IN_NAMES, clean_name, printable

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Annotation, Mask, PolygonGeometry

MAX_COORDINATE = 1e6
MAX_POINTS = 100_000
MAX_RINGS = 10_000
"""As in ``annotations.geometry``, whose models a test compares with what is built here."""

MAX_ID = 128
MAX_ATTRIBUTES = 200
NEAR = 1.0
"""Pixels by which a shape may leave its image before that is worth a word."""

Document = dict[str, Any]
"""One annotation as it is kept."""

Shape = tuple[str, object, str, Any, Mapping[str, Any]]
"""Kind, id, class, geometry and further members of one annotation as it was read."""

Numbers = Sequence[float]

_SENTENCES: dict[str, tuple[str, str, str]] = {
    "thin": ("shape was", "shapes were", "left out: no area (under three points, or no width or height)."),
    "outside": ("annotation reaches", "annotations reach", "beyond the image by more than a pixel."),
    "beyond": ("annotation lies", "annotations lie", "wholly outside the image."),
    "size": ("image has", "images have", "another size than the file says; the coordinates were kept."),
    "masks": ("mask was", "masks were", "turned into polygons along the edges of their pixels."),
    "crowds": ("annotation marks", "annotations mark", "a crowd and got the attribute iscrowd."),
    "captions": ("caption was", "captions were", "left out: there are no captions of images."),
    "landmarks": ("keypoint was", "keypoints were", "taken without links to other keypoints."),
    "hidden": ("keypoint was", "keypoints were", "left out: not labelled (visibility 0)."),
    "rotated": ("rotated box was", "rotated boxes were", "turned into polygons."),
    "ellipses": ("ellipse was", "ellipses were", "left out: there are no ellipses."),
    "ovals": ("ellipse was", "ellipses were", "turned into polygons of 64 points."),
    "tags": ("tag was", "tags were", "left out: there are no labels of whole images."),
    "raster": ("mask was", "masks were", "left out: V7 keeps its pixels in a raster layer."),
    "skeletons": ("skeleton was", "skeletons were", "left out: there are no skeletons."),
    "others": ("annotation was", "annotations were", "left out: there is no such kind of shape."),
    "tracks": ("track was", "tracks were", "left out: images have no tracks."),
    "labels": ("annotation got", "annotations got", "a class name without the characters / \\ ? # %."),
    "renamed": ("class was", "classes were", "renamed: a class name has none of the characters / \\ ? # %."),
    "unlisted": ("image file was", "image files were", "left out: the annotation file does not list it."),
    "no_split": ("image has", "images have", "a split other than train, val and test, which was left out."),
    "apart": ("image was", "images were", "put into a folder named by its split: its name occurs in others."),
    "no_label": ("image has", "images have", "no entry with annotations."),
}


def sentences(counts: Mapping[str, int]) -> list[str]:
    """What was noticed, in sentences; ``counts`` are those of :class:`Converted`, added up."""
    return [
        f"{counted(counts[key], one, many)} {rest}"
        for key, (one, many, rest) in _SENTENCES.items()
        if counts.get(key)
    ]


def invalid(text: str, *, code: str = "invalid_annotation") -> InvalidInput:
    """The refusal of an item for what one of its annotations says."""
    return InvalidInput(text, code=code, fix="Mend the annotation file, then import it again.")


@lru_cache(maxsize=4096)
def label_of(name: object) -> str:
    """A class name as a dataset can hold it: what may not stand in one becomes ``-``.

    Raises:
        InvalidInput: it is no text, blank or longer than 120 characters.
    """
    if not isinstance(name, str):
        raise invalid(f"The class name {printable(repr(name))[:80]} is no text.", code="invalid_class")
    text = "".join(
        "-" if char in FORBIDDEN_IN_NAMES or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} else char
        for char in unicodedata.normalize("NFC", name.strip())
    ).strip()
    return clean_name(f"-{text}" if text in {".", ".."} else text, "Class name")


def number(value: object, what: str) -> float:
    """``value`` as a float; ``InvalidInput`` unless it is a finite number of a coordinate's size."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise invalid(f"{what} is {printable(repr(value))[:40]}, not a number.") from None
    if not abs(found) <= MAX_COORDINATE:
        raise invalid(f"{what} is {found:g}, which is no coordinate.")
    return found


class Converted:
    """The annotations of one image.

    What is wrong with a shape itself (a coordinate that is no number, a negative size) is ``InvalidInput``
    when the documents are asked for the first time.
    """

    __slots__ = ("_documents", "_ids", "_noticed", "_shapes", "height", "width")

    def __init__(self, width: float | None = None, height: float | None = None) -> None:
        """``width`` and ``height`` (pixels, upright) are only for the notes on what leaves the image."""
        self.width = width
        self.height = height
        self._shapes: list[Shape] = []
        self._documents: list[Document] = []
        self._noticed: Counter[str] = Counter()
        self._ids: set[str] = set()

    def label(self, name: object) -> str:
        """A class name as :func:`label_of` makes it; counted when that changes it."""
        label = label_of(name)
        if label != name:
            self._noticed["labels"] += 1
        return label

    def notice(self, what: str, times: int = 1) -> None:
        """Count something for the notes."""
        self._noticed[what] += times

    @property
    def documents(self) -> list[Document]:
        """The annotations as they are kept, ids unique."""
        shapes, self._shapes = self._shapes, []
        for kind, id, name, shape, more in shapes:
            _BUILD[kind](self, id, name, shape, more)
        return self._documents

    @property
    def annotations(self) -> list[Annotation]:
        """The annotations as models."""
        from tintype_studio.annotations.geometry import ANNOTATIONS

        return list(ANNOTATIONS.validate_python(self.documents))

    @property
    def shapes(self) -> list[Shape]:
        """The annotations as they were read, until the documents are made."""
        return self._shapes

    @property
    def counts(self) -> Counter[str]:
        """What was noticed; :func:`sentences` puts it in words."""
        _ = self.documents
        return self._noticed

    @property
    def notes(self) -> list[str]:
        """What was noticed, in sentences."""
        return sentences(self.counts)

    def __len__(self) -> int:
        return len(self._documents) + len(self._shapes)

    def box(self, id: object, name: str, x: Any, y: Any, w: Any, h: Any, **more: Any) -> None:
        """Add a box; one without area will be counted and left out."""
        self._shapes.append(("bbox", id, name, (x, y, w, h), more))

    def polygon(self, id: object, name: str, rings: Sequence[tuple[Numbers, Numbers]], **more: Any) -> None:
        """Add a polygon of rings ``(xs, ys)``; rings of under three points will be left out."""
        self._shapes.append(("polygon", id, name, rings, more))

    def flat_polygon(self, id: object, name: str, rings: Sequence[Numbers], **more: Any) -> None:
        """The same of rings ``x, y, x, y, …``, whose lengths are even."""
        self._shapes.append(("flat", id, name, rings, more))

    def polyline(self, id: object, name: str, xs: Numbers, ys: Numbers, **more: Any) -> None:
        """Add a line; one of under two points will be left out."""
        self._shapes.append(("polyline", id, name, (xs, ys), more))

    def keypoint(self, id: object, name: str, x: Any, y: Any, **more: Any) -> None:
        """Add a landmark."""
        self._shapes.append(("keypoint", id, name, (x, y), more))

    def mask(self, id: object, name: str, mask: Mask | None, **more: Any) -> None:
        """Add a mask of the whole image; None (an empty one) is left out."""
        self._shapes.append(("mask", id, name, mask, more))

    def document(self, document: Document, bounds: tuple[float, float, float, float] | None) -> None:
        """Add an annotation that is checked already, as it is kept. ``bounds``: left, top, right, bottom;
        None for one without a place.
        """
        if bounds is not None:
            self._look(*bounds)
        self._documents.append(document)

    def unplaced(self, document: Document) -> None:
        """Add an annotation that is checked already and has no place in the picture."""
        self._documents.append(document)

    def own_id(self, id: object) -> str:
        """An id for ``document``: the source's if it can be ours and is new, else one that tells where."""
        return self._own(id)

    def geometry(self, id: object, name: str, outline: PolygonGeometry | None, **more: Any) -> None:
        """Add the outline of a mask; None (an empty mask) is left out."""
        rings = [] if outline is None else [([p.x for p in r], [p.y for p in r]) for r in outline.paths]
        self._noticed["masks"] += bool(rings)
        self.polygon(id, name, rings, **more)

    def _build_box(self, id: object, name: str, shape: Any, more: Mapping[str, Any]) -> None:
        what = f"annotation {_shown(id)}: the box's"
        sides = ("x", "y", "width", "height")
        x, y, w, h = (number(value, f"{what} {side}") for value, side in zip(shape, sides, strict=True))
        if w < 0 or h < 0:
            raise invalid(f"{what} size is {w:g} x {h:g}, which is negative.")
        if w == 0 or h == 0:
            self._noticed["thin"] += 1
            return
        self._look(x, y, x + w, y + h)
        document = self._head(id, name, "bbox", more)
        document["bounding_box"] = {"x": x, "y": y, "w": w, "h": h}
        self._documents.append(document)

    def _build_flat(self, id: object, name: str, shape: Any, more: Mapping[str, Any]) -> None:
        self._build_polygon(id, name, [(flat[::2], flat[1::2]) for flat in shape], more)

    def _build_polygon(self, id: object, name: str, shape: Any, more: Mapping[str, Any]) -> None:
        paths, bounds = [], []
        for xs, ys in shape:
            if len(xs) < 3:
                continue
            xs, ys, box = self._points(id, xs, ys)  # noqa: PLW2901
            bounds.append(box)
            paths.append([{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)])
        if not paths:
            self._noticed["thin"] += 1
            return
        if len(paths) > MAX_RINGS:
            raise invalid(f"annotation {_shown(id)} has more than {MAX_RINGS:,} rings.")
        if len(bounds) == 1:
            left, top, right, bottom = bounds[0]
        else:
            left, top = min(b[0] for b in bounds), min(b[1] for b in bounds)
            right, bottom = max(b[2] for b in bounds), max(b[3] for b in bounds)
        document = self._head(id, name, "polygon", more)
        document["polygon"] = {"paths": paths}
        self._enclose(document, left, top, right, bottom)

    def _build_polyline(self, id: object, name: str, shape: Any, more: Mapping[str, Any]) -> None:
        if len(shape[0]) < 2:
            self._noticed["thin"] += 1
            return
        xs, ys, box = self._points(id, *shape)
        document = self._head(id, name, "polyline", more)
        document["polyline"] = {"path": [{"x": x, "y": y} for x, y in zip(xs, ys, strict=True)]}
        self._enclose(document, *box)

    def _build_keypoint(self, id: object, name: str, shape: Any, more: Mapping[str, Any]) -> None:
        what = f"annotation {_shown(id)}: the keypoint's"
        x, y = number(shape[0], f"{what} x"), number(shape[1], f"{what} y")
        self._look(x, y, x, y)
        document = self._head(id, name, "keypoint", more)
        document["keypoint"] = {"x": x, "y": y}
        self._documents.append(document)

    def _build_mask(self, id: object, name: str, mask: Mask | None, more: Mapping[str, Any]) -> None:
        if mask is None:
            self._noticed["thin"] += 1
            return
        from tintype_studio.annotations.masks import box_of

        document = self._head(id, name, "mask", more)
        document["mask"] = {"size": mask.size, "counts": mask.counts}
        document["bounding_box"] = box_of(mask).model_dump()
        self._documents.append(document)

    def _points(
        self, id: object, xs: Numbers, ys: Numbers
    ) -> tuple[list[float], list[float], tuple[float, float, float, float]]:
        """The coordinates as floats, and their bounds; ``InvalidInput`` unless all are finite."""
        if len(xs) != len(ys) or len(xs) > MAX_POINTS:
            raise invalid(f"annotation {_shown(id)} has {len(xs):,} x and {len(ys):,} y coordinates.")
        try:
            across, down = [*map(float, xs)], [*map(float, ys)]
            total = sum(across) + sum(down)
        except (TypeError, ValueError, OverflowError):
            raise invalid(f"annotation {_shown(id)} holds a coordinate that is no number.") from None
        left, top, right, bottom = min(across), min(down), max(across), max(down)
        # A sum with NaN or infinity in it is not itself any more, wherever in the list they stand.
        if total - total != 0 or min(left, top) < -MAX_COORDINATE or max(right, bottom) > MAX_COORDINATE:
            raise invalid(f"annotation {_shown(id)} holds a coordinate that is infinite, NaN or too large.")
        return across, down, (left, top, right, bottom)

    def _head(self, id: object, name: str, kind: str, more: Mapping[str, Any]) -> Document:
        document: Document = {"id": self._own(id), "name": name, "confidence": 1.0}
        confidence, creator = more.get("confidence"), more.get("created_by")
        if confidence is not None:
            document["confidence"] = _confidence(confidence, id)
        if creator:
            document["created_by"] = str(creator)[:MAX_ID]
        attributes = more.get("attributes")
        document["attributes"] = _attributes(attributes, id) if attributes else []
        if attributes:
            document["attributes"], besides = taken_out(document["attributes"])
            document |= {key: value for key, value in besides.items() if key != kind}
        document["type"] = kind
        return document

    def _own(self, id: object) -> str:
        """The source's id if it can be ours, else one that tells the place in the image."""
        text = str(id).strip() if isinstance(id, str | int) else ""
        if not text or len(text) > MAX_ID or not text.isprintable() or text in self._ids:
            text = f"{len(self._documents) + 1}"
            while text in self._ids:
                text += "_"
        self._ids.add(text)
        return text

    def _enclose(self, document: Document, left: float, top: float, right: float, bottom: float) -> None:
        if right > left and bottom > top:
            document["bounding_box"] = {"x": left, "y": top, "w": right - left, "h": bottom - top}
        self._look(left, top, right, bottom)
        self._documents.append(document)

    def _look(self, left: float, top: float, right: float, bottom: float) -> None:
        width, height = self.width, self.height
        if width is None or height is None:
            return
        if left >= 0 and top >= 0 and right <= width and bottom <= height:
            return
        from tintype_studio.annotations.bounds import lies_beyond

        if lies_beyond(left, top, right, bottom, width, height):
            self._noticed["beyond"] += 1
        elif left < -NEAR or top < -NEAR or right > width + NEAR or bottom > height + NEAR:
            self._noticed["outside"] += 1


_BUILD: dict[str, Callable[[Converted, object, str, Any, Mapping[str, Any]], None]] = {
    "bbox": Converted._build_box,
    "flat": Converted._build_flat,
    "polygon": Converted._build_polygon,
    "polyline": Converted._build_polyline,
    "keypoint": Converted._build_keypoint,
    "mask": Converted._build_mask,
}


def _confidence(value: object, id: object) -> float:
    found = number(value, f"annotation {_shown(id)}: the confidence")
    if not 0 <= found <= 1:
        raise invalid(f"annotation {_shown(id)}: the confidence {found:g} is not between 0 and 1.")
    return found


def _attributes(value: object, id: object) -> list[Any]:
    import orjson

    found = value if isinstance(value, list) else [value]
    try:
        same = len(found) <= MAX_ATTRIBUTES and orjson.loads(orjson.dumps(found)) == found
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise invalid(f"annotation {_shown(id)} holds attributes that cannot be kept.")
    return found


def _shown(id: object) -> str:
    return printable(str(id))[:40]
