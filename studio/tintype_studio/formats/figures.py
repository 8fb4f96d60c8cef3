"""Annotations as most writers take them: the geometry as text, as it is stored and as files have it.

Nearly all of an export's time used to go into one object per vertex that was made only to be written down
again. A stored document has its vertices as ``{"x":1.5,"y":2.0},{"x":3.0,"y":4.0}``. Without the characters
that are the same in each, that is what COCO and CVAT hold, and what one call reads as numbers. Whether pairs
are told apart is up to the writer: to take the mark out later costs a tenth of an export.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import orjson

from tintype_studio.annotations.beside import BESIDE, beside

Kind: TypeAlias = Literal["bbox", "polygon", "polyline", "keypoint", "mask", "box3d", "tag"]

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tintype_studio.annotations.geometry import Annotation, Mask
    from tintype_studio.formats.shapes import Ring


class Figure(NamedTuple):
    """One annotation, in pixels.

    ``texts`` are paths as ``x,y,x,y,…``, or as ``x,y,;x,y,;…`` where pairs were asked for: the rings of a
    ``polygon``, the one path of a ``polyline``, the one point of a ``keypoint``. A ``bbox`` has none, and
    ``box`` (x, y, width, height) instead. A ``mask`` has the run lengths of ``geometry.Mask``, and the height
    and width of its picture. A ``box3d`` and a ``tag`` have nothing.

    What an annotation has beside its geometry, an ``object_id`` and a ``box3d``, are entries of
    ``attributes`` (``annotations/beside.py``).
    """

    id: str
    name: str
    confidence: float
    attributes: list[Any]
    kind: Kind
    texts: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """The annotations of an image as they are stored, of which an export holds the ``wanted`` classes (None:
    all). Read anew at every call.
    """

    text: str
    wanted: Set[str] | None = None

    def figures(self, *, paired: bool = False) -> list[Figure]:
        """With their geometry as text."""
        found = figures_of_text(self.text, paired=paired)
        return found if self.wanted is None else [f for f in found if f.name in self.wanted]

    def models(self) -> list[Annotation]:
        """As models."""
        from tintype_studio.annotations.geometry import ANNOTATIONS

        found = ANNOTATIONS.validate_json(self.text) if self.text else []
        return [a for a in found if self.wanted is None or a.name in self.wanted]


_NOTHING: list[Any] = []  # shared: one list less per annotation to be searched for garbage
_BOX = itemgetter("x", "y", "w", "h")
_PLAIN = re.compile(
    r'\{"id":"([^"]*)","name":"([^"]*)","confidence":([^,]*),(?:"created_by":"[^"]*",)?"attributes":\[\],'
    r'"type":"polygon","polygon":\{"paths":\[\[\{"x":([^\]]*)\}\]\]\}(?:,"bounding_box":\{[^}]*\})?\}[,\]]'
)
"""A polygon of one ring without attributes, as ``documents.as_text`` writes it."""
_PLAIN_OF_OBJECT = re.compile(
    _PLAIN.pattern.replace(r'\[\],"type"', r'\[\],"object_id":("[^"]*"),"type"'), _PLAIN.flags
)
"""The same of an object that is known in other frames."""
_RINGS = re.compile(r'\[\[\{"x":([^\]]*)\}\]\]')
"""The paths of a polygon of one ring. It cannot match inside of a text, where quotation marks are escaped."""
_HELD = [[0]]
"""In place of the rings, while the rest is parsed."""
_TO_PAIRS = bytes.maketrans(b"{", b";")


def figures_of_text(document: str, *, paired: bool = False) -> list[Figure]:
    """The annotations of a stored document: JSON that was checked when it was saved."""
    if len(document) <= 2:
        return []
    if "[[" not in document:
        return [_of_json(entry, iter(()), paired) for entry in orjson.loads(document)]
    pieces = _PLAIN.split(document)
    if pieces[0] == "[" and not any(pieces[5::5]) and "\\" not in document:
        texts = _texts(pieces[4::5], paired)
        if texts is not None:
            new = tuple.__new__  # in half the time of a call of the class
            heads = zip(pieces[1::5], pieces[2::5], pieces[3::5], texts, strict=True)
            return [
                new(Figure, (id, name, float(confidence), _NOTHING, "polygon", (text,), None))
                for id, name, confidence, text in heads
            ]
    if '"object_id"' in document and (found := _of_objects(document, paired)) is not None:
        return found
    pieces = _RINGS.split(document)
    texts = _texts(pieces[1::2], paired)
    if texts is not None:
        entries = orjson.loads("[[0]]".join(pieces[::2]))
        held = sum([entry["type"] == "polygon" and entry["polygon"]["paths"] == _HELD for entry in entries])
        if held == len(texts):  # else attributes look the same
            rings = iter(texts)
            return [_of_json(entry, rings, paired) for entry in entries]
    return [_of_json(entry, iter(()), paired) for entry in orjson.loads(document)]


def _of_objects(document: str, paired: bool) -> list[Figure] | None:
    """If all of it are polygons of one ring with an ``object_id`` and nothing else."""
    pieces = _PLAIN_OF_OBJECT.split(document)
    if pieces[0] != "[" or any(pieces[6::6]) or "\\" in document:
        return None
    texts = _texts(pieces[5::6], paired)
    if texts is None:
        return None
    new = tuple.__new__
    ids = [[{"object_id": id}] for id in orjson.loads(f"[{','.join(pieces[4::6])}]")]
    heads = zip(pieces[1::6], pieces[2::6], pieces[3::6], ids, texts, strict=True)
    return [
        new(Figure, (id, name, float(confidence), attributes, "polygon", (text,), None))
        for id, name, confidence, attributes, text in heads
    ]


def _texts(rings: list[str], paired: bool) -> list[str] | None:
    """``1.5,"y":2.0},{"x":3.0,"y":4.0`` as ``1.5,2.0,3.0,4.0``; None if they are not written like that."""
    if not rings:
        return []
    raw = "\n".join(rings)
    if '{"y"' in raw or " " in raw or not raw.isascii():
        return None
    data = raw.encode()
    short = data.translate(_TO_PAIRS, b'"}:xy') if paired else data.translate(None, b'"{}:xy')
    return short.decode().split("\n")


def figure_of_model(a: Annotation, *, paired: bool = False) -> Figure:
    """The same of a checked model."""
    from tintype_studio.annotations.beside import with_beside

    a = with_beside(a)
    texts: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None
    if a.type == "polygon":
        texts = tuple([_path([(p.x, p.y) for p in path], paired) for path in a.polygon.paths])
    elif a.type == "polyline":
        texts = (_path([(p.x, p.y) for p in a.polyline.path], paired),)
    elif a.type == "keypoint":
        texts = (_path([(a.keypoint.x, a.keypoint.y)], paired),)
    elif a.type == "mask":
        texts = _of_mask(a.mask.size, a.mask.counts)
    elif a.type == "bbox":
        b = a.bounding_box
        box = (b.x, b.y, b.w, b.h)
    return Figure(a.id, a.name, a.confidence, a.attributes, a.type, texts, box)


def _of_json(entry: dict[str, Any], rings: Iterator[str], paired: bool) -> Figure:
    """``rings`` are the texts of those that were held back."""
    kind = entry["type"]
    texts: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None
    if kind == "polygon":
        paths = entry["polygon"]["paths"]
        texts = (next(rings),) if paths == _HELD else tuple([_path(_pairs(path), paired) for path in paths])
    elif kind == "bbox":
        box = _BOX(entry["bounding_box"])
    elif kind == "mask":
        texts = _of_mask(**entry["mask"])
    elif kind in {"polyline", "keypoint"}:
        path = entry["polyline"]["path"] if kind == "polyline" else [entry["keypoint"]]
        texts = (_path(_pairs(path), paired),)
    get = entry.get
    attributes = get("attributes") or _NOTHING
    if not entry.keys().isdisjoint(BESIDE):
        attributes = [*attributes, *beside(entry)]
    # As a tuple it is made in half the time.
    return tuple.__new__(
        Figure, (entry["id"], entry["name"], get("confidence", 1.0), attributes, kind, texts, box)
    )


def _of_mask(size: Sequence[int], counts: str) -> tuple[str, ...]:
    return counts, f"{size[0]},{size[1]}"


def mask_of_figure(figure: Figure) -> Mask:
    """The mask of a figure of that kind."""
    from tintype_studio.annotations.geometry import Mask

    counts, size = figure.texts
    return Mask(size=[int(side) for side in size.split(",")], counts=counts)


def outlined(figure: Figure, *, paired: bool = False) -> Figure:
    """The exact outline of a mask instead of it. Raises InvalidInput if a polygon cannot hold it."""
    from tintype_studio.annotations.masks import outline_of

    paths = outline_of(mask_of_figure(figure)).paths
    texts = tuple([_path([(p.x, p.y) for p in path], paired) for path in paths])
    return figure._replace(kind="polygon", texts=texts)


def _pairs(path: list[dict[str, float]]) -> list[tuple[float, float]]:
    return [(point["x"], point["y"]) for point in path]


def _path(pairs: Sequence[tuple[float, float]], paired: bool) -> str:
    """JSON writes numbers in a fraction of ``repr``'s time."""
    return orjson.dumps(pairs)[2:-2].replace(b"],[", b",;" if paired else b",").decode()


def numbers(texts: Iterable[str]) -> list[float]:
    """All numbers of some paths that are not paired, one after the other."""
    found: list[float] = orjson.loads(f"[{','.join(texts)}]")
    return found


def points_of(texts: Iterable[str]) -> npt.NDArray[np.float64]:
    """All points of some paths that are not paired, ``(n, 2)``."""
    import numpy as np

    return np.array(numbers(texts), dtype=float).reshape(-1, 2)


def lengths_of(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """How many points each path has."""
    import numpy as np

    return np.array([text.count(",") for text in texts], dtype=np.int64) // 2 + 1


def ring_of_text(text: str) -> Ring:
    """The coordinates of a path as two lists, whether it is paired or not."""
    values = numbers([text.replace(";", "")])
    return values[::2], values[1::2]
