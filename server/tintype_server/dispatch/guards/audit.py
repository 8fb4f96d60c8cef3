"""Who called what, and how it ended; refusals too. Argument text is cut and secrets are left out."""

from __future__ import annotations

import time
from typing import Any

import orjson
import sqlalchemy as sa

from tintype_server.dispatch.running import Next, RunningCall, log
from tintype_studio.errors import Internal, TintypeError
from tintype_studio.history.audit import CallRecord
from tintype_studio.names import printable
from tintype_tools.call import Outcome
from tintype_tools.spec import Effect

SECRET_ARGUMENTS = frozenset({"api_key", "token", "password", "secret"})
MAX_TEXT = 200
MAX_ITEMS = 10
MAX_DEPTH = 4


def audit(call: RunningCall, proceed: Next) -> Outcome:
    """Record the call on its way out. A change whose record cannot be written is still answered."""
    started = time.perf_counter_ns()
    outcome: Outcome | None = None
    code = "ok"

    def write(connection: sa.Connection, settled: Outcome) -> Outcome:
        record = _describe(call, "ok", settled, (time.perf_counter_ns() - started) // 1000)
        call.studio.audit.write(connection, [record])
        return settled

    call.at_commit.append(write)
    try:
        outcome = proceed(call)
    except TintypeError as error:
        code = error.code
        raise
    except BaseException as error:
        code = "internal" if isinstance(error, Exception) else "stopped"
        if isinstance(error, Exception):
            log.exception("call %s failed in a guard", call.id)
            raise Internal(call.id) from error
        raise
    finally:
        if not call.recorded:
            _record(call, code, outcome, (time.perf_counter_ns() - started) // 1000)
    return outcome


def _record(call: RunningCall, code: str, outcome: Outcome | None, duration_us: int) -> None:
    spec = call.known_spec
    try:
        record = _describe(call, code, outcome, duration_us)
        if spec is None or spec.effect is Effect.READ:
            call.studio.audit.record_soon(record)
        else:
            call.studio.audit.record(record)
    except Exception:
        log.exception("call %s could not be recorded", call.id)


def _describe(call: RunningCall, code: str, outcome: Outcome | None, duration_us: int) -> CallRecord:
    principal, request = call.known_principal, call.request
    return CallRecord(
        uuid=call.id,
        organization_id=principal.organization_id if principal else None,
        api_key_id=principal.key_id if principal else None,
        role=principal.role.value if principal else None,
        door=request.door,
        agent=printable(request.agent[:120]) if request.agent else None,
        tool=printable(request.tool[:80]),
        arguments=redact(request.arguments),
        outcome=code,
        replayed=outcome.replayed if outcome else False,
        credits=outcome.credits if outcome and not outcome.replayed else 0,
        duration_us=duration_us,
        created_at=call.started_at,
        session=principal.session if principal else None,
        dry_run=request.dry_run,
    )


def redact(arguments: Any) -> str:
    """Arguments as JSON text, short and without secrets."""
    return orjson.dumps(_short(arguments, 0)).decode()


def _short(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        if depth >= MAX_DEPTH:
            return f"{{{len(value)} keys}}"
        return {
            printable(str(k)[:MAX_TEXT]): "***" if k in SECRET_ARGUMENTS else _short(v, depth + 1)
            for k, v in list(value.items())[:50]
        }
    if isinstance(value, list):
        if depth >= MAX_DEPTH or len(value) > MAX_ITEMS:
            return f"[{len(value)} items]"
        return [_short(v, depth + 1) for v in value]
    if isinstance(value, str):
        text = value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}… ({len(value)} characters)"
        return printable(text)
    if (
        value is None
        or isinstance(value, bool)
        or type(value) is float
        or (type(value) is int and abs(value) < 2**63)
    ):
        return value
    # An agent loop in this process may pass anything: paths, sets, numbers of other libraries.
    return printable(repr(value)[:MAX_TEXT])
