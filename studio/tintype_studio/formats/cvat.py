"""CVAT for images 1.1: one XML file.

    annotations.xml                         labels, then every image with its shapes
    images/<folder>/<filename>              if images are included

``name`` of an image is its path under ``images/``. If any image has a split, the file is that of a project
whose tasks are the splits, as CVAT exports one: each image has its ``subset``, and those without a split
are in ``default``.

- A box, a polygon, a polyline, and a keypoint (``points`` with one point), in exact coordinates. Nothing is
  rotated, occluded or stacked (``z_order`` 0).
- A polygon of several rings that lie apart becomes polygons of one ``group_id``.
- A polygon with holes becomes a ``mask``, for a CVAT polygon is one outline; the part outside the image is
  cut off.
- Confidence below 1 and attributes are ``attribute`` elements (``attributes.py`` says how). Those that the
  class declares are declared with their options, the others as text with the label they occur under.

What XML cannot hold is replaced by U+FFFD.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import orjson

from tintype_studio.formats.archive import PackedSpool
from tintype_studio.formats.attributes import flatten
from tintype_studio.formats.base import (
    SPLITS,
    ExportClass,
    ExportItem,
    ExportWriter,
    counted,
    folder_segments,
    member_path,
)
from tintype_studio.formats.figures import Figure, ring_of_text
from tintype_studio.formats.regions import is_whole, mask_of, region_notes
from tintype_studio.formats.xml_text import cleaned, distinct, escaped

UNASSIGNED = "default"
"""CVAT's own name for images outside of all subsets."""

_HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'


