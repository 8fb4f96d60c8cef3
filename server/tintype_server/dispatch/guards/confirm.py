"""Whether a call that destroys, or spends much, was confirmed."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from tintype_server.dispatch.fingerprint import fingerprint
from tintype_server.dispatch.rehearsal import binding, done, rehearse, shown, told
from tintype_server.dispatch.running import REST, Next, RunningCall
from tintype_studio.approvals.approval import Asked
from tintype_studio.approvals.service import TOKEN_TTL
from tintype_studio.errors import ConfirmationRequired, Conflict
from tintype_tools.call import Outcome, Plan
from tintype_tools.spec import Effect

BY_HUMAN = "human"
"""The policy that keeps the token from the caller: only a person's word counts."""


def confirm(call: RunningCall, proceed: Next) -> Outcome:
    """Refuse with a question, until the call comes with the answer.

    An answer goes for this key, these arguments and what they stand for, and this price; for one call.
    One that fails gives it back.
    """
    if not _may_need_word(call):
        return proceed(call)
    plan = rehearse(call)
    reason = why_confirm(call, plan)
    if reason is None:
        return proceed(call)
    quote = call.quote
    price = quote.credits if quote is not None else 0
    arguments = call.args.model_dump(mode="json")
    digest = digest_of(call, plan)
    approvals = call.studio.approvals
    used = approvals.claim(
        call.principal,
        fingerprint=digest,
        credits=price,
        call_id=call.id,
        token=call.request.confirm_token,
        approval_id=call.request.approval_id,
    )
    if used is None:
        raise _question(call, plan, reason, price, arguments, digest)

    def finish(connection: sa.Connection, outcome: Outcome) -> Outcome:
        approvals.finish(connection, used, call.id)
        if call.spec.plan is None and binding(done(call)) != binding(plan):
            raise Conflict(
                "What the call is about has changed since it was confirmed; nothing was done.",
                code="confirmation_mismatch",
                fix="Send the call without the confirmation to be asked anew.",
            )
        return outcome

    call.at_commit.append(finish)
    try:
        return proceed(call)
    except BaseException:
        approvals.give_back_later(used, call.id)
        raise


def digest_of(call: RunningCall, plan: Plan) -> str:
    """What a confirmation is bound to, besides key and price."""
    return fingerprint(call.spec.name, call.args.model_dump(mode="json"), binding(plan))


def why_confirm(call: RunningCall, plan: Plan) -> str | None:
    """Why a call that would do this needs a word; None when it does not."""
    if _answers_itself(call):
        return None
    if call.spec.effect is Effect.DESTROY:
        return "it deletes"
    if _is_expensive(call):
        return f"it costs more than {call.settings.confirm_above_credits} credits"
    if call.spec.takes_away and any(a.of_others for a in plan.affected):
        return "it takes away what others made"
    return None


def _may_need_word(call: RunningCall) -> bool:
    """Whether a rehearsal is worth its time."""
    if _answers_itself(call):
        return False
    return call.spec.effect is Effect.DESTROY or call.spec.takes_away or _is_expensive(call)


def _answers_itself(call: RunningCall) -> bool:
    """Whether the answer to a question would be the caller's own, who is a program and always says yes."""
    return call.request.door == REST and not _by_human(call)


def _by_human(call: RunningCall) -> bool:
    return (call.principal.confirm_by or call.settings.confirm_by) == BY_HUMAN


def _is_expensive(call: RunningCall) -> bool:
    quote = call.quote
    return quote is not None and quote.credits > call.settings.confirm_above_credits


def _question(
    call: RunningCall, plan: Plan, reason: str, price: int, arguments: dict[str, Any], digest: str
) -> ConfirmationRequired:
    summary = told(call.spec, plan, price)
    by_human = _by_human(call)
    approval, token = call.studio.approvals.ask(
        call.principal,
        Asked(
            call_id=call.id,
            tool=call.spec.name,
            required_role=call.spec.required_role,
            fingerprint=digest,
            arguments=arguments,
            credits=price,
            summary=summary,
            agent=call.request.agent[:120] if call.request.agent else None,
            idempotency_key=call.request.idempotency_key,
            by_human=by_human,
        ),
    )
    details: dict[str, Any] = {
        "approval_id": approval.id,
        "summary": summary,
        "credits": price,
        "affected": shown(plan),
        "undoable": plan.undoable,
    }
    if by_human:
        details["expires_at"] = approval.expires_at.isoformat()
        fix = (
            f"A person must approve it: `tintype approvals approve {approval.id}`. Then call confirm_call "
            "with the approval_id; wait_seconds waits for their word."
        )
    else:
        details["expires_at"] = (approval.created_at + TOKEN_TTL).isoformat()
        details["confirm_token"] = token
        fix = (
            "Tell the user what would happen; once they agree, call confirm_call with the approval_id and "
            "the confirm_token."
        )
    return ConfirmationRequired(
        f"“{call.spec.title}” needs confirmation, because {reason}. {summary}",
        fix=fix,
        details=details,
        token=token,
        by_human=by_human,
    )
