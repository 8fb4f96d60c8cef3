"""Audit rows for what is no tool call: administration at the command line and accepted invites."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tintype_studio import clock
from tintype_studio.errors import TintypeError
from tintype_studio.history.audit import CallRecord
from tintype_studio.identity.keys import Principal
from tintype_studio.names import printable
from tintype_studio.studio import Studio

log = logging.getLogger("tintype")


@dataclass(slots=True)
class Deed:
    """What is being done. Whoever does it fills in the principal once it is known."""

    action: str
    door: str
    agent: str | None
    arguments: dict[str, Any] = field(default_factory=dict)
    """Secrets in it are left out of the row by their names."""
    principal: Principal | None = None


@contextmanager
def on_record(studio: Studio, deed: Deed) -> Iterator[Deed]:
    """Record how the block ends: ``ok``, the code of a refusal, ``internal`` or ``stopped``.

    A deed whose row cannot be written stays done; the failure goes to the log.
    """
    started_at, started, outcome = clock.now(), time.perf_counter_ns(), "ok"
    try:
        yield deed
    except TintypeError as error:
        outcome = error.code
        raise
    except BaseException as error:
        outcome = "internal" if isinstance(error, Exception) else "stopped"
        raise
    finally:
        from tintype_server.dispatch.guards.audit import redact

        principal = deed.principal
        try:
            studio.audit.record(
                CallRecord(
                    uuid=clock.new_id(),
                    organization_id=principal.organization_id if principal else None,
                    api_key_id=principal.key_id if principal else None,
                    role=principal.role.value if principal else None,
                    door=deed.door,
                    agent=printable(deed.agent[:120]) if deed.agent else None,
                    tool=deed.action,
                    arguments=redact(deed.arguments),
                    outcome=outcome,
                    replayed=False,
                    credits=0,
                    duration_us=(time.perf_counter_ns() - started) // 1000,
                    created_at=started_at,
                )
            )
        except Exception:
            log.exception("%s could not be recorded", deed.action)
