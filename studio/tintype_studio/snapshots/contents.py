"""What a snapshot's files are: told by their names, and judged by looking into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tintype_studio.names import printable
from tintype_studio.snapshots.snapshot import SnapshotType

MAX_LISTED = 200
"""Topics and labels that are kept with a snapshot."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What was found. ``facts`` are JSON, and small."""

    type: SnapshotType
    facts: dict[str, Any] = field(default_factory=dict)


def recordings_in(paths: Sequence[str]) -> list[str]:
    """Those that are MCAP recordings by name."""
    return [path for path in paths if path.lower().endswith(".mcap")]


def tables_in(paths: Sequence[str]) -> list[str]:
    """Those that are Arrow tables by name."""
    return [path for path in paths if path.lower().endswith((".arrow", ".parquet"))]


def type_of(paths: Sequence[str]) -> SnapshotType:
    """What the names say."""
    if tables_in(paths):
        return SnapshotType.EDGEFIRST
    return SnapshotType.MCAP if recordings_in(paths) else SnapshotType.FILES


def look_into(folder: Path, paths: Sequence[str], check: Callable[[], None]) -> Contents:
    """What the files are, and facts of them; ``InvalidInput`` for a table or recording that is damaged."""
    kind = type_of(paths)
    if kind is SnapshotType.MCAP:
        return Contents(kind, _facts_of_recordings(folder, recordings_in(paths), check))
    if kind is SnapshotType.EDGEFIRST:
        return Contents(kind, _facts_of_table(folder, paths))
    return Contents(kind)


def _facts_of_recordings(folder: Path, paths: Sequence[str], check: Callable[[], None]) -> dict[str, Any]:
    from tintype_studio.snapshots.messages import meaning_of
    from tintype_studio.snapshots.recording import Recording

    topics: dict[str, dict[str, Any]] = {}
    start, seconds = None, 0.0
    for path in paths:
        with Recording.open(folder / path, path) as recording:
            survey = recording.survey(check)
        seconds += survey.seconds
        start = survey.start if start is None else min(start, survey.start)
        for topic in survey.topics:
            found = topics.setdefault(
                printable(topic.name)[:300],
                {
                    "schema": printable(topic.schema)[:200],
                    "encoding": printable(topic.encoding)[:40],
                    "meaning": meaning_of(topic.schema, topic.encoding).value,
                    "messages": 0,
                    "seconds": 0.0,
                },
            )
            found["messages"] += topic.count
            found["seconds"] = round(found["seconds"] + survey.seconds, 3)
    return {
        "topics": [{"topic": name, **facts} for name, facts in sorted(topics.items())][:MAX_LISTED],
        "topic_count": len(topics),
        "seconds": round(seconds, 3),
        "start": _date(start),
    }


def _facts_of_table(folder: Path, paths: Sequence[str]) -> dict[str, Any]:
    from tintype_studio.multisensor.edf import open_edf

    source = open_edf(folder, paths)
    try:
        labels = [printable(each.name) for each in source.classes]
        return {"samples": source.count, "labels": labels[:MAX_LISTED], "label_count": len(labels)}
    finally:
        source.close()


def _date(nanoseconds: int | None) -> str | None:
    if not nanoseconds or nanoseconds > 4 * 10**18:
        return None
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat()