class CvatWriter(ExportWriter):
    """Writes CVAT XML. Images wait in temporary files, since their number and attributes come first."""

    format: ClassVar[str] = "cvat"
    takes_figures: ClassVar[bool] = True
    takes_pairs: ClassVar[bool] = True
    lists_attributes: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._subsets: dict[str, PackedSpool] = {}
        self._sizes: Counter[str] = Counter()
        self._labels = distinct(list(self.class_index))
        self._escaped = {name: escaped(kept) for name, kept in self._labels.items()}
        self._attributes: dict[str, dict[str, None]] = {name: {} for name in self.class_index}
        self._groups = 0

    def _add(self, item: ExportItem, annotations: Sequence[Figure]) -> None:
        path = cleaned(member_path("images", folder_segments(item.folder), item.filename))
        self.store_image(item, path)
        subset = item.split or UNASSIGNED
        if subset not in self._subsets:
            self._subsets[subset] = self.spool()
        self._sizes[subset] += 1
        mark = f' subset="{subset}"' if item.split else ""
        name = escaped(path.removeprefix("images/"))
        text = [
            f'<image id="{self.images}" name="{name}"{mark} width="{item.width}" height="{item.height}">\n'
        ]
        labels = self._escaped
        outlines = [f.texts[0] for f in annotations if len(f.texts) == 1 and f.kind == "polygon"]
        points = iter(_points("\n".join(outlines)).split("\n"))
        for figure in annotations:
            shapes = (
                [_line("polygon", labels[figure.name], next(points))]
                if len(figure.texts) == 1 and figure.kind == "polygon"
                else self._shapes(figure, labels[figure.name], item)
            )
            if not shapes:
                self.counts["outside"] += 1
                self.left_out += 1
                continue
            self.written += 1
            if figure.attributes or figure.confidence < 1:
                shapes = self._with_attributes(figure, shapes)
            text += shapes
        text.append("</image>\n")
        self._subsets[subset].append("".join(text).encode())

    def _shapes(self, figure: Figure, label: str, item: ExportItem) -> list[str]:
        """The elements of one annotation; none if nothing of it lies inside the image."""
        if figure.box is not None:
            x, y, w, h = figure.box
            left, top, right, bottom = orjson.dumps([x, y, x + w, y + h]).decode()[1:-1].split(",")
            return [
                f'<box label="{label}" source="manual" occluded="0" xtl="{left}" ytl="{top}" xbr="{right}" '
                f'ybr="{bottom}" z_order="0"/>\n'
            ]
        if figure.kind == "polygon":
            return self._polygon(figure.texts, label, item)
        return [_line("polyline" if figure.kind == "polyline" else "points", label, _points(figure.texts[0]))]

    def _with_attributes(self, figure: Figure, shapes: list[str]) -> list[str]:
        pairs = flatten(figure)
        if not pairs:
            return shapes
        self._attributes[figure.name].update(dict.fromkeys(name for name, _ in pairs))
        inner = "".join(
            f'<attribute name="{escaped(name)}">{escaped(text)}</attribute>\n' for name, text in pairs
        )
        return [f"{shape[:-3]}>\n{inner}</{shape[1 : shape.index(' ')]}>\n" for shape in shapes]

    def _polygon(self, texts: Sequence[str], label: str, item: ExportItem) -> list[str]:
        rings = [ring_of_text(text) for text in texts]
        if is_whole(rings):
            self._groups += 1
            self.counts["parts"] += 1
            return [_line("polygon", label, _points(text), f' group_id="{self._groups}"') for text in texts]
        mask = mask_of(rings, item.width, item.height)
        if mask is None:
            return []
        self.counts["masks"] += 1
        rle = ", ".join(map(str, mask.counts))
        return [
            f'<mask label="{label}" source="manual" occluded="0" rle="{rle}" left="{mask.left}" '
            f'top="{mask.top}" width="{mask.width}" height="{mask.height}" z_order="0"/>\n'
        ]

    def _finish(self) -> None:
        parts: list[bytes | PackedSpool] = [_HEAD, self._meta().encode()]
        for subset in (*SPLITS, UNASSIGNED):
            if subset in self._subsets:
                spool = self._subsets[subset]
                parts.append(self._marked(spool) if subset == UNASSIGNED and self._is_project else spool)
        self.archive.write_chunks("annotations.xml", [*parts, b"</annotations>\n"])

    @property
    def _is_project(self) -> bool:
        return bool(self._subsets.keys() - {UNASSIGNED})

    def _marked(self, spool: PackedSpool) -> PackedSpool:
        """The images without a split, which have to name a subset once others do."""
        marked = self.spool()
        for line in spool.lines():
            is_image = line.startswith(b"<image ")
            marked.append(b'<image subset="%b" ' % UNASSIGNED.encode() + line[7:] if is_image else line)
        return marked

    def _meta(self) -> str:
        moment = self.archive.created_at.isoformat(" ", "microseconds")
        name = escaped(self.dataset_name)
        stamps = f"<created>{moment}</created>\n<updated>{moment}</updated>\n"
        labels = "".join(["<labels>\n", *map(self._label, self.classes), "</labels>\n"])
        if self._is_project:
            used = [subset for subset in (*SPLITS, UNASSIGNED) if subset in self._sizes]
            tasks = "".join(
                f"<task>\n{self._task(subset, number, self._sizes[subset])}{stamps}"
                f"<subset>{subset}</subset>\n</task>\n"
                for number, subset in enumerate(used, 1)
            )
            body = f"<project>\n<id>1</id>\n<name>{name}</name>\n{stamps}<tasks>\n{tasks}</tasks>\n"
            body += labels + "<subsets>" + "\n".join(used) + "</subsets>\n</project>\n"
        else:
            body = f"<task>\n{self._task(self.dataset_name, 1, self.images)}{stamps}{labels}</task>\n"
        return f"<meta>\n{body}<dumped>{moment}</dumped>\n</meta>\n"

    def _task(self, name: str, number: int, images: int) -> str:
        return (
            f"<id>{number}</id>\n<name>{escaped(name)}</name>\n<size>{images}</size>\n<mode>annotation</mode>\n"
            f"<overlap>0</overlap>\n<bugtracker></bugtracker>\n<start_frame>0</start_frame>\n"
            f"<stop_frame>{max(images - 1, 0)}</stop_frame>\n<frame_filter></frame_filter>\n"
        )

    def _label(self, cls: ExportClass) -> str:
        color = f"<color>{escaped(cls.color)}</color>\n" if cls.color else ""
        listed = {attribute.name: attribute.options for attribute in cls.attributes}
        names = {**listed, **self._attributes[cls.name]}
        attributes = "".join(_attribute(name, listed.get(name, ())) for name in names)
        return (
            f"<label>\n<name>{escaped(self._labels[cls.name])}</name>\n{color}<type>any</type>\n"
            f"<attributes>\n{attributes}</attributes>\n</label>\n"
        )

    def _notes(self) -> list[str]:
        notes = region_notes(self.counts, "CVAT")
        changed = sum(name != kept for name, kept in self._labels.items())
        if changed:
            notes.append(
                f"{counted(changed, 'class name holds', 'class names hold')} a character that XML cannot; "
                "it was replaced."
            )
        return notes


def _attribute(name: str, options: Sequence[str]) -> str:
    """The declaration of an attribute; one without options is a text."""
    values = "\n".join(map(escaped, options))
    # No option by default: CVAT would give it to every object for which none was chosen.
    return (
        f"<attribute>\n<name>{escaped(name)}</name>\n<mutable>False</mutable>\n"
        f"<input_type>{'select' if options else 'text'}</input_type>\n<default_value></default_value>\n"
        f"<values>{values}</values>\n</attribute>\n"
    )


def _points(text: str) -> str:
    """``x,y;x,y;…``."""
    return text.replace(",;", ";")


def _line(tag: str, label: str, points: str, more: str = "") -> str:
    return f'<{tag} label="{label}" source="manual" occluded="0" points="{points}" z_order="0"{more}/>\n'
