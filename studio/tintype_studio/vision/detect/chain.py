"""Which engine finds which class of which dataset, and how to come to one where none can.

The order, for every class by itself: the newest model that was trained on this dataset and knows the class
(``trained``); an open-vocabulary model (``open_vocabulary``) where one is configured; the dataset's own
detector, where enough accepted annotations exist; a vision model behind an API, where the operator has opted
in to sending pictures out of the house. Without any, the answer tells the connected agent how to label with
its own eyes, which is also what makes the own detector possible.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from tintype_studio.errors import Unavailable
from tintype_studio.storage.blobs import Blobs
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import datasets
from tintype_studio.vision.detect.examples import MIN_EXAMPLES, Examples, Lesson, gather, load
from tintype_studio.vision.detect.guide import needs_engine
from tintype_studio.vision.detect.protocol import Detector, Readiness
from tintype_studio.vision.detect.trained import TrainedModel, trained_models, trained_readiness

if TYPE_CHECKING:
    from tintype_studio.annotations.documents import Documents
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.catalog.samples import Samples
    from tintype_studio.training.models import Model, Models

EngineKind = Literal["trained_model", "open_vocabulary", "own_detector", "vision_api"]

KEPT_IN_MEMORY = 4
"""Engines that a process keeps open."""
TEACHING_SECONDS = 600.0
DATASETS_IN_MEMORY = 8
"""Datasets whose examples a process keeps."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """What the operator has set."""

    model: str | None = None
    """Local folder or hub id of an open-vocabulary detector."""
    api: str | None = None
    """``anthropic`` or ``openai``: ask a vision model there; pictures leave the house."""
    api_model: str | None = None
    """Its name; None for the provider's default here."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine as plain data, so that another process can open the same one."""

    kind: EngineKind
    settings: DetectorSettings
    lesson: Lesson | None = None
    """What the own detector learns from."""
    model: TrainedModel | None = None
    """Which model that was trained here."""

    @property
    def key(self) -> str:
        """The same for the same engine."""
        return "|".join(
            (
                self.kind,
                self.settings.model or "",
                self.settings.api or "",
                self.settings.api_model or "",
                self.lesson.digest if self.lesson else "",
                self.model.id if self.model else "",
            )
        )

    @property
    def understands_words(self) -> bool:
        """Whether it is asked in words; engines that learned here know the labels themselves."""
        return self.kind in {"open_vocabulary", "vision_api"}


@dataclass(frozen=True, slots=True)
class Survey:
    """Who can find what."""

    engines: dict[str, EngineSpec]
    """By name; names that nobody can find are not in it."""
    readiness: dict[str, tuple[Readiness, ...]]
    """What each engine says of each name, in the order of the chain."""
    asked: dict[str, str]
    """By name, the words in which an engine that understands words is asked for it."""

    @property
    def missing(self) -> list[str]:
        """Names that nobody can find."""
        return [name for name in self.readiness if name not in self.engines]

    def groups(self) -> list[tuple[EngineSpec, list[str]]]:
        """Each engine once, with its names."""
        found: dict[str, tuple[EngineSpec, list[str]]] = {}
        for name, spec in self.engines.items():
            found.setdefault(spec.key, (spec, []))[1].append(name)
        return list(found.values())

    def require(self, dataset_name: str) -> None:
        """Raise ``Unavailable`` (``needs_engine``) if nobody can find any of the names."""
        if not self.engines:
            raise needs_engine(dataset_name, self.readiness)


