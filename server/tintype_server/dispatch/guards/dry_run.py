"""A dry run: what the call would do, and nothing done."""

from __future__ import annotations

from typing import Any

from tintype_server.dispatch.guards.confirm import digest_of, why_confirm
from tintype_server.dispatch.rehearsal import rehearse, shown, told
from tintype_server.dispatch.running import Next, RunningCall
from tintype_tools.call import Outcome
from tintype_tools.spec import Effect


def dry_run(call: RunningCall, proceed: Next) -> Outcome:
    """Answer with role, price, what would be affected and the approval it would need.

    Whatever the live call would refuse (an unknown name, a name that is taken) is refused alike, because
    the same handler or its plan is asked.
    """
    if not call.request.dry_run:
        return proceed(call)
    spec, quote = call.spec, call.quote
    plan = rehearse(call)
    reason = why_confirm(call, plan)
    request = call.request
    if reason is not None and (request.confirm_token or request.approval_id):
        call.studio.approvals.check(
            call.principal,
            fingerprint=digest_of(call, plan),
            token=request.confirm_token,
            approval_id=request.approval_id,
        )
    value: dict[str, Any] = {
        "dry_run": True,
        "tool": spec.name,
        "effect": spec.effect.value,
        "summary": told(spec, plan, quote.credits if quote is not None else 0),
        "role": {"required": spec.required_role.value, "yours": call.principal.role.value, "allowed": True},
        "price": {"credits": 0},
        "affected": shown(plan),
        "undoable": plan.undoable and spec.effect is not Effect.READ,
        "approval": {"required": reason is not None} | ({"reason": reason} if reason else {}),
    }
    if quote is not None:
        remaining = call.studio.ledger.available(call.principal)
        value["price"] = {
            "credits": quote.credits,
            "operation": quote.operation,
            "sufficient": quote.credits <= remaining,
            "credits_remaining": remaining,
        }
    return Outcome(call.id, value, dry_run=True)
