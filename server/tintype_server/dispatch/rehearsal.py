"""What a call would do: its plan, or its own handler in a transaction that is rolled back."""

from __future__ import annotations

from typing import Any

from tintype_server.dispatch.guards.run import run_handler
from tintype_server.dispatch.running import RunningCall
from tintype_studio.history.changes import Change, Kind
from tintype_tools.call import Affected, Plan
from tintype_tools.spec import Effect, ToolSpec

_WORDS: dict[str, str] = {
    Kind.DATASET_DELETED: "delete the dataset {name}",
    Kind.DATASET_UPDATED: "change name or description of the dataset {name}",
    Kind.IMAGES_DELETED: "delete {count} of the images of {dataset}",
    Kind.MODEL_ARCHIVED: "delete the model {name}",
    Kind.PURGED: "remove for good what lies in the recycle bin",
    "export.deleted": "remove the export {name} of {dataset} and its ZIP",
    "member.removed": "remove the member {name} and switch off their keys",
    "invite.revoked": "take back the invite of {name}",
    "api_key.revoked": "switch off the API key {name}",
}


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
    deeds = "; ".join(_told(a) for a in plan.affected) or spec.title.lower()
    cost = f" It costs {price} credits." if price else ""
    back = "It can be undone." if plan.undoable else "It cannot be undone."
    return f"It would {deeds}.{cost} {back if spec.effect is Effect.DESTROY else ''}".rstrip()


def _told(affected: Affected) -> str:
    words = _WORDS.get(affected.kind, "{kind}: {count}")
    text = words.format(
        kind=affected.kind, count=affected.count, dataset=repr(affected.dataset), name=repr(affected.name)
    )
    numbers = [f"{value} {key}" for key, value in affected.detail.items()]
    return f"{text} ({', '.join(numbers)})" if numbers else text


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
