"""Text prompts as a service: from an image of a dataset and a phrase to draft annotations."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tintype_studio.annotations.geometry import Annotation
from tintype_studio.errors import TintypeError, Unavailable
from tintype_studio.vision.detect.phrases import Phrase, phrases_of
from tintype_studio.vision.detect.protocol import Readiness

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.vision.detect.annotate import OutputType, Wanted
    from tintype_studio.vision.detect.chain import Detectors, Survey
    from tintype_studio.vision.prompts import Prompts, Status

log = logging.getLogger("tintype")


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """What a text prompt gave; time in seconds.

    ``score`` is the highest that was seen, also below the threshold. ``missing`` are labels that no engine
    can find, with what each engine says.
    """

    status: Status
    annotations: list[Annotation]
    score: float | None
    inference_time: float
    engines: list[str]
    missing: dict[str, tuple[Readiness, ...]] = field(default_factory=dict)


def survey_prompt(
    detectors: Detectors, dataset: Dataset, prompt: str, check: Callable[[], None] = lambda: None
) -> tuple[list[Phrase], Survey]:
    """What a prompt asks for, and who can find it; refuses what ``answer`` would refuse before it looks."""
    phrases = phrases_of(prompt, [c.name for c in dataset.classes])
    survey = detectors.survey(dataset, {p.label: p.text for p in phrases}, check)
    survey.require(dataset.name)
    return phrases, survey


def answer(
    detectors: Detectors,
    prompts: Prompts,
    dataset: Dataset,
    image: bytes,
    prompt: str,
    *,
    output_type: OutputType,
    threshold: float,
    max_detections: int,
    check: Callable[[], None] = lambda: None,
) -> TextAnswer:
    """Find what the prompt names in one image. Nothing is saved.

    Raises InvalidInput for a prompt that is empty or too long, and Unavailable: ``needs_engine`` when
    nobody can find any of it, or what an engine says that cannot work now.
    """
    import numpy as np

    from tintype_studio.media.decode import decode_upright
    from tintype_studio.vision.detect.annotate import find

    _, survey = survey_prompt(detectors, dataset, prompt, check)
    pixels = np.asarray(decode_upright(image), np.uint8)
    wanted = open_wanted(detectors, survey, dict.fromkeys(survey.engines, output_type), check=check)
    started = time.perf_counter()
    with plain_errors():
        found = find(
            pixels, wanted, prompts.engine, threshold=threshold, max_detections=max_detections, check=check
        )
    status: Status = "success" if found.annotations else "no_detection"
    if not found.annotations and found.best is not None:
        status = "below_threshold"
    return TextAnswer(
        status,
        found.annotations,
        found.best,
        round(time.perf_counter() - started, 4),
        list(dict.fromkeys(each.engine.name for each in wanted)),
        {label: survey.readiness[label] for label in survey.missing},
    )


def open_wanted(
    detectors: Detectors,
    survey: Survey,
    output_types: Mapping[str, OutputType],
    *,
    check: Callable[[], None] = lambda: None,
) -> list[Wanted]:
    """The engines of a survey, opened, each with its labels."""
    from tintype_studio.vision.detect.annotate import Wanted

    return [
        Wanted(
            detectors.open(spec, check),
            tuple(survey.asked[label] if spec.understands_words else label for label in labels),
            tuple(labels),
            tuple(output_types[label] for label in labels),
        )
        for spec, labels in survey.groups()
    ]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Whatever an engine raises becomes one clear error."""
    try:
        yield
    except TintypeError:
        raise
    except Exception as error:
        log.exception("an engine failed on a text prompt")
        raise Unavailable(
            "The engine failed on this image; nothing was charged.",
            code="engine_failed",
            fix="Label the image yourself: preview_image, then save_annotations. The operator finds the "
            "cause in the server's log.",
            retryable=False,
        ) from error
