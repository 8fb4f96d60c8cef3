"""A call that carries an idempotency key happens once."""

from __future__ import annotations

import hashlib

import orjson

from tintype_server.dispatch.running import Next, RunningCall
from tintype_tools.call import Outcome
from tintype_tools.spec import Effect


def idempotency(call: RunningCall, proceed: Next) -> Outcome:
    """Replay the stored answer of an earlier call with this key, or run and store.

    Reads need no key and ignore one. A call that fails gives its key back, so that a retry runs it again.
    """
    key = call.request.idempotency_key
    if key is None or call.spec.effect is Effect.READ:
        return proceed(call)
    service = call.studio.idempotency
    claimed = service.claim(
        call.principal,
        tool=call.spec.name,
        key=key,
        fingerprint=_fingerprint(call),
        call_id=call.id,
        check=call.check,
    )
    if isinstance(claimed, bytes):
        stored = orjson.loads(claimed)
        return Outcome(stored["call_id"], stored["value"], credits=stored["credits"], replayed=True)
    try:
        outcome = proceed(call)
    except BaseException:
        service.forget(claimed)
        raise
    service.store(
        claimed,
        orjson.dumps({"call_id": call.id, "value": outcome.value, "credits": outcome.credits}),
    )
    return outcome


def _fingerprint(call: RunningCall) -> str:
    canonical = orjson.dumps(call.args.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()
