"""What a prediction says of one moment: the objects that were seen, and the options that held then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tintype_studio.predictions.shapes import (
    CategoryPrediction,
    Choice,
    Corners,
    MediaPrediction,
    PredictedObject,
)

WHOLE: Corners = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object as the model saw it in one frame. The box is in shares of width and height."""

    object_id: int
    name: str
    """Its best category."""
    score: float
    """Of the box in this frame."""
    box: Corners
    rings: Sequence[Sequence[tuple[float, float]]] | None
    options: dict[str, str]
    """Of each attribute the option that held."""


def is_about_the_whole(found: PredictedObject) -> bool:
    """Whether it is no object but the answer of a model that classifies whole pictures."""
    return len(found.categories) > 1 and [seen.box for seen in found.observations] == [WHOLE]


def sightings(
    prediction: MediaPrediction, objects: Sequence[PredictedObject] | None = None
) -> dict[int, list[Sighting]]:
    """By time in microseconds, what was seen of the objects (all when None); a frame in which one was missed
    does not tell of it.

    A frame in which nothing was seen is no key. An object without a category is left out.
    """
    found: dict[int, list[Sighting]] = {}
    for each in prediction.objects if objects is None else objects:
        if not each.categories:
            continue
        best = each.categories[0]
        for seen in each.observations:
            if seen.box is None:
                continue
            found.setdefault(seen.timestamp_us, []).append(
                Sighting(
                    each.object_id,
                    best.name,
                    1.0 if seen.score is None else seen.score,
                    seen.box,
                    seen.rings,
                    options_at(best, seen.timestamp_us),
                )
            )
    return found


def options_at(category: CategoryPrediction, timestamp_us: int) -> dict[str, str]:
    """Of each attribute the option that holds at a time; the better one where two do."""
    best: dict[str, tuple[float, str]] = {}
    for choice in category.attributes:
        score = _score_at(choice, timestamp_us)
        if score is not None and score > best.get(choice.attribute, (-1.0, ""))[0]:
            best[choice.attribute] = (score, choice.option)
    return {attribute: option for attribute, (_, option) in best.items()}


def _score_at(choice: Choice, timestamp_us: int) -> float | None:
    for span in choice.ranges:
        if span.start_us <= timestamp_us <= span.end_us:
            return span.score
    return None


def evenly(times: Sequence[int], count: int) -> list[int]:
    """``count`` of the times, spread over them, with the first and the last; all when there are fewer."""
    if len(times) <= count:
        return list(times)
    if count == 1:
        return [times[len(times) // 2]]
    last = len(times) - 1
    return [times[round(number * last / (count - 1))] for number in range(count)]
