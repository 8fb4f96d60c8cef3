"""From an export in the blob store to images laid out for training."""

from __future__ import annotations

import errno
import hashlib
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tintype_studio.errors import InvalidInput, TintypeError, Unavailable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.vision.infer.shapes import FRAME
from tintype_studio.vision.letterbox import letterbox, scale_of
from tintype_studio.vision.tasks import Task
from tintype_studio.vision.train import patches
from tintype_studio.vision.train.drafts import about_drafts
from tintype_studio.vision.train.learnable import learnable
from tintype_studio.vision.train.prepared import (
    ABOUT,
    OBJECTS,
    PIXELS,
    Item,
    Objects,
    PreparedData,
    write_about,
)
from tintype_studio.vision.train.protocol import Target
from tintype_studio.vision.train.requirements import FORMAT
from tintype_studio.vision.train.session import Order, Prepared
from tintype_studio.vision.train.split import Divisible, divide

if TYPE_CHECKING:
    from tintype_studio.vision.train.reading import Labelled, LabelledImage

PLAIN_BYTES = 2 << 30
"""Up to so many bytes of pixels are kept plain; beyond, as JPEG."""

JPEG_QUALITY = 95
AT_ONCE = 32
"""Images that are decoded ahead of the one being written."""

DECODERS = 2
FIT = 3
"""Pictures are decoded at no more than this many times the training size."""

NAMED = 5
"""Names in a note."""

VERSION = 1
"""Of the layout; another one is prepared anew."""


def prepare_data(order: Order) -> PreparedData:
    """The prepared data of a run, from the folder where it was prepared before, or made now."""
    folder = Path(order.work_dir) / f"data-{_fingerprint(order)}"
    if not (folder / ABOUT).exists():
        with _disk_errors():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            export = folder / "export.zip"
            with export.open("wb") as file:
                for chunk in Blobs(order.blob_url).stream(order.export_sha256):
                    file.write(chunk)
            with _archive(export) as archive:
                _lay_out(order, archive, folder)
            export.unlink()
    return PreparedData(folder)


def _fingerprint(order: Order) -> str:
    c = order.config
    what = (VERSION, order.export_sha256, order.pipeline, order.class_filter, c.image_size, c.seed)
    rest = (c.val_fraction, c.test_fraction, c.drafts, *([order.attributes] if order.attributes else ()))
    return hashlib.sha256(repr((*what, *rest)).encode()).hexdigest()[:16]


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        raise InvalidInput(
            "The export is no readable ZIP.",
            code="wrong_export",
            fix=f"Create an export of the format {FORMAT} with include_images=true.",
        ) from error


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise Unavailable(
            "The disk on which training images are laid out is full.",
            code="disk_full",
            fix="Ask the operator to free space in the workspace's scratch folder, then train again.",
        ) from error


def _lay_out(order: Order, archive: zipfile.ZipFile, folder: Path) -> None:
    from tintype_studio.vision.train.reading import read_labels

    task = order.of_pipeline().task
    size = order.config.image_size
    labelled = read_labels(
        archive, task, order.class_filter, drafts=order.config.drafts, attributes=order.attributes
    )
    cut_out, too_many = patches.wanted(labelled.images, labelled.classes, order.config.seed)
    objects, items, broken = Objects(), list[Item](), list[str]()
    targets: list[Target] = []
    with (
        (folder / PIXELS).open("wb") as file,
        (folder / patches.PIXELS).open("wb") as patch_file,
        ThreadPoolExecutor(DECODERS) as pool,
    ):
        plain = len(labelled.images) * size * size * 3 <= PLAIN_BYTES
        sink = _Pixels(file, plain=plain)
        writer = patches.PatchWriter(patch_file, order.attributes or {})
        waiting = zip(labelled.images, cut_out, strict=True)

        def begin(one: LabelledImage, cut: list[int]) -> tuple[LabelledImage, Future[_Looked]]:
            # Read here, decoded in threads: a ZIP has one position.
            data = archive.read(one.member)
            return one, pool.submit(_look, data, size, one, cut, labelled.classes)

        ahead = [begin(*each) for each in islice(waiting, AT_ONCE)]
        while ahead:
            one, looked = ahead.pop(0)
            ahead += [begin(*following) for following in islice(waiting, 1)]
            try:
                pixels, cut = looked.result()
            except TintypeError:
                broken.append(one.name)
                continue
            sink.append(pixels)
            writer.append(len(items), cut)
            target = one.target(scale_of(one.width, one.height, size), with_polygons=task in _WITH_POLYGONS)
            targets.append(target)
            objects.append(target)
            items.append(Item(one.image_id, one.name, one.width, one.height, one.split or ""))
    labelled.check(len(items), sum(len(t.labels) for t in targets))
    infos = {one.image_id: one for one in labelled.images}
    drafts = sum(infos[item.image_id].drafts for item in items)
    annotations = sum(infos[item.image_id].annotations for item in items)
    notes = [*about_drafts(drafts, annotations), *labelled.notes, *_about_broken(broken)]
    options = writer.labels_of_items(len(items), len(labelled.classes))
    splits, more = divide(
        [
            Divisible(
                item.image_id,
                infos[item.image_id].folder,
                infos[item.image_id].filename,
                item.split or None,
                infos[item.image_id].content,
                frozenset(target.labels.tolist()) | mine,
            )
            for item, target, mine in zip(items, targets, options, strict=True)
        ],
        val_fraction=order.config.val_fraction,
        test_fraction=order.config.test_fraction,
        seed=order.config.seed,
    )
    items = [
        Item(i.image_id, i.name, i.width, i.height, split) for i, split in zip(items, splits, strict=True)
    ]
    attributes, about = learnable(writer.options_of(splits), too_many)
    summary = _summary(labelled, items, targets, (*notes, *more, *about))
    prepared = replace(summary, drafts=drafts, attributes=attributes)
    if attributes:
        writer.save(folder / patches.INDEX)
    else:
        (folder / patches.PIXELS).unlink()
    objects.save(folder / OBJECTS)
    write_about(folder, size=size, prepared=prepared, items=items, offsets=sink.offsets)