class Detectors:
    """Chooses and opens engines. Thread-safe."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        blob_url: str,
        samples: Samples,
        documents: Documents,
        settings: DetectorSettings | None = None,
        models: Models | None = None,
    ) -> None:
        self._db = database
        self._blobs = blobs
        self.blob_url = blob_url
        self._samples = samples
        self._documents = documents
        self._models = models
        self._read: OrderedDict[int, tuple[datetime, Examples, Lesson | None]] = OrderedDict()
        self.settings = settings or DetectorSettings()

    def examples(self, dataset: Dataset, check: Callable[[], None] = lambda: None) -> Examples:
        """What the dataset can teach now; read again only when something in it has changed."""
        return self._taught_by(dataset, check)[0]

    def _taught_by(self, dataset: Dataset, check: Callable[[], None]) -> tuple[Examples, Lesson | None]:
        """Its examples and the lesson made of them, which are kept together: either takes time to make."""
        from tintype_studio.vision.detect.learning_version import VERSION

        with self._db.read() as connection:
            changed = connection.execute(
                sa.select(datasets.c.updated_at).where(datasets.c.id == dataset.row_id)
            ).scalar_one()
        kept = self._read.get(dataset.row_id)
        if kept is not None and kept[0] == changed:
            return kept[1], kept[2]
        found = gather(self._samples, self._documents, dataset, check)
        lesson = found.lesson(VERSION, check)
        with _guard:
            self._read[dataset.row_id] = (changed, found, lesson)
            while len(self._read) > DATASETS_IN_MEMORY:
                self._read.popitem(last=False)
        return found, lesson

    def survey(
        self, dataset: Dataset, names: Mapping[str, str], check: Callable[[], None] = lambda: None
    ) -> Survey:
        """Ask every engine about every class label, each with the words for it. Opens and trains nothing.

        ``check`` is called while the dataset's annotations are read, which is once after each change.
        """
        found, lesson = self._taught_by(dataset, check)
        models = trained_models(self._models.newest_for(dataset)) if self._models else []
        engines: dict[str, EngineSpec] = {}
        readiness: dict[str, tuple[Readiness, ...]] = {}
        for name in names:
            asked = [self._open_vocabulary(), own_readiness(name, found), self._api()]
            model = None
            if models:
                said, model = trained_readiness(name, models)
                asked.insert(0, said)
            readiness[name] = tuple(asked)
            ready = next((r for r in asked if r.ready), None)
            if ready is not None:
                engines[name] = EngineSpec(
                    ready.engine,  # type: ignore[arg-type]
                    self.settings,
                    lesson if ready.engine == "own_detector" else None,
                    model if ready.engine == "trained_model" else None,
                )
        return Survey(engines, readiness, dict(names))

    def survey_new(self, names: Mapping[str, str], models: Sequence[Model] = ()) -> Survey:
        """As ``survey`` for a dataset that is still empty: ``models`` were trained on others like it."""
        trained = trained_models(models)
        engines: dict[str, EngineSpec] = {}
        readiness: dict[str, tuple[Readiness, ...]] = {}
        for name in names:
            said, model = trained_readiness(name, trained) if trained else (None, None)
            asked = [*filter(None, [said]), self._open_vocabulary(), self._api()]
            readiness[name] = tuple(asked)
            ready = next((r for r in asked if r.ready), None)
            if ready is not None:
                engines[name] = EngineSpec(
                    ready.engine,  # type: ignore[arg-type]
                    self.settings,
                    model=model if ready.engine == "trained_model" else None,
                )
        return Survey(engines, readiness, dict(names))

    def open(self, spec: EngineSpec, check: Callable[[], None] = lambda: None) -> Detector:
        """The engine; the own detector is taught in a process of its own, unless it was before.

        So that other calls go on, and that a call that is given up leaves nothing running. One that asks a
        provider calls ``check`` while it waits.
        """
        from tintype_studio.jobs.pool import Pool
        from tintype_studio.vision.detect.vision_api import VisionApiDetector

        def taught() -> None:
            pool = Pool(1)
            try:
                pool.call(f"{__name__}:teach", self.blob_url, spec, deadline=TEACHING_SECONDS, check=check)
            finally:
                pool.close()

        engine = open_engine(spec, self._blobs, check, taught)
        return engine.watched(check) if isinstance(engine, VisionApiDetector) else engine

    def _open_vocabulary(self) -> Readiness:
        from tintype_studio.vision.detect.open_weights import readiness

        return readiness(self.settings.model)

    def _api(self) -> Readiness:
        from tintype_studio.vision.detect.vision_api import readiness

        return readiness(self.settings.api, self.settings.api_model)


def own_readiness(name: str, found: Examples) -> Readiness:
    """Whether the dataset's own detector can find a class."""
    count = found.counts.get(name, 0)
    if count >= MIN_EXAMPLES:
        return Readiness(
            "own_detector", True, f"It learns from {count} accepted annotations of {name!r}.", examples=count
        )
    more = MIN_EXAMPLES - count
    return Readiness(
        "own_detector",
        False,
        f"The dataset has {count} accepted {'box or polygon' if count == 1 else 'boxes or polygons'} of "
        f"{name!r}; it takes {MIN_EXAMPLES}.",
        f"Label {more} more with save_annotations, or accept drafts with accept_annotations; 20 labelled "
        "images give good results.",
        count,
    )


