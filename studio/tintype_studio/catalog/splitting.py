"""How samples are divided among groups: by a hash of a seed and a key, so that it can be done again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from tintype_studio.catalog.picking import chunks
from tintype_studio.errors import InvalidInput
from tintype_studio.storage.sensor_tables import sequences

MAX_GROUPS = 20
"""Groups among which samples are divided."""

_EPSILON = 1e-6


class By(StrEnum):
    """What stays together."""

    SAMPLE = "sample"
    SEQUENCE = "sequence"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Unit:
    """Samples that stay together: their row ids, and what tells them from others."""

    key: str
    rows: Sequence[int]


def checked_ratios(ratios: Mapping[str, float], named: int) -> dict[str, float]:
    """The shares as they are used; ``InvalidInput`` (``invalid_ratios``). ``named`` groups were asked for."""
    problem = None
    if not 1 <= len(ratios) <= MAX_GROUPS:
        problem = f"There are {len(ratios)} groups; 1 to {MAX_GROUPS} can be filled."
    elif len(ratios) < named:
        problem = "Two of the groups have the same name."
    elif any(not math.isfinite(share) or share < 0 for share in ratios.values()):
        problem = "A share is no number from 0 to 1."
    elif abs(sum(ratios.values()) - 1) > _EPSILON:
        problem = f"The shares add up to {sum(ratios.values()):g}."
    if problem:
        raise InvalidInput(
            problem,
            code="invalid_ratios",
            fix='Send shares that add up to 1, such as {"train": 0.8, "val": 0.2}.',
        )
    return dict(ratios)


def units_of(connection: sa.Connection, rows: Sequence[Any], by: By) -> list[Unit]:
    """Samples (``id, filename, folder, sequence_id``) as units; one in no sequence is one by itself."""
    if by is By.SAMPLE:
        return [Unit(_place(row), (row.id,)) for row in rows]
    found: dict[str, list[int]] = {}
    if by is By.FOLDER:
        for row in rows:
            found.setdefault(f"folder {row.folder}", []).append(row.id)
    else:
        names = _sequence_names(connection, sorted({row.sequence_id for row in rows} - {None}))
        for row in rows:
            name = names.get(row.sequence_id)
            key = _place(row) if name is None else f"sequence {name}"
            found.setdefault(key, []).append(row.id)
    return [Unit(key, ids) for key, ids in found.items()]


def _place(row: Any) -> str:
    """What tells a sample from others, here and in a copy of the dataset."""
    return f"sample {row.folder.rstrip('/')}/{row.filename}"


def allotted(units: Sequence[Unit], shares: Mapping[str, float], *, seed: int) -> list[str]:
    """The group of each unit.

    Units are taken in the order of a hash of seed and key. Where each is one sample, the first of them go to
    the first group, and so on, in counts by the largest remainders; else the largest units come first, and
    each goes to the group that lacks most of its share.
    """
    order = sorted(range(len(units)), key=lambda place: _hash(seed, units[place].key))
    found = [""] * len(units)
    if all(len(unit.rows) == 1 for unit in units):
        start = 0
        for name, count in _counts(len(units), shares).items():
            for place in order[start : start + count]:
                found[place] = name
            start += count
        return found
    total = sum(len(unit.rows) for unit in units)
    lacks = {name: share * total for name, share in shares.items()}
    for place in sorted(order, key=lambda place: -len(units[place].rows)):
        name = max(lacks, key=lambda each: lacks[each])
        found[place] = name
        lacks[name] -= len(units[place].rows)
    return found


def _counts(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole counts that add up to ``total``, each within one of its share."""
    exact = {name: share * total for name, share in shares.items()}
    counts = {name: math.floor(value + _EPSILON) for name, value in exact.items()}
    rest = total - sum(counts.values())
    for name in sorted(exact, key=lambda each: counts[each] - exact[each])[:rest]:
        counts[name] += 1
    return counts


def _hash(seed: int, key: str) -> bytes:
    return hashlib.blake2b(f"{seed} {key}".encode(), digest_size=16).digest()


def _sequence_names(connection: sa.Connection, row_ids: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for part in chunks(row_ids):
        rows = connection.execute(sa.select(sequences.c.id, sequences.c.name).where(sequences.c.id.in_(part)))
        found |= {row.id: row.name for row in rows}
    return found
