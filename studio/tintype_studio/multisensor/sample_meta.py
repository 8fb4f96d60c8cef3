"""What is known of a sample beside its columns: where, when and in what state it was taken.

Kept as JSON in ``samples.meta``, without what is not known; a sample of which nothing is known has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints, ValidationError

from tintype_studio.annotations.geometry import Strict
from tintype_studio.errors import InvalidInput

MAX_FURTHER_BYTES = 64 * 1024
"""Of the further facts of one sample, as JSON."""

Degrees = Annotated[float, Field(ge=-720, le=720, allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0, lt=2**32)]
Indices = Annotated[list[Index], Field(max_length=10_000)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Location(Strict):
    """A place on earth (WGS 84), in degrees."""

    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]


class Pose(Strict):
    """How the sensors were turned, in degrees."""

    roll: Degrees
    pitch: Degrees
    yaw: Degrees


def _storable(further: dict[str, Any]) -> dict[str, Any]:
    try:
        packed = orjson.dumps(further)
        same = orjson.loads(packed) == further
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise ValueError("holds a value that JSON cannot carry (NaN, infinity, an integer over 64 bits)")
    if len(packed) > MAX_FURTHER_BYTES:
        raise ValueError(f"is over {MAX_FURTHER_BYTES} bytes of JSON")
    return further


class SampleMeta(Strict):
    """Facts of one sample; None or empty is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    location: Location | None = None
    pose: Pose | None = None
    degradation: Line | None = Field(default=None, description="Such as rain, fog or a dirty lens.")
    source: Line | None = Field(default=None, description="Which camera, drive or archive it is from.")
    date: AwareDatetime | None = Field(default=None, description="When it was taken.")
    neg_label_indices: Indices = Field(
        default_factory=list, description="Label indices that were looked for and are not there."
    )
    not_exhaustive_label_indices: Indices = Field(
        default_factory=list, description="Label indices of which not every object is marked."
    )
    timing: dict[Line, Annotated[int, Field(ge=-(2**63), lt=2**63)] | None] = Field(
        default_factory=dict, max_length=100, description="Nanoseconds by what they are of, as devices tell."
    )
    further: Annotated[dict[str, Any], AfterValidator(_storable)] = Field(
        default_factory=dict, description="Anything else, as JSON."
    )

    def as_json(self) -> dict[str, Any] | None:
        """As it is kept; None when nothing is known."""
        found = self.model_dump(mode="json", exclude_defaults=True)
        return found or None

    def is_known(self) -> bool:
        """Whether there is any fact."""
        return self != NOTHING

    def with_news(self, news: SampleMeta) -> SampleMeta:
        """These facts, and those of ``news`` in their place where it has some."""
        given = {name: getattr(news, name) for name in type(news).model_fields}
        return self.model_copy(update={name: value for name, value in given.items() if value})


NOTHING = SampleMeta()
"""Nothing is known."""


def meta_from_json(found: Mapping[str, Any] | None) -> SampleMeta:
    """What ``as_json`` gave."""
    return SampleMeta.model_validate(found) if found else NOTHING


def meta_of(values: Mapping[str, Any]) -> SampleMeta:
    """Facts from outside; ``InvalidInput`` (``invalid_sample``) names the one that is wrong."""
    try:
        return SampleMeta.model_validate({key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "The sample"
        raise InvalidInput(
            f"{place}: {first['msg']}.", code="invalid_sample", fix="Correct it, or leave it out."
        ) from None


def date_as_text(date: datetime) -> str:
    """A date as clients read it: RFC 3339 with its offset."""
    return date.isoformat().replace("+00:00", "Z")
