"""Two models side by side, by the evaluations that are kept of them on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.training.splits import choose, dataset_of
from tintype_studio.vision.detect.trained import author_of
from tintype_studio.vision.evaluate.evaluation import Evaluation
from tintype_studio.vision.tasks import Task

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.studio import Studio
    from tintype_studio.training.models import Model, StoredEvaluation

MAIN = {
    Task.DETECTION: ("mAP", "AP"),
    Task.INSTANCES: ("mAP", "AP"),
    Task.SEMANTIC: ("mIoU", "IoU"),
    Task.CLASSIFICATION: ("f1", "f1"),
}
"""The figure that says which model is better, and the one of a class."""
ALIKE = 0.005
"""A difference below it is none."""
PAGE = 200


@dataclass(frozen=True, slots=True)
class Side:
    """A model with what was measured."""

    model: Model
    evaluation: Evaluation

    @property
    def title(self) -> str:
        """Name and version."""
        return author_of(self.model.name, self.model.version)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first model and the other one."""

    dataset_name: str
    split: str
    sides: tuple[Side, Side]
    note: str | None

    @property
    def figure(self) -> str:
        """What is compared by class."""
        return MAIN[self.sides[0].evaluation.task][1]

    @property
    def differences(self) -> dict[str, float]:
        """Other minus first, of the metrics that both have."""
        first, other = (side.evaluation.metrics for side in self.sides)
        found = {}
        for name, before in first.items():
            after = other.get(name)
            if before is not None and after is not None:
                found[name] = after - before
        return found

    @property
    def better(self) -> str:
        """``first``, ``other``, or ``alike`` by the main figure."""
        by = self.differences.get(MAIN[self.sides[0].evaluation.task][0], 0.0)
        return "alike" if abs(by) < ALIKE else "other" if by > 0 else "first"

    @property
    def per_class(self) -> list[tuple[str, float | None, float | None]]:
        """Classes of either with the figure of both."""
        first, other = (
            {each["name"]: each.get(self.figure) for each in side.evaluation.per_class} for side in self.sides
        )
        return [(name, first.get(name), other.get(name)) for name in {**first, **other}]

    def picture(self) -> tuple[bytes, int, int]:
        """A PNG, its width and its height."""
        from tintype_studio.vision.evaluate import plots

        first, other = self.sides
        png = plots.comparison(
            (first.title, other.title),
            first.evaluation,
            other.evaluation,
            self.figure,
            f"{first.title} and {other.title} on {self.dataset_name} ({self.split})",
        )
        return png, *plots.size_of(png)


def compare(
    studio: Studio, principal: Principal, model_ids: tuple[str, str], dataset_name: str | None, split: str
) -> Comparison:
    """Two models by what evaluations have kept of them.

    Raises Conflict (``not_evaluated``) that names the missing calls of evaluate_model, or for a model that
    could not be evaluated either (``model_not_ready``), and InvalidInput (``not_comparable``) for models of
    different kinds.
    """
    models = [studio.models.ready(principal, model_id) for model_id in model_ids]
    if models[0].id == models[1].id:
        raise InvalidInput("Both are the same model.", code="not_comparable", fix="Name two models.")
    if models[0].model_type is not models[1].model_type:
        raise InvalidInput(
            f"One is for {models[0].model_type.value}, the other for {models[1].model_type.value}.",
            code="not_comparable",
            fix="Compare models of one type; list_models shows it.",
        )
    dataset = dataset_of(studio, principal, models[0], dataset_name)
    kept = [_newest(studio, dataset, model, split) for model in models]
    missing = [model for model, found in zip(models, kept, strict=True) if found is None]
    if missing:
        calls = "; ".join(
            f"evaluate_model(model_id={model.id!r}, dataset_name={dataset.name!r}, split={split!r})"
            for model in missing
        )
        shown = " and ".join(author_of(model.name, model.version) for model in missing)
        raise Conflict(
            f"There is no evaluation of {shown} on {dataset.name!r} ({split}).",
            code="not_evaluated",
            fix=f"Call {calls}, then compare again.",
        )
    found = [each for each in kept if each is not None]
    sides = [
        Side(model, Evaluation.from_json(orjson.loads(studio.blobs.get(each.sha256))))
        for model, each in zip(models, found, strict=True)
    ]
    return Comparison(dataset.name, found[0].split, (sides[0], sides[1]), _note(sides))


def _newest(studio: Studio, dataset: Dataset, model: Model, split: str) -> StoredEvaluation | None:
    """The model's newest evaluation there; where a dataset has no splits, that of all its images."""
    measured = choose(studio, dataset, model, split).split
    offset = 0
    while page := studio.models.evaluations(model, limit=PAGE, offset=offset):
        for each in page:
            # By row: another dataset may have had this name before.
            if each.dataset_row_id == dataset.row_id and each.split == measured:
                return each
        offset += PAGE
    return None


def _note(sides: list[Side]) -> str | None:
    first, other = (
        (side.evaluation.images, {each["name"]: each["count"] for each in side.evaluation.per_class})
        for side in sides
    )
    if first == other:
        return None
    return (
        f"They were not measured on the same images and labels ({first[0]} and {other[0]} images), so the "
        "difference says less; evaluate_model measures both anew."
    )
