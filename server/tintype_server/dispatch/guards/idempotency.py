"""A call that carries an idempotency key happens once."""

from __future__ import annotations

import orjson
import sqlalchemy as sa

from tintype_server.dispatch.fingerprint import fingerprint
from tintype_server.dispatch.running import REST, Next, RunningCall
from tintype_studio.errors import RateLimited, TintypeError, Unavailable
from tintype_studio.history.idempotency import IN_FLIGHT
from tintype_tools.call import Outcome
from tintype_tools.spec import Effect

_BESIDE = {"wait_seconds"}
"""How long a caller waits for a job is nothing of what the call is about."""


def idempotency(call: RunningCall, proceed: Next) -> Outcome:
    """Replay the stored answer of an earlier call with this key, or run and store.

    Reads need no key and ignore one. A call that fails gives its key back, so that a retry runs it again.
    """
    key = call.request.idempotency_key
    if key is None or call.spec.effect is Effect.READ:
        return proceed(call)
    service = call.studio.idempotency
    try:
        claimed = service.claim(
            call.principal,
            tool=call.spec.name,
            key=key,
            fingerprint=fingerprint(
                call.args.model_dump(mode="json", exclude=_BESIDE if call.spec.report else None)
            ),
            call_id=call.id,
            atomic=call.spec.atomic,
            check=call.check,
        )
    except Unavailable as error:
        if error.code != IN_FLIGHT or call.request.door != REST:
            raise
        # Clients of the dialect keep to a pause that a 429 tells them, and to none that a 503 does.
        raise RateLimited(error.message, code=IN_FLIGHT, fix=error.fix, details={"retry_after": 1}) from None
    if isinstance(claimed, bytes):
        return _replay(call, claimed)

    def store(connection: sa.Connection, outcome: Outcome) -> Outcome:
        answer = orjson.dumps({"call_id": call.id, "value": outcome.value, "credits": outcome.credits})
        if call.spec.confidential:
            answer = call.studio.signer.seal(answer)
        service.store(connection, claimed, answer)
        return outcome

    call.at_commit.append(store)
    try:
        outcome = proceed(call)
    except BaseException as error:
        service.forget_later(claimed)
        # Another process may have done the same meanwhile, which is then why this one could not.
        answer = service.answer(claimed) if isinstance(error, TintypeError) else None
        if answer is None:
            raise
        return _replay(call, answer)
    service.done(claimed)
    return outcome


def _replay(call: RunningCall, answer: bytes) -> Outcome:
    if call.spec.confidential:
        answer = call.studio.signer.unseal(answer)
    stored = orjson.loads(answer)
    return Outcome(stored["call_id"], stored["value"], credits=stored["credits"], replayed=True)
