"""A call that carries an idempotency key happens once."""

from __future__ import annotations

import orjson
import sqlalchemy as sa

from tintype_server.dispatch.fingerprint import fingerprint
from tintype_server.dispatch.running import Next, RunningCall
from tintype_studio.errors import TintypeError
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
    if isinstance(claimed, bytes):
        return _replay(claimed)

    def store(connection: sa.Connection, outcome: Outcome) -> Outcome:
        answer = {"call_id": call.id, "value": outcome.value, "credits": outcome.credits}
        service.store(connection, claimed, orjson.dumps(answer))
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
        return _replay(answer)
    service.done(claimed)
    return outcome


def _replay(answer: bytes) -> Outcome:
    stored = orjson.loads(answer)
    return Outcome(stored["call_id"], stored["value"], credits=stored["credits"], replayed=True)
