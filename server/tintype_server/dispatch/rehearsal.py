"""What a call would do: its plan, or its own handler in a transaction that is rolled back."""

from __future__ import annotations

from typing import Any

from tintype_server.dispatch.guards.run import run_handler
from tintype_server.dispatch.running import RunningCall
from tintype_studio.history.changes import Change, Kind
from tintype_tools.call import Affected, Plan
from tintype_tools.spec import Effect, ToolSpec
from tintype_tools.wording import deed_in_words


def rehearse(call: RunningCall) -> Plan:
    """Find out what the call would change; raises what the live call would raise."""
    spec = call.spec
    if spec.effect is Effect.READ:
        return Plan()
    if spec.plan is not None:
        return spec.plan(call.args, call)
    with call.studio.database.unit_of_work(rehearsal=True):
        run_handler(call.rehearsal())
        return done(call)


def done(call: RunningCall) -> Plan:
    """What the call has changed so far, inside its unit of work."""
    changes = call.studio.changes.of_call(call.principal, call.id)
    return Plan(
        affected=tuple(_affected(change) for change in changes),
        undoable=all(change.kind is not Kind.PURGED for change in changes),
    )


def binding(plan: Plan) -> list[Any]:
    """What a confirmation of the plan is bound to: the things themselves, so that a namesake made since
    then is another; and how many they are, where nothing brings them back or others made them.
    """
    return [
        [a.kind, a.subject, a.dataset, a.name]
        + ([] if plan.undoable and not a.of_others else [a.count, a.detail, a.digest])
        for a in plan.affected
    ]


def shown(plan: Plan) -> list[dict[str, Any]]:
    """The affected things as JSON."""
    return [
        {"kind": a.kind, "count": a.count}
        | ({"dataset": a.dataset} if a.dataset else {})
        | ({"name": a.name} if a.name else {})
        | a.detail
        for a in plan.affected
    ]


def told(spec: ToolSpec, plan: Plan, price: int) -> str:
    """The plan in one sentence for a person."""
    nothing = "change nothing" if spec.plan is None else spec.title.lower()
    deeds = "; ".join(map(deed_in_words, plan.affected)) or nothing
    cost = f" It costs {price:,} credit{'s' * (price != 1)}." if price else ""
    back = "It can be undone." if plan.undoable else "It cannot be undone."
    return f"It would {deeds}.{cost} {back if spec.effect is Effect.DESTROY else ''}".rstrip()


def _affected(change: Change) -> Affected:
    return Affected(
        kind=change.kind.value,
        count=change.count,
        dataset=change.dataset,
        name=change.label,
        detail={key: value for key, value in change.detail.items() if type(value) is int},
        subject=change.subject,
        digest=change.detail.get("digest"),
        of_others=bool(change.detail.get("of_others")),
    )
