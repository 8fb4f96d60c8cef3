"""The one source of time and of new public ids."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime


def now() -> datetime:
    """The current time, aware, in UTC. Tests replace this to move the clock."""
    return datetime.now(UTC)


def new_id() -> str:
    """A new public id (UUID, version 4, lower-case text)."""
    return str(uuid.uuid4())
