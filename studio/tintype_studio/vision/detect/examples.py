"""What a dataset can teach: its accepted annotations, by class, and which images are worth learning from.

Drafts teach nothing, so that a detector never learns from its own guesses.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    MaskAnnotation,
    PolygonAnnotation,
    enclosing_box,
)
from tintype_studio.annotations.review import is_draft

if TYPE_CHECKING:
    from tintype_studio.annotations.documents import Documents
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.catalog.samples import Sample, Samples
    from tintype_studio.vision.detect.views import LabelledImage

MIN_EXAMPLES = 3
"""Accepted annotations of a class from which it can be learned."""
MAX_IMAGES = 120
"""Images that are learned from; more take longer and add little."""
PAGE = 500

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled image: boxes ``(left, top, right, bottom)`` in its pixels by class, and those in doubt."""

    sample_id: str
    sha256: str
    width: int
    height: int
    boxes: tuple[tuple[str, Corners], ...]
    drafts: tuple[Corners, ...]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one detector learns from: as plain data, so that it can be handed to another process."""

    classes: tuple[str, ...]
    images: tuple[Example, ...]
    digest: str
    """Stands for all of it; the same digest means the same detector."""

    def taught(self) -> Lesson:
        """What is left to say of it once a detector has learned it and is kept."""
        return Lesson(self.classes, (), self.digest)


@dataclass(frozen=True, slots=True)
class Examples:
    """Accepted annotations of a dataset."""

    counts: dict[str, int]
    images: tuple[Example, ...]

    def classes(self) -> tuple[str, ...]:
        """Classes with enough examples, by name."""
        return tuple(sorted(name for name, count in self.counts.items() if count >= MIN_EXAMPLES))

    def lesson(self, version: int, check: Callable[[], None] = lambda: None) -> Lesson | None:
        """What to learn; None when no class has enough examples."""
        classes = self.classes()
        if not classes:
            return None
        images = self._chosen(set(classes), check)
        content = [[e.sha256, [[n, *b] for n, b in e.boxes], [list(b) for b in e.drafts]] for e in images]
        digest = hashlib.sha256(orjson.dumps([version, classes, content])).hexdigest()
        return Lesson(classes, images, digest)

    def _chosen(self, classes: set[str], check: Callable[[], None]) -> tuple[Example, ...]:
        """All images with such a class, or so many that rare classes come first; in a stable order."""
        useful = [e for e in self.images if any(name in classes for name, _ in e.boxes)]
        useful.sort(key=lambda e: e.sha256)
        if len(useful) <= MAX_IMAGES:
            return tuple(useful)
        # Images with the same classes are equally rare, so only the first of each kind need be compared.
        alike: dict[frozenset[str], deque[int]] = {}
        for k, example in enumerate(useful):
            alike.setdefault(frozenset(n for n, _ in example.boxes if n in classes), deque()).append(k)
        seen: Counter[str] = Counter()
        chosen: list[Example] = []
        while len(chosen) < MAX_IMAGES:
            check()
            # The image whose rarest class has been seen least so far.
            kind = min(alike, key=lambda names: (min(seen[n] for n in names), alike[names][0]))
            best = useful[alike[kind].popleft()]
            if not alike[kind]:
                del alike[kind]
            chosen.append(best)
            seen.update(n for n, _ in best.boxes)
        return tuple(sorted(chosen, key=lambda e: e.sha256))


def gather(
    samples: Samples, documents: Documents, dataset: Dataset, check: Callable[[], None] = lambda: None
) -> Examples:
    """Read a dataset's annotations, calling ``check`` with every image."""
    counts: Counter[str] = Counter()
    images = []
    for sample, document in _labelled(samples, documents, dataset):
        check()
        placed = [(a, corners) for a in document if (corners := _corners(a, sample))]
        boxes = [(a.name, corners) for a, corners in placed if not is_draft(a)]
        drafts = [corners for a, corners in placed if is_draft(a)]
        if boxes:
            counts.update(name for name, _ in boxes)
            images.append(
                Example(sample.id, sample.sha256, sample.width, sample.height, tuple(boxes), tuple(drafts))
            )
    return Examples(dict(counts), tuple(images))


def _labelled(
    samples: Samples, documents: Documents, dataset: Dataset
) -> Iterator[tuple[Sample, Sequence[Annotation]]]:
    after = 0
    while page := samples.page(dataset, limit=PAGE, after=after):
        yield from documents.of_samples([s for s in page if s.annotation_count])
        after = page[-1].row_id


def _corners(annotation: Annotation, sample: Sample) -> Corners | None:
    """The part of its box inside the image; None for what has no extent."""
    if not isinstance(annotation, BBoxAnnotation | PolygonAnnotation | MaskAnnotation):
        return None
    x, y, w, h = enclosing_box(annotation)
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(sample.width), x + w), min(float(sample.height), y + h)
    return (left, top, right, bottom) if right - left >= 2 and bottom - top >= 2 else None


def load(
    lesson: Lesson, read: Callable[[str], bytes], *, check: Callable[[], None] = lambda: None
) -> list[LabelledImage]:
    """The images of a lesson at their working size; those that do not open any more are left out."""
    import numpy as np

    from tintype_studio.errors import TintypeError
    from tintype_studio.media.decode import decode_upright
    from tintype_studio.vision.detect.own import WORKING_SIDE
    from tintype_studio.vision.detect.views import LabelledImage

    index = {name: k for k, name in enumerate(lesson.classes)}
    found = []
    for example in lesson.images:
        check()
        try:
            picture = decode_upright(read(example.sha256), fit=(WORKING_SIDE, WORKING_SIDE))
        except TintypeError:
            continue
        scale = np.array([picture.width / example.width, picture.height / example.height] * 2)
        taught = [(index[name], box) for name, box in example.boxes if name in index]
        unknown = [box for name, box in example.boxes if name not in index] + list(example.drafts)
        found.append(
            LabelledImage(
                np.asarray(picture, np.uint8),
                np.array([box for _, box in taught], float).reshape(-1, 4) * scale,
                np.array([label for label, _ in taught], np.int64),
                np.array(unknown, float).reshape(-1, 4) * scale,
            )
        )
    return found
