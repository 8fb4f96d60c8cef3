"""Which model is meant by a name: one that was trained here, or a built-in engine with weights.

``recognize_anything/<name>`` and the bare name mean the newest ready version of the models of that name, in
whatever dataset; ``<name>@<version>`` means that version, a UUID that model. ``open_vocabulary`` is the
engine that finds what it is told in words, unless a model of that name was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING
from uuid import UUID

from tintype_studio.errors import InvalidInput, NotFound, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.names import printable
from tintype_studio.predictions.shapes import Media
from tintype_studio.training.models import Model, Models, ModelStatus
from tintype_studio.vision.detect.open_weights import readiness
from tintype_studio.vision.detect.trained import author_of

if TYPE_CHECKING:
    from tintype_studio.vision.detect.chain import DetectorSettings

PREFIX = "recognize_anything/"
OPEN_VOCABULARY = "open_vocabulary"
MAX_OBJECTS = 50
MAX_OBJECT_NAME = 120
USUAL_THRESHOLD = 0.5
LEAST_THRESHOLD, MOST_THRESHOLD = 0.05, 0.9
"""Between which a model's own best threshold is believed: a tiny test set may say anything."""
SUGGESTED = 5
LISTED = 500


@dataclass(frozen=True, slots=True)
class PredictionModel:
    """What predicts."""

    name: str
    """``recognize_anything/<name>``, for its newest version."""
    label: str
    """``<name>@<version>``, or the engine: what answers carry."""
    model: Model | None
    """None for a built-in engine."""
    ready: bool
    why: str
    """What it works with, or what is missing; one sentence."""
    fix: str
    """The way to what is missing; empty when it is ready."""
    media: tuple[Media, ...] = ("image", "video")
    """What it can look at."""

    @property
    def takes_objects(self) -> bool:
        """Whether it must be told in words what to find."""
        return self.model is None

    @property
    def threshold(self) -> float:
        """The score from which objects are told when nobody says another: the best on its test images."""
        best = None if self.model is None else self.model.metrics.get("score_threshold")
        if not isinstance(best, int | float):
            return USUAL_THRESHOLD
        return min(MOST_THRESHOLD, max(LEAST_THRESHOLD, float(best)))


class PredictionModels:
    """Finds models by name, for one workspace."""

    def __init__(self, models: Models, settings: DetectorSettings) -> None:
        self._models = models
        self._settings = settings

    def list(self, principal: Principal) -> list[PredictionModel]:
        """Every model that can be asked by name, newest first, then the built-in engines, ready or not."""
        found: list[Model] = []
        while page := self._models.list(principal, limit=LISTED, offset=len(found), status=ModelStatus.READY):
            found += page
        return [*map(_trained, found), self._open_vocabulary()]

    def resolve(self, principal: Principal, name: str) -> PredictionModel:
        """The model that a name means.

        Raises NotFound (``model_not_found``) with names that are close, Conflict (``model_not_ready``) for
        one in training or failed, and Unavailable for an engine whose weights are missing.
        """
        bare = name.removeprefix(PREFIX)
        if (model := self._by_id(principal, bare)) is not None:
            return _trained(self._models.ready(principal, model.id))
        title, _, version = bare.rpartition("@")
        versions = self._models.named(principal, bare)
        if not versions and title:
            versions = [m for m in self._models.named(principal, title) if _is_version(m, version)]
        if versions:
            return _trained(self._models.ready(principal, versions[0].id))
        if bare == OPEN_VOCABULARY:
            return _require_ready(self._open_vocabulary())
        raise self._unknown(principal, bare)

    def _by_id(self, principal: Principal, text: str) -> Model | None:
        try:
            UUID(text)
            return self._models.get(principal, text)
        except (ValueError, NotFound):
            return None

    def _open_vocabulary(self) -> PredictionModel:
        found = readiness(self._settings.model)
        return PredictionModel(
            f"{PREFIX}{OPEN_VOCABULARY}",
            OPEN_VOCABULARY,
            None,
            found.ready,
            found.why,
            found.fix,
        )

    def _unknown(self, principal: Principal, bare: str) -> NotFound:
        known = list(dict.fromkeys(each.name.removeprefix(PREFIX) for each in self.list(principal)))
        close = get_close_matches(bare.rpartition("@")[0] or bare, known, SUGGESTED, 0.5)
        fix = f"Did you mean {', '.join(close)}?" if close else "list_prediction_models shows the names."
        return NotFound(
            f"No model is called {printable(bare[:80])!r}.",
            code="model_not_found",
            fix=fix,
            details={"close": close} if close else None,
        )


def objects_for(found: PredictionModel, objects: Sequence[str]) -> tuple[str, ...]:
    """What a model is told to find, each once; nothing for one that knows its classes.

    Raises InvalidInput (``objects_missing``, ``objects_not_taken``, ``invalid_objects``).
    """
    names = tuple(dict.fromkeys(" ".join(each.split()) for each in objects))
    if not found.takes_objects:
        if names:
            raise InvalidInput(
                f"{found.label} finds the classes that it was trained on; it is told no objects.",
                code="objects_not_taken",
                fix=f"Leave objects out, or ask {PREFIX}{OPEN_VOCABULARY}.",
            )
        return ()
    if not names:
        raise InvalidInput(
            f"{found.label} must be told what to find.",
            code="objects_missing",
            fix="Send objects: the names of what to look for, such as traffic light.",
        )
    if len(names) > MAX_OBJECTS or not all(0 < len(each) <= MAX_OBJECT_NAME for each in names):
        raise InvalidInput(
            f"objects holds up to {MAX_OBJECTS} names of 1 to {MAX_OBJECT_NAME} characters.",
            code="invalid_objects",
            fix="Send fewer or shorter names.",
        )
    return names


def _trained(model: Model) -> PredictionModel:
    return PredictionModel(
        f"{PREFIX}{model.name}",
        author_of(model.name, model.version),
        model,
        True,
        f"Trained on {model.dataset_name}: {model.model_type.value}.",
        "",
    )


def _is_version(model: Model, version: str) -> bool:
    return version in {model.version, model.version.partition(".")[0]}


def _require_ready(found: PredictionModel) -> PredictionModel:
    if not found.ready:
        raise Unavailable(found.why, code="model_not_ready", fix=found.fix, retryable=False)
    return found
