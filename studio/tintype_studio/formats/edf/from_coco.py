"""COCO to the table: a file, a folder or a ZIP of files with instances.

Every member of a COCO file that the format has no column for goes into ``x_image``, ``x_annotation`` or the
metadata, so that ``to_coco`` gives the same file again: names with their extensions and folders, areas, ids,
licences, keypoints, captions of categories, the form of a mask's run lengths. Coordinates are float32 shares.

A sample is named by its file's name without folder and extension; by more of its path where two would be one.
Images with ``sequence_name`` and ``frame_number`` become frames of a sequence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from tintype_studio.annotations.masks import box_of, mask_of_counts, png_of
from tintype_studio.errors import InvalidInput, UnsupportedFormat
from tintype_studio.formats.edf.arrays import Rings, of_list, of_rings, of_table
from tintype_studio.formats.edf.coco_file import CocoFile, read_coco, whole_numbers
from tintype_studio.formats.edf.coco_lists import IMAGE_COLUMNS, Categories, Images
from tintype_studio.formats.edf.schema import COLUMNS, arrow_type, metadata_of
from tintype_studio.formats.edf.shares import box_shares
from tintype_studio.formats.reading.base import broken, undisturbed
from tintype_studio.names import printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from arro3.core import Array

    from tintype_studio.annotations.geometry import Mask
    from tintype_studio.formats.reading.source import Source

INFO, LICENSES, HEAD = "coco_info", "coco_licenses", "coco_head"
"""Keys of the metadata that hold members of a COCO file as JSON."""

RINGS = "rings"
UNITED, EVEN_ODD = "united", "even-odd"
"""A key of the metadata: whether rings inside of others are holes."""

MAX_JSON_BYTES = 2 << 30

_OWN_COLUMNS = ("truncation", "occlusion", "exclude", "box3d", "box3d_score", "timing")
"""Members of an annotation that are columns under the same name."""


@dataclass(frozen=True, slots=True)
class ConvertedCoco:
    """What was written: rows, and of them images, annotations and categories."""

    rows: int
    images: int
    annotations: int
    categories: int
    masks: int


def coco_to_arrow(
    source: Path,
    output: Path,
    *,
    include_masks: bool = True,
    group: str | None = None,
    check: Callable[[], None] = lambda: None,
) -> ConvertedCoco:
    """Write the table of a COCO file, or of a folder or ZIP with such files, to ``output``.

    It is Arrow IPC, or Parquet if the name ends so.

    ``group`` is that of all samples; without it, the file's name tells (``instances_train2017.json``).
    Without ``include_masks``, outlines and masks are left out. ``check`` may raise to stop the work.

    Raises:
        InvalidInput: a file is damaged, or an entry refers to what is not there (``broken_file``).
        UnsupportedFormat: there is no COCO file (``format_not_found``).
    """
    files = []
    with undisturbed():
        for path, data in _read(source):
            check()
            files.append((read_coco(data, path), group or _group(path)))
            del data
        return write_coco(files, output, include_masks=include_masks, parquet=output.suffix == ".parquet")


def _read(source: Path) -> Any:
    from tintype_studio.formats.reading.source import open_source

    if source.suffix.lower() == ".json":
        yield source.name, source.read_bytes()
        return
    with open_source(source) as opened:
        paths = _coco_files(opened)
        if not paths:
            raise UnsupportedFormat(
                "There is no COCO file with instances here.",
                code="format_not_found",
                fix="Name a COCO .json file, or a folder or ZIP with annotations/instances_*.json.",
            )
        for path in paths:
            yield path, opened.read(path, MAX_JSON_BYTES)


def _coco_files(source: Source) -> list[str]:
    from tintype_studio.formats.reading.detect import is_coco_file

    paths = [path for path in source.paths if path.lower().endswith(".json")]
    named = [path for path in paths if path.rpartition("/")[2].startswith("instances_")]
    return named or [path for path in paths if is_coco_file(source, path)]


def _group(path: str) -> str | None:
    from tintype_studio.formats.reading.lookup import split_in

    return split_in(path)


def write_coco(
    files: Sequence[tuple[CocoFile, str | None]],
    output: Path | IO[bytes],
    *,
    include_masks: bool = True,
    parquet: bool = False,
) -> ConvertedCoco:
    """The same of files that were read, each with its group."""
    from tintype_studio.formats.edf.table import write_table

    categories = Categories([file for file, _ in files])
    images = Images(files)
    arrays, masks = _Rows([file for file, _ in files], images, categories, include_masks).arrays()
    metadata = {**metadata_of(categories.indices, categories.facts), RINGS: UNITED, **_heads(files)}
    write_table(output, [arrays], metadata, parquet=parquet)
    annotations = sum(len(file.columns.ids) for file, _ in files)
    rows = len(arrays["name"])
    return ConvertedCoco(rows, len(images.names), annotations, len(categories.indices), masks)


def _heads(files: Sequence[tuple[CocoFile, str | None]]) -> dict[str, str]:
    """Members of the first file that stand beside the lists."""
    head = dict(files[0][0].head) if files else {}
    found = {}
    for key, member in ((INFO, "info"), (LICENSES, "licenses")):
        if member in head:
            found[key] = orjson.dumps(head.pop(member)).decode()
    if head:
        found[HEAD] = orjson.dumps(head).decode()
    return found


class _Rows:
    """The columns of the table: annotations in the order of their files, then images that have none."""

    def __init__(
        self, files: Sequence[CocoFile], images: Images, categories: Categories, include_masks: bool
    ) -> None:
        import numpy as np

        self._files = files
        self._parts = [file.columns for file in files]
        self._images = images
        self._categories = categories
        self._include_masks = include_masks
        owners = [self._owners(file, places) for file, places in zip(files, images.places, strict=True)]
        self._owner = np.array([owner for each in owners for owner in each], dtype=np.int64)
        self._count = len(self._owner)
        there = np.zeros(len(images.entries), dtype=np.bool_)
        there[self._owner] = True
        empty = np.flatnonzero(~there)
        self._empty = len(empty)
        self._rows = np.concatenate([self._owner, empty]).astype(np.uint32)
        self._said: dict[int, dict[str, Any]] = {}
        self._bare: list[int] = []
        first = 0
        for part in self._parts:
            self._bare += [first + row for row in part.bare]
            self._said |= {first + row: told for row, told in part.further.items()}
            first += len(part.ids)

    @staticmethod
    def _owners(file: CocoFile, places: Mapping[int, int]) -> list[int]:
        columns = file.columns
        try:
            return [places[id] for id in columns.images]
        except (KeyError, TypeError):
            number = next(n for n, id in enumerate(columns.images) if type(id) is not int or id not in places)
            raise broken(
                file.path,
                f"annotation {_shown(columns.ids[number])} refers to the image "
                f"{_shown(columns.images[number])}, which is not listed",
            ) from None

    def arrays(self) -> tuple[dict[str, Array], int]:
        """Arrays by the names of columns, and how many masks there are."""
        found = self._of_samples()
        geometry, masks = self._geometry()
        found |= geometry | self._of_annotations()
        kept = {name: found[name] for name in COLUMNS if name in found}
        return {
            name: array
            for name, array in kept.items()
            if name == "name" or array.null_count < len(array) or not len(array)
        }, masks

    def _of_samples(self) -> dict[str, Array]:
        import numpy as np
        from arro3.core import Array, DataType

        images, text, chosen = self._images, DataType.utf8(), Array.from_numpy(self._rows)
        found = {
            "name": Array(images.names, text).take(chosen),
            "x_file_name": Array(images.file_names, text).take(chosen),
            "size": of_table(COLUMNS["size"], images.sizes.astype(np.uint32)[self._rows]),
        }
        if any(group is not None for group in images.groups):
            found["group"] = of_list(COLUMNS["group"], images.groups).take(chosen)
        if any(frame is not None for frame in images.frames):
            found["frame"] = Array(images.frames, DataType.uint32()).take(chosen)
        for member, name in IMAGE_COLUMNS.items():
            if name in {"", "frame", "group"}:
                continue
            told = [entry.get(member) for entry in images.entries]
            if any(value is not None for value in told):
                found[name] = _column(name, told, self._files[0].path).take(chosen)
        first = np.full(len(images.entries), len(self._rows), dtype=np.int64)
        np.minimum.at(first, self._rows, np.arange(len(self._rows)))
        # Said once, in the first row of each image: these are long.
        said: list[str | None] = [None] * len(self._rows)
        for told_of, row in zip(images.told, first.tolist(), strict=True):
            said[row] = told_of
        found["x_image"] = Array(said, text)
        return found

    def _of_annotations(self) -> dict[str, Array]:
        from arro3.core import Array, DataType

        text, blank = DataType.utf8(), [None] * self._empty
        for file in self._files:
            _check_ids(file)
        ids = [id for part in self._parts for id in part.ids]
        labels = [id for file in self._files for id in self._labels(file)]
        names = [self._categories.names[id] for id in labels]
        objects = [*map(str, ids), *blank]
        for row, told in self._said.items():
            if isinstance(told.get("object_id"), str):
                objects[row] = told.pop("object_id")
        found = {
            "object_id": Array(objects, text),
            "label": Array([*names, *blank], text).cast(arrow_type(COLUMNS["label"])),
            "label_index": Array([*labels, *blank], DataType.uint64()),
        }
        crowds = [crowd for file in self._files for crowd in _crowds(file)]
        if any(crowd is not None for crowd in crowds):
            found["ignore"] = found["iscrowd"] = Array([*crowds, *blank], DataType.bool())
        areas = [area for part in self._parts for area in part.areas]
        if any(area is not None for area in areas):
            found["x_area"] = _column("x_area", [*areas, *blank], self._files[0].path)
        if self._categories.frequencies:
            rarity = [self._categories.frequencies.get(id) for id in labels]
            found["category_frequency"] = of_list(COLUMNS["category_frequency"], [*rarity, *blank])
        return found | self._further()

    def _labels(self, file: CocoFile) -> list[int]:
        names, found = self._categories.names, file.columns.categories
        number = next((n for n, id in enumerate(found) if type(id) is not int or id not in names), None)
        if number is None:
            return found
        raise broken(
            file.path,
            f"annotation {_shown(file.columns.ids[number])} has the category id {_shown(found[number])}, "
            "which is not listed",
        )

    def _further(self) -> dict[str, Array]:
        """Members that have columns of their own, and the rest as JSON."""
        from arro3.core import Array, DataType

        found: dict[str, Array] = {}
        count = self._count + self._empty
        for name in _OWN_COLUMNS:
            values: list[Any] = [None] * count
            for row, told in self._said.items():
                if (value := told.pop(name, None)) is not None:
                    values[row] = value
            if any(value is not None for value in values):
                found[name] = _column(name, values, self._files[0].path)
        if any(self._said.values()):
            texts: list[str | None] = [None] * count
            for row, told in self._said.items():
                ours = told.pop("x_annotation", None)
                whole = {**(ours if isinstance(ours, dict) else {}), **({"coco": told} if told else {})}
                texts[row] = orjson.dumps(whole).decode() if whole else None
            found["x_annotation"] = Array(texts, DataType.utf8())
        return found

    def _geometry(self) -> tuple[dict[str, Array], int]:
        import numpy as np
        from arro3.core import Array

        count, empty = self._count, self._empty
        rings = np.array([n for part in self._parts for n in part.rings] + [0] * empty, dtype=np.int64)
        lengths = np.array([n for part in self._parts for n in part.lengths], dtype=np.int64)
        outlines = Rings(_ends(rings), _ends(lengths), self._shares(rings[:count], lengths))
        bare = np.zeros(count + empty, dtype=np.bool_)
        bare[self._bare] = True
        bare[count:] = True
        found = {"polygon": of_rings(COLUMNS["polygon"], outlines, bare)} if self._include_masks else {}
        masks = self._masks() if self._include_masks else {}
        if masks:
            pngs = [png_of(masks[row]) if row in masks else None for row in range(count + empty)]
            found["mask"] = Array(pngs, arrow_type(COLUMNS["mask"]))
        boxes = np.concatenate([part.boxes for part in self._parts])
        sizes = self._images.sizes[self._owner]
        missing = np.isnan(boxes).any(axis=1)
        shares = box_shares(np.where(missing[:, None], 0, boxes), sizes)
        for row in np.flatnonzero(missing).tolist():
            missing[row] = not self._enclose(shares, row, outlines, masks.get(row))
        if not np.isfinite(shares).all() or not np.isfinite(outlines.values).all():
            raise broken(self._files[0].path, "a coordinate is infinite or too large")
        absent = np.concatenate([missing, np.ones(empty, dtype=np.bool_)])
        found["box2d"] = of_table(
            COLUMNS["box2d"], np.concatenate([shares, np.zeros((empty, 4), dtype=np.float32)]), absent
        )
        return found | self._scores(masks, rings), len(masks)

    def _scores(self, masks: Mapping[int, Mask], rings: Any) -> dict[str, Array]:
        """The score of an annotation as that of what leads."""
        scores = [score for part in self._parts for score in part.scores]
        found: dict[str, Array] = {}
        if not any(score is not None for score in scores):
            return found
        own: dict[str, list[Any]] = {
            name: [None] * (self._count + self._empty)
            for name in ("mask_score", "polygon_score", "box2d_score")
        }
        for row, score in enumerate(scores):
            name = "mask_score" if row in masks else "polygon_score" if rings[row] else "box2d_score"
            own[name][row] = score
        for name, values in own.items():
            found[name] = _column(name, values, self._files[0].path)
        return found

    def _shares(self, rings: Any, lengths: Any) -> npt.NDArray[np.float32]:
        """All outlines as shares, piece by piece."""
        import numpy as np

        owners = np.repeat(np.repeat(self._owner, rings), lengths // 2)
        found, at = np.empty((len(owners), 2), dtype=np.float32), 0
        for part in self._parts:
            for numbers in part.numbers:
                piece = numbers.reshape(-1, 2)
                extents = self._images.sizes[owners[at : at + len(piece)]]
                with np.errstate(over="ignore"):  # told of afterwards
                    np.divide(piece, extents, out=found[at : at + len(piece)], casting="same_kind")
                at += len(piece)
        return found.reshape(-1)

    def _masks(self) -> dict[int, Mask]:
        """Run-length codes as masks, by row; what cannot be told from the mask again is kept as JSON."""
        found: dict[int, Mask] = {}
        first = 0
        for file in self._files:
            for row, told in file.columns.masks.items():
                size = [int(side) for side in self._images.sizes[self._owner[first + row]][::-1]]
                mask = _mask(told, size, file, row)
                if mask is None:
                    self._said.setdefault(first + row, {})["segmentation"] = told
                    continue
                found[first + row] = mask
                if isinstance(told["counts"], list):
                    self._said.setdefault(first + row, {})["counts"] = "list"
            first += len(file.columns.ids)
        return found

    def _enclose(self, shares: Any, row: int, outlines: Rings, mask: Mask | None) -> bool:
        """Give a row the box that its file does not tell, around what it marks; False if that is nothing."""
        import numpy as np

        sizes = self._images.sizes[self._owner[row]][None]
        if mask is not None:
            box = box_of(mask)
            shares[row] = box_shares(np.array([[box.x, box.y, box.w, box.h]]), sizes)[0]
            return True
        ends = outlines.inner[outlines.outer[row]], outlines.inner[outlines.outer[row + 1]]
        points = outlines.values[ends[0] : ends[1]].reshape(-1, 2)
        if not len(points):
            return False
        low, high = points.min(axis=0), points.max(axis=0)
        shares[row] = np.concatenate([(low + high) / 2, high - low])
        return True


def _mask(told: dict[str, Any], size: list[int], file: CocoFile, row: int) -> Mask | None:
    counts = told.get("counts")
    if told.get("size") != size or not isinstance(counts, str | list):
        raise broken(
            file.path,
            f"annotation {_shown(file.columns.ids[row])}: its mask has no counts, or not its image's size",
        )
    try:
        return mask_of_counts(counts, size[0], size[1])
    except InvalidInput as error:
        raise broken(file.path, f"annotation {_shown(file.columns.ids[row])}: {error.message}") from None


def _ends(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    import numpy as np

    found = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=found[1:])
    return found


def _check_ids(file: CocoFile) -> None:
    ids = file.columns.ids
    whole_numbers(ids, "an annotation id", file.path)
    if len(set(ids)) < len(ids):
        twice = next(id for id, times in Counter(ids).items() if times > 1)
        raise broken(file.path, f"the annotation id {twice} occurs twice")


def _crowds(file: CocoFile) -> list[bool | None]:
    found = file.columns.crowds
    if not set(map(type, found)) <= {int, bool, type(None)}:
        number = next(n for n, crowd in enumerate(found) if not isinstance(crowd, int | None))
        raise broken(file.path, f"annotation {_shown(file.columns.ids[number])}: iscrowd is neither 0 nor 1")
    return [None if crowd is None else crowd != 0 for crowd in found]


def _column(name: str, values: Sequence[Any], path: str) -> Array:
    try:
        return of_list(COLUMNS[name], values)
    except (TypeError, ValueError, OverflowError, AttributeError):
        raise broken(path, f"an entry's {name.removeprefix('x_')} is not what it should be") from None


def _shown(value: object) -> str:
    return printable(str(value))[:40]