_WITH_POLYGONS = (Task.INSTANCES, Task.SEMANTIC)


class _Pixels:
    """Writes squares one after the other."""

    def __init__(self, file: BinaryIO, *, plain: bool) -> None:
        self._file = file
        self.offsets: list[int] | None = None if plain else [0]

    def append(self, square: NDArray[np.uint8]) -> None:
        if self.offsets is None:
            self._file.write(square.tobytes())
            return
        import cv2

        _, data = cv2.imencode(".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        self._file.write(data.tobytes())
        self.offsets.append(self.offsets[-1] + len(data))


_Looked = tuple[NDArray[np.uint8], list[patches.Patch]]


def _look(data: bytes, size: int, one: LabelledImage, cut: Sequence[int], classes: Sequence[str]) -> _Looked:
    """The image's square, and what is cut out of it."""
    from tintype_studio.media.decode import decode_upright

    # Objects are cut out of pictures as large as those that a model is asked about.
    fit = max(FIT * size, FRAME) if cut else FIT * size
    image = np.asarray(decode_upright(data, fit=(fit, fit)))
    scale = max(image.shape[:2]) / max(one.width, one.height)
    shapes = [one.shapes[index] for index in cut]
    return letterbox(image, size)[0], [
        patches.cut(image, shape, classes[shape.label], scale) for shape in shapes
    ]


def _about_broken(names: list[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
    return [f"{len(names)} images cannot be read and were left out: {shown}."]


def _about_classes(names: list[str], what: str) -> list[str]:
    """One sentence, however many classes: a run keeps a hundred."""
    if not names:
        return []
    if len(names) == 1:
        return [f"The class {names[0]!r} has {what}."]
    shown = ", ".join(repr(name) for name in names[:NAMED]) + (" …" if len(names) > NAMED else "")
    return [f"{len(names)} classes have {what}: {shown}."]


def _summary(
    labelled: Labelled, items: list[Item], targets: list[Target], notes: tuple[str, ...]
) -> Prepared:
    images: Counter[str] = Counter(item.split for item in items)
    if not images["train"]:
        raise InvalidInput(
            "No image is left to train on: all came with the split val or test.",
            code="too_few_images",
            fix="Add images without a split (upload_image, upload_dataset_from_folder), label them, and "
            "train on a new export. Images keep the split that they were imported with.",
        )
    objects: Counter[str] = Counter()
    per_class: dict[str, dict[str, int]] = {
        name: {"train": 0, "val": 0, "test": 0} for name in labelled.classes
    }
    for item, target in zip(items, targets, strict=True):
        objects[item.split] += len(target.labels)
        for label in target.labels.tolist():
            per_class[labelled.classes[label]][item.split] += 1
    once, untrained, unmeasured = list[str](), list[str](), list[str]()
    for name in labelled.classes:
        counts = per_class[name]
        if sum(counts.values()) == 1:
            once.append(name)
        elif not counts["train"]:
            untrained.append(name)
        elif not counts["val"] and images["val"]:
            unmeasured.append(name)
    more = [
        *_about_classes(once, "one example, which trains; nothing can measure it"),
        *_about_classes(untrained, "no example to train on"),
        *_about_classes(unmeasured, "no example to validate on"),
    ]
    if len(labelled.classes) == 1:
        more.append("There is one class, so nothing is learned about telling classes apart.")
    if not images["val"]:
        more.append("No image is left to validate on, so the training images stand for them.")
    if not images["test"]:
        more.append("There is no image for a test of its own; the validation stands for it.")
    counted: dict[str, Any] = {split: images[split] for split in ("train", "val", "test")}
    return Prepared(
        tuple(labelled.classes),
        counted,
        {split: objects[split] for split in ("train", "val", "test")},
        per_class,
        labelled.multi_label,
        (*notes, *more),
    )
