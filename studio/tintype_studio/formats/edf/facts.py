"""What documents hold beyond the columns, as the JSON of ``x_annotation``; attributes that have columns.

Every fact that stands in the JSON and in a column is believed only as long as both agree: what somebody
changed in the columns counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from tintype_studio.errors import InvalidInput
from tintype_studio.formats.edf.shares import shortest, single

if TYPE_CHECKING:
    from tintype_studio.formats.edf.rows import EdfRow

MOST_U32 = 2**32 - 1
SCORES = ("box2d_score", "box3d_score", "polygon_score", "mask_score")
SCORE_OF = {"polygon": "polygon_score", "mask": "mask_score", "bbox": "box2d_score", "box3d": "box3d_score"}
"""The column of the confidence, by the type of the leading geometry."""

MAX_JSON = 4 << 20
"""Characters of one ``x_`` value."""


def entries_of(row: EdfRow, leading: str) -> list[dict[str, Any]]:
    """The attributes that the columns of a row say."""
    found: list[dict[str, Any]] = []
    if row.ignore or row.iscrowd:
        # In 2026.10 ``iscrowd`` only mirrors ``ignore``; where it says no, no crowd is meant.
        found.append({"ignore": True} if row.iscrowd is False else {"iscrowd": True})
    if row.exclude:
        found.append({"exclude": True})
    for name in ("truncation", "occlusion", "category_frequency"):
        if (value := getattr(row, name)) is not None:
            found.append({name: value})
    for name in SCORES:
        if name != SCORE_OF.get(leading) and (value := getattr(row, name)) is not None:
            found.append({name: shortest(value)})
    if row.timing is not None:
        found.append({"timing": {key: value for key, value in row.timing.items() if value is not None}})
    return found


def put_entries(row: EdfRow, attributes: Iterable[Any], leading: str) -> None:
    """Set the columns of a row that attributes say something of; of two entries the first counts."""
    said: dict[str, Any] = {}
    for entry in attributes:
        if isinstance(entry, dict) and len(entry) == 1:
            ((key, value),) = entry.items()
            said.setdefault(key, value)
    if any(said.get(key) for key in ("iscrowd", "ignore")):
        row.ignore, row.iscrowd = True, True
    if said.get("exclude"):
        row.exclude = True
    for name in ("truncation", "occlusion"):
        value = said.get(name)
        if type(value) is int and 0 <= value <= MOST_U32:
            setattr(row, name, value)
    if isinstance(value := said.get("category_frequency"), str):
        row.category_frequency = value
    for name in SCORES:
        value = said.get(name)
        if name != SCORE_OF.get(leading) and isinstance(value, int | float) and 0 <= value <= 1:
            setattr(row, name, single(value))
    timing = said.get("timing")
    if isinstance(timing, dict) and timing and all(_is_timing(*member) for member in timing.items()):
        row.timing = timing


def _is_timing(name: object, value: object) -> bool:
    from tintype_studio.formats.edf.schema import TIMINGS

    return name in TIMINGS and type(value) is int and abs(value) < 2**63


def attributes_of(row: EdfRow, leading: str, told: Mapping[str, Any]) -> list[Any]:
    """The attributes of a row: those that the JSON tells, unless the columns say something else."""
    from tintype_studio.formats.edf.rows import EdfRow

    entries = entries_of(row, leading)
    whole = told.get("attributes")
    if not isinstance(whole, list):
        return entries
    expected = EdfRow(row.name)
    put_entries(expected, whole, leading)
    if entries_of(expected, leading) == entries:
        return whole
    keys = {key for entry in (*entries_of(expected, leading), *entries) for key in entry}
    rest = [
        entry for entry in whole if not (isinstance(entry, dict) and len(entry) == 1 and set(entry) <= keys)
    ]
    return [*rest, *entries]


def as_json(told: Mapping[str, Any]) -> str | None:
    """The JSON of an ``x_`` column; None for nothing."""
    return orjson.dumps(told).decode() if told else None


def of_json(text: str | None) -> dict[str, Any]:
    """What an ``x_`` column says; nothing where there is nothing.

    Raises:
        InvalidInput: it is no JSON object (``broken_file``): nobody else writes these columns.
    """
    if text is None:
        return {}
    try:
        found = orjson.loads(text) if len(text) <= MAX_JSON else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidInput(
            "A value of the columns x_image and x_annotation is no JSON object.",
            code="broken_file",
            fix="Leave these two columns out, or export the dataset again.",
        )
    return found


def all_of_json(texts: Sequence[str | None]) -> list[dict[str, Any]]:
    """The same of many values, in half the time."""
    whole = ",".join([text or "{}" for text in texts])
    try:
        found = orjson.loads(f"[{whole}]")
    except ValueError:
        found = []
    if len(found) == len(texts) and set(map(type, found)) <= {dict}:
        return list(found)
    return [of_json(text) for text in texts]
