"""The response cap: an answer never exceeds the caller's budget, and nothing of it is lost.

Structure is kept: lists are cut between items, and long texts between pieces. What was cut is parked, and
``_truncated`` says how much it is and carries a cursor for ``read_more``. An answer that cannot be fitted
so (a thousand small lists, say) is handed over as pieces of its JSON text. Tokens are estimated as bytes of
JSON divided by four; pictures count by their pixels.

Parking is a write, which can wait for other writers. A door that runs a quick call on its event loop asks
to have it left over (``left_over``) and does it in a thread before it answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import orjson

from tintype_server.dispatch.running import Next, RunningCall
from tintype_studio.history.results import Packed
from tintype_tools.call import Outcome

BYTES_PER_TOKEN = 4
MARKER_BYTES = 600
"""Room kept for ``_truncated`` itself."""
MAX_CUTS = 4
"""More cuts than this would not fit their own marks."""
MAX_PATH = 100
"""Characters of a cut's path: a longer one would need cutting itself."""
PIECE = 200
"""Characters in a piece of a long text."""
LONG_TEXT = 4 * PIECE
"""Shorter texts are never cut."""

_left_over: ContextVar[list[Packed] | None] = ContextVar("left_over", default=None)


@contextmanager
def left_over() -> Iterator[list[Packed]]:
    """Park nothing in the block: what is to be kept before the answer goes out is gathered instead."""
    gathered: list[Packed] = []
    token = _left_over.set(gathered)
    try:
        yield gathered
    finally:
        _left_over.reset(token)


@dataclass(slots=True)
class _Cut:
    path: str
    shown: int
    items: list[Any]
    of: str = "items"
    """``items`` of a list, or ``pieces`` of a text to be joined."""


def shape(call: RunningCall, proceed: Next) -> Outcome:
    """Cut the answer to the budget. The answer of a call inside a call is cut with the outer one's."""
    outcome = proceed(call)
    if call.request.nested or call.spec.confidential:
        return outcome
    budget = call.token_budget
    if budget <= 0:
        return outcome
    room = (budget - sum(p.tokens for p in outcome.pictures)) * BYTES_PER_TOKEN
    if _size(outcome.value) <= room:
        return outcome
    cuts: list[_Cut] = []
    value = _fit(outcome.value, max(0, room - MARKER_BYTES), "", cuts)
    if not cuts and _size(value) <= MARKER_BYTES:  # the pictures alone took the room
        return outcome
    if not 0 < len(cuts) <= MAX_CUTS or _size(value) > room or any(len(c.path) > MAX_PATH for c in cuts):
        value, cuts = {}, [_as_text(outcome.value)]
    value["_truncated"] = {
        "message": (
            f"The answer was cut to {budget} tokens. Call read_more with a cursor for the rest, "
            "or ask for less."
        ),
        "cuts": [_describe(call, outcome, cut) for cut in cuts],
    }
    return replace(outcome, value=value)


def _describe(call: RunningCall, outcome: Outcome, cut: _Cut) -> dict[str, Any]:
    total = len(cut.items)
    if outcome.continues is not None and cut.path == "items":
        handle, offset = outcome.continues
        cursor = f"{handle}.{offset + cut.shown}"
    else:
        cursor = f"{_park(call, cut)}.{cut.shown}"
    return {
        "path": cut.path,
        "of": cut.of,
        "shown": cut.shown,
        "total": total,
        "left_out": total - cut.shown,
        "cursor": cursor,
    }


def _park(call: RunningCall, cut: _Cut) -> str:
    results, gathered = call.studio.results, _left_over.get()
    packed = results.pack(call.principal, tool=call.spec.name, path=cut.path, items=cut.items)
    if gathered is None:
        results.keep(packed)
    else:
        gathered.append(packed)
    return packed.handle


def _size(value: Any) -> int:
    return len(orjson.dumps(value))


def _fit(value: Any, room: int, path: str, cuts: list[_Cut]) -> Any:
    if isinstance(value, dict):
        return _fit_dict(value, room, path, cuts)
    if isinstance(value, list):
        return _fit_list(value, room, path, cuts)
    if isinstance(value, str) and len(value) > LONG_TEXT:
        return _fit_text(value, room, path, cuts)
    return value


def _fit_dict(value: dict[str, Any], room: int, path: str, cuts: list[_Cut]) -> dict[str, Any]:
    """Cut inside the largest members first, until the whole fits."""
    fitted = dict(value)
    sizes = {key: _size(item) + _size(key) + 2 for key, item in value.items()}
    total = sum(sizes.values()) + 2
    for key in sorted(sizes, key=lambda k: -sizes[k]):
        if total <= room or len(cuts) > MAX_CUTS:
            break
        others = total - sizes[key]
        inside = f"{path}.{key}" if path else key
        fitted[key] = _fit(fitted[key], max(0, room - others), inside, cuts)
        total = others + _size(fitted[key]) + _size(key) + 2
    return fitted


def _fit_list(value: list[Any], room: int, path: str, cuts: list[_Cut]) -> list[Any]:
    """Keep whole items while they fit. A first item that is too large by itself is cut inside, so that
    every answer moves on by at least one item.
    """
    kept: list[Any] = []
    used = 2
    for item in value:
        size = _size(item) + 1
        if used + size > room:
            break
        kept.append(item)
        used += size
    if not kept and value:
        kept.append(_fit(value[0], max(0, room - used), f"{path}.0", cuts))
    if len(kept) < len(value):
        cuts.append(_Cut(path, len(kept), value))
    return kept


def _fit_text(value: str, room: int, path: str, cuts: list[_Cut]) -> str:
    pieces = _pieces(value)
    shown, used = 0, 2
    while shown < len(pieces) and used + _size(pieces[shown]) - 2 <= room:
        used += _size(pieces[shown]) - 2
        shown += 1
    if shown < len(pieces):
        cuts.append(_Cut(path, shown, list(pieces), "pieces"))
    return "".join(pieces[:shown])


def _as_text(value: Any) -> _Cut:
    """The whole answer as pieces of its JSON text."""
    return _Cut("", 0, _pieces(orjson.dumps(value).decode()), "pieces")


def _pieces(text: str) -> list[str]:
    return [text[i : i + PIECE] for i in range(0, len(text), PIECE)]
