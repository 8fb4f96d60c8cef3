"""Which format a source holds, told by the names and the first bytes of its files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tintype_studio.errors import UnsupportedFormat
from tintype_studio.formats.reading import AUTO, FORMATS
from tintype_studio.formats.reading.lookup import is_image

if TYPE_CHECKING:
    from tintype_studio.formats.reading.base import Reader
    from tintype_studio.formats.reading.source import Source

LOOKED_AT = 64
"""Files of one kind in one folder whose first bytes are looked at; the others are taken to be like them."""

_CLASSES = {
    "pictograph": "PictographReader",
    "coco": "CocoReader",
    "yolo": "YoloReader",
    "cvat": "CvatReader",
    "pascal_voc": "PascalVocReader",
    "labelme": "LabelMeReader",
    "csv": "CsvReader",
    "darwin": "DarwinReader",
    "edgefirst": "EdgeFirstReader",
}
_MODULES = {"csv": "csv_rows"}
_ONE_FILE = frozenset({"pictograph", "yolo"})
_ROOT = re.compile(rb"<([A-Za-z_][\w.-]*)")
_BEFORE_ROOT = re.compile(rb"<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(\[[^\]]*\])?\s*>", re.S)
_KEY = re.compile(rb'"(\w+)"\s*:')


def detect(source: Source, format: str = AUTO) -> Reader:
    """A reader for the source; see ``open_reader``."""
    found = _found(source)
    if format == AUTO:
        # These say what they are; the arrays and lists beside them say nothing.
        told = next((name for name in ("pictograph", "edgefirst") if name in found), None)
        if told is not None:
            format = told
        elif len(found) > 1:
            names = ", ".join(name for name in FORMATS if name in found)
            raise UnsupportedFormat(
                f"The files are of several formats: {names}.",
                code="format_ambiguous",
                fix="Say which one to read in format.",
                details={"formats": sorted(found)},
            )
        else:
            format = next(iter(found), "")
    files = found.get(format)
    if not files:
        what = "of a known format" if not format else f"of the format {format}"
        raise UnsupportedFormat(
            f"There are no annotation files {what}.",
            code="format_not_found",
            fix=f"The formats are {', '.join(FORMATS)}; use upload_dataset_from_folder for images alone.",
        )
    reader: Callable[[Source, Any], Reader] = getattr(
        import_module(f"tintype_studio.formats.reading.{_MODULES.get(format, format)}"), _CLASSES[format]
    )
    return reader(source, _one(files) if format in _ONE_FILE else files)


def _one(files: Sequence[str]) -> str:
    """The topmost of the files, of which one tells the whole."""
    return min(files, key=lambda path: (path.count("/"), path))


def _found(source: Source) -> dict[str, list[str]]:
    """Files by the format that they are of."""
    found: dict[str, list[str]] = defaultdict(list)
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    texts = False
    for path in source.paths:
        folder, _, name = path.rpartition("/")
        kind = name.rpartition(".")[2].lower()
        if kind in {"json", "xml", "csv", "yaml", "yml"}:
            groups[folder, kind].append(path)
        elif kind in {"arrow", "parquet"}:
            found["edgefirst"].append(path)
        elif name in {"classes.txt", "obj.names", "_darknet.labels"} or kind == "names":
            found["yolo"].append(path)
        elif kind == "txt":
            texts = True
    for (_, kind), paths in groups.items():
        told = ""
        for number, path in enumerate(paths):
            # One folder may hold many thousands of files of one kind: after some, the rest is taken as well.
            if number < LOOKED_AT or not told:
                own = _KINDS[kind](source, path)
                told = own or told
            else:
                own = told
            if own:
                found[own].append(path)
    if "yolo" in found and not texts and not any(map(is_image, source.paths)):
        del found["yolo"]
    yaml = [path for path in found.get("yolo", []) if path.endswith((".yaml", ".yml"))]
    if yaml:
        found["yolo"] = yaml
    return dict(found)


def _json(source: Source, path: str) -> str:
    head = source.peek(path)
    keys = set(_KEY.findall(head))
    if b'"format":"pictograph"' in head.replace(b" ", b"")[:4096] and path.endswith("dataset.json"):
        return "pictograph"
    if {b"shapes"} <= keys and keys & {b"imagePath", b"imageData", b"version", b"flags"}:
        return "labelme"
    if {b"imagePath", b"imageData"} <= keys:
        return "labelme"
    if keys & {b"schema_ref"} or {b"item", b"annotations"} <= keys or {b"dataset", b"image"} <= keys:
        return "darwin"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] == b"{" and keys & {b"images", b"annotations", b"categories"} and _is_coco(keys, path):
        return "coco"
    return ""


def is_coco_file(source: Source, path: str) -> bool:
    """Whether a JSON file of a source looks like COCO."""
    return _json(source, path) == "coco"


def _is_coco(keys: set[bytes], path: str) -> bool:
    """A COCO file may begin with any of its lists, so that the others lie beyond what was looked at."""
    within = {b"file_name", b"image_id", b"category_id", b"supercategory", b"bbox", b"segmentation"}
    return bool(keys & within) or {b"images", b"annotations"} <= keys or path.endswith(".coco.json")


def _xml(source: Source, path: str) -> str:
    text = re.sub(
        rb"<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(\[[^\]]*\])?\s*>", b"", source.peek(path), flags=re.S
    )
    root = _ROOT.search(text)
    return {b"annotations": "cvat", b"annotation": "pascal_voc"}.get(root[1] if root else b"", "")


def _csv(source: Source, path: str) -> str:
    from tintype_studio.formats.reading.csv_rows import is_table

    line = source.peek(path).partition(b"\n")[0].decode("utf-8", "replace")
    return "csv" if is_table(line) else ""


def _yaml(source: Source, path: str) -> str:
    head = source.peek(path)
    return "yolo" if re.search(rb"^(names|nc)\s*:", head, re.M) else ""


_KINDS: dict[str, Callable[[Source, str], str]] = {
    "json": _json,
    "xml": _xml,
    "csv": _csv,
    "yaml": _yaml,
    "yml": _yaml,
}