_engines: OrderedDict[str, Detector] = OrderedDict()
_opening: dict[str, threading.Lock] = {}
_guard = threading.Lock()


def open_engine(
    spec: EngineSpec,
    blobs: Blobs,
    check: Callable[[], None] = lambda: None,
    taught: Callable[[], None] | None = None,
) -> Detector:
    """The engine, from this process's memory if it is there. Opened once, however many ask.

    ``taught`` sees to it that the own detector is kept; without it, it is taught here.
    """
    key = spec.key
    with _guard:
        lock = _opening.setdefault(key, threading.Lock())
    while not lock.acquire(timeout=0.1):
        check()
    try:
        with _guard:
            engine = _engines.get(key)
        if engine is None:
            engine = _make(spec, blobs, check, taught)
        with _guard:
            _engines[key] = engine
            _engines.move_to_end(key)
            while len(_engines) > KEPT_IN_MEMORY:
                _opening.pop(_engines.popitem(last=False)[0], None)
        return engine
    finally:
        lock.release()


def teach(blob_url: str, spec: EngineSpec) -> None:
    """Teach the own detector and keep it. Runs in a child process."""
    open_engine(spec, Blobs(blob_url))


def _make(
    spec: EngineSpec, blobs: Blobs, check: Callable[[], None], taught: Callable[[], None] | None
) -> Detector:
    if spec.kind == "own_detector":
        if spec.lesson is None:
            raise ValueError("the own detector needs a lesson")
        return _own(spec.lesson, blobs, check, taught)
    if spec.kind == "trained_model":
        from tintype_studio.vision.detect.trained import TrainedDetector
        from tintype_studio.vision.infer.heads import open_heads
        from tintype_studio.vision.infer.model import open_model

        if spec.model is None:
            raise ValueError("the trained model needs its digest")
        heads = spec.model.heads_sha256
        return TrainedDetector(
            open_model(blobs, spec.model.onnx_sha256),
            spec.model,
            None if heads is None else open_heads(blobs, heads),
        )
    if spec.kind == "open_vocabulary":
        from tintype_studio.vision.detect.open_vocabulary import OpenVocabularyDetector

        return OpenVocabularyDetector(spec.settings.model or "")
    from tintype_studio.vision.detect.vision_api import VisionApiDetector

    return VisionApiDetector.from_environment(spec.settings.api or "", spec.settings.api_model)


def _own(
    lesson: Lesson, blobs: Blobs, check: Callable[[], None], taught: Callable[[], None] | None
) -> Detector:
    from tintype_studio.vision.detect.learning import from_bytes, learn, to_bytes

    key = f"detectors/{lesson.digest[:2]}/{lesson.digest}.npz"
    kept = blobs.get_derived(key)
    detector = from_bytes(kept) if kept is not None else None
    if detector is None and lesson.images and taught is not None:
        taught()
        detector = from_bytes(blobs.get_derived(key) or b"")
    if detector is None:
        if not lesson.images:
            raise Unavailable(
                "What the dataset's own detector had learned is gone.",
                code="detector_lost",
                fix="Start the call again: the detector is taught anew.",
                retryable=False,
            )
        images = load(lesson, blobs.get, check=check)
        if not any(len(each.boxes) for each in images):
            raise Unavailable(
                "None of the labelled images of this dataset opens any more.",
                code="examples_unreadable",
                fix="Upload them again, or label others.",
                retryable=False,
            )
        detector = learn(images, lesson.classes, check=check)
        blobs.put_derived(key, to_bytes(detector))
    return detector
