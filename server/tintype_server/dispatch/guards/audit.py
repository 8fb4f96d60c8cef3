"""Who called what, and how it ended; refusals too. Argument text is cut and secrets are left out.

The trail is never removed, so nobody may fill it for nothing: a call that was turned away at the entrance
(no valid key, or over a limit) leaves no arguments, and only some of such refusals leave a row at all.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

import orjson
import sqlalchemy as sa

from tintype_server.dispatch.running import Next, RunningCall, log
from tintype_studio.errors import Internal, TintypeError
from tintype_studio.history.audit import CallRecord
from tintype_studio.names import printable
from tintype_studio.studio import Studio
from tintype_tools.call import Outcome
from tintype_tools.spec import Effect

SECRET_WORDS = frozenset(
    {
        "apikey",
        "apikeys",
        "authorization",
        "cursor",
        "key",
        "keys",
        "passwd",
        "password",
        "secret",
        "secrets",
        "token",
        "tokens",
    }
)
"""An argument with such a word at the end of its name holds a secret, whoever has thought of the name."""
SECRET_ARGUMENTS = frozenset({"request_state"})
SECRET_PREFIXES = ("pk_live_", "cft_", "invite_")
KEY_PREFIX = re.compile(r"pk_live_[A-Za-z0-9_-]{4}")
"""What a key of ours is called by, which is no secret."""
SECRET_TEXT = re.compile(rf"({'|'.join(SECRET_PREFIXES)})[A-Za-z0-9_-]{{20,}}")
"""Our own secrets, wherever they stand: a call inside a call travels as JSON text."""
SECRET_MEMBER = re.compile(
    rf"""(?i)((?<![a-z])(?:{"|".join(sorted(SECRET_WORDS))})\b["'\\]*\s*[:=]\s*["'\\]*)"""
    r"""((?:\\u[0-9a-f]{4}|[^"'\\])+)"""
)
"""Secrets of others in such a text, which nobody may have finished or formed well."""
SUSPECTS = (
    b"key",
    b"token",
    b"secret",
    b"passw",
    b"authorization",
    b"cursor",
    b"request_state",
    b"pk_live_",
    b"cft_",
    b"invite_",
)
MAX_BYTES = 4096
"""Of one call's arguments as JSON."""
SHORT_BYTES = 1024
"""Arguments up to this size are kept whole."""
MAX_TEXT = 200
MAX_KEYS = 50
MAX_ITEMS = 10
MAX_DEPTH = 4
MARK_BYTES = 64
"""Room for the mark of one object or list that was cut."""
ITEM_BYTES = 8
"""What an item takes at least: a comma, a colon and a value that says that it was cut."""
CUT = "…"
_NO_WORD = re.compile(r"[^a-z0-9]+")

REFUSALS_A_MINUTE = 20
"""Rows of calls that were turned away at the entrance, for each key; callers without one count as one key."""
TURNED_AWAY = frozenset({"rate_limited", "too_many_calls_at_once"})


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


class _Entrance:
    """Which refusals at a workspace's entrance leave a row."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = 0
        self._recorded: dict[int | None, int] = {}
        self._missed: dict[int | None, int] = {}

    def admit(self, key_id: int | None) -> int | None:
        """How many refusals of this key left no row since the last one that did; None to leave none."""
        with self._lock:
            minute = int(time.monotonic() // 60)
            if minute != self._minute:
                self._minute = minute
                self._recorded.clear()
            recorded = self._recorded.get(key_id, 0)
            if recorded < REFUSALS_A_MINUTE:
                self._recorded[key_id] = recorded + 1
                return self._missed.pop(key_id, 0)
            self._missed[key_id] = self._missed.get(key_id, 0) + 1
            first = recorded == REFUSALS_A_MINUTE
            self._recorded[key_id] = recorded + 1
        if first:
            log.warning("calls are turned away faster than the audit trail keeps them; they are counted")
        return None


_entrances: WeakKeyDictionary[Studio, _Entrance] = WeakKeyDictionary()


def _record(call: RunningCall, code: str, outcome: Outcome | None, duration_us: int) -> None:
    spec, principal = call.known_spec, call.known_principal
    try:
        record = _describe(call, code, outcome, duration_us)
        if spec is None and (principal is None or code in TURNED_AWAY):
            missed = _entrances.setdefault(call.studio, _Entrance()).admit(record.api_key_id)
            if missed is None:
                return
            record = replace(record, arguments=f'{{"not_recorded":{missed}}}' if missed else "{}")
        if spec is None or spec.effect is Effect.READ:
            call.studio.audit.record_soon(record)
        else:
            call.studio.audit.record(record)
    except Exception:
        log.exception("call %s could not be recorded", call.id)


def _describe(call: RunningCall, code: str, outcome: Outcome | None, duration_us: int) -> CallRecord:
    principal, request = call.known_principal, call.request
    entered = call.known_spec is not None or code == "unknown_tool"
    return CallRecord(
        uuid=call.id,
        organization_id=principal.organization_id if principal else None,
        api_key_id=principal.key_id if principal else None,
        role=principal.role.value if principal else None,
        door=request.door,
        agent=printable(request.agent[:120]) if request.agent else None,
        tool=printable(request.tool[:80]),
        arguments=redact(_kept(call)) if entered else "{}",
        outcome=code,
        replayed=outcome.replayed if outcome else False,
        credits=outcome.credits if outcome and not outcome.replayed else 0,
        duration_us=duration_us,
        created_at=call.started_at,
        session=principal.session if principal else None,
        dry_run=bool(request.dry_run),
    )


def _kept(call: RunningCall) -> Any:
    """The arguments; of a tool that takes a secret only those that it knows, once they were found to fit.

    Before, a secret may stand anywhere.
    """
    spec, arguments = call.known_spec, call.request.arguments
    if spec is None or not spec.takes_secret or not isinstance(arguments, dict):
        return arguments
    fits = call.known_args is not None
    return {
        key: value if fits else "***" for key, value in arguments.items() if key in spec.args.model_fields
    }


def redact(arguments: Any) -> str:
    """Arguments as JSON text of ``MAX_BYTES`` at most, without secrets; ``…`` stands where it was cut."""
    whole = _whole(arguments)
    if whole is not None:
        return whole
    return orjson.dumps(_short(arguments, 0, _Room(MAX_BYTES - MAX_DEPTH * MARK_BYTES))).decode()


def _whole(arguments: Any) -> str | None:
    """The arguments as they are, if they are few and nothing in them may have to be taken out or cut."""
    try:
        packed = orjson.dumps(arguments)
    except TypeError:
        return None
    if len(packed) > SHORT_BYTES:
        return None
    lower = packed.lower()
    if b"-" in lower:
        lower = lower.replace(b"-", b"_")
    for word in SUSPECTS:
        if word in lower:
            return None
    if len(packed) > MAX_TEXT and max(map(len, packed.split(b'"'))) > MAX_TEXT:
        return None
    return packed.decode()


class _Room:
    """Bytes that the text may still take."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, size: int) -> bool:
        """Take that many bytes, if they are there."""
        if size > self._left:
            return False
        self._left -= size
        return True


def _short(value: Any, depth: int, room: _Room) -> Any:
    """``ITEM_BYTES`` for the value itself were taken already."""
    if isinstance(value, dict) and depth < MAX_DEPTH:
        return _short_object(value, depth, room)
    if isinstance(value, list) and depth < MAX_DEPTH and len(value) <= MAX_ITEMS:
        return _short_list(value, depth, room)
    leaf = _leaf(value)
    return leaf if room.take(len(orjson.dumps(leaf))) else CUT


def _short_object(value: dict[Any, Any], depth: int, room: _Room) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    done = 0
    for key, item in islice(value.items(), MAX_KEYS):
        name = _text(str(key))
        if not room.take(len(orjson.dumps(name)) + ITEM_BYTES):
            break
        hidden = _is_secret(key) and not (isinstance(item, str) and KEY_PREFIX.fullmatch(item))
        kept[name] = "***" if hidden else _short(item, depth + 1, room)
        done += 1
    if done < len(value):
        kept[CUT] = f"{len(value) - done} more keys"
    return kept


def _short_list(value: list[Any], depth: int, room: _Room) -> list[Any]:
    kept: list[Any] = []
    for item in value:
        if not room.take(ITEM_BYTES):
            kept.append(f"{CUT} {len(value) - len(kept)} more items")
            break
        kept.append(_short(item, depth + 1, room))
    return kept


def _leaf(value: Any) -> Any:
    if isinstance(value, dict):
        return f"{{{len(value)} keys}}"
    if isinstance(value, list):
        return f"[{len(value)} items]"
    if isinstance(value, str):
        return _text(value) if len(value) <= MAX_TEXT else f"{_text(value)}… ({len(value)} characters)"
    if (
        value is None
        or isinstance(value, bool)
        or type(value) is float
        or (type(value) is int and abs(value) < 2**63)
    ):
        return value
    # An agent loop in this process may pass anything: paths, sets, numbers of other libraries.
    try:
        return _text(repr(value))
    except Exception:  # whatever it is: an integer of too many digits, an object that cannot say itself
        return f"<{type(value).__name__}>"


def _text(text: str) -> str:
    """The beginning of a text. Secrets are taken out before it is cut, so that none is left in half."""
    beginning = SECRET_TEXT.sub(r"\1***", text[: 2 * MAX_TEXT])
    return printable(SECRET_MEMBER.sub(r"\1***", beginning)[:MAX_TEXT])


def _is_secret(key: Any) -> bool:
    if not isinstance(key, str):
        return False
    name = _NO_WORD.sub("_", key.lower()).strip("_")
    return name in SECRET_ARGUMENTS or name.rpartition("_")[2] in SECRET_WORDS
