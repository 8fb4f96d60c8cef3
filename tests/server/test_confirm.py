"""The guard that asks before a call destroys or spends much, on the dispatcher itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.pictures import jpeg

from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.approvals.approval import Status
from tintype_studio.approvals.service import TOKEN_TTL
from tintype_studio.errors import ConfirmationRequired, Conflict, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Outcome, Plan, Request
from tintype_tools.registry import Registry
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

THRESHOLD = 10


class SpendArgs(Args):
    credits: int = THRESHOLD + 1


class SpendResult(Result):
    runs: int


class Spender:
    """A paid tool whose price can move, and which can fail."""

    def __init__(self) -> None:
        self.runs = 0
        self.dearer_by = 0
        self.fault: Exception | None = None

    def handle(self, _args: SpendArgs, _call: Call) -> SpendResult:
        self.runs += 1
        if self.fault is not None:
            raise self.fault
        return SpendResult(runs=self.runs)

    def spec(self) -> ToolSpec:
        return ToolSpec(
            name="spend_credits",
            title="Spend credits",
            category=Category.CREDITS,
            toolset="credits",
            description="Use when testing.",
            args=SpendArgs,
            result=SpendResult,
            required_role=Role.MEMBER,
            credit_cost=5,
            quote=lambda args, _call: Quote("probe", args.credits + self.dearer_by),
            idempotent=False,
            effect=Effect.SPEND,
            plan=lambda args, _call: Plan((Affected("probe.run", 1),)),
            handler=self.handle,
        )


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path / "home", confirm_above_credits=THRESHOLD))
    yield opened
    opened.close()


@pytest.fixture
def owner(runtime: Runtime) -> Principal:
    return runtime.studio.keys.authenticate(runtime.local_api_key())


@pytest.fixture
def spender() -> Spender:
    return Spender()


@pytest.fixture
def dispatch_with(runtime: Runtime, spender: Spender) -> Callable[..., Dispatcher]:
    """A dispatcher with other settings."""

    def make(**changes: Any) -> Dispatcher:
        registry = Registry([*runtime.registry, spender.spec()])
        return Dispatcher(runtime.studio, registry, replace(runtime.settings, **changes))

    return make


@pytest.fixture
def send(runtime: Runtime, dispatch_with: Callable[..., Dispatcher]) -> Callable[..., Outcome]:
    """Calls a tool; ``key``, ``settings`` and fields of the request may be given."""

    def call(tool: str, arguments: dict[str, Any] | None = None, **changes: Any) -> Outcome:
        settings, key = changes.pop("settings", {}), changes.pop("key", runtime.local_api_key())
        request = Request(
            tool=tool,
            arguments=arguments or {},
            api_key=key,
            door="toolkit",
            files=everything(runtime.settings),
            **changes,
        )
        return dispatch_with(**settings)(request)

    return call


@pytest.fixture
def signs(runtime: Runtime, owner: Principal) -> str:
    """A dataset with one image; its name."""
    dataset = runtime.studio.datasets.create(owner, name="signs")
    runtime.studio.ingest.add_image(owner, dataset, data=jpeg(), filename="a.jpg")
    return dataset.name


def question(send: Callable[..., Outcome], *args: Any, **changes: Any) -> dict[str, Any]:
    """The details of a call's question."""
    with pytest.raises(ConfirmationRequired) as asked:
        send(*args, **changes)
    return asked.value.as_dict()["details"]


def code_of(deed: Callable[[], object]) -> str:
    with pytest.raises(TintypeError) as refused:
        deed()
    return refused.value.code


def answer(details: dict[str, Any]) -> dict[str, Any]:
    return {name: details[name] for name in ("approval_id", "confirm_token")}


def living(runtime: Runtime, owner: Principal) -> list[str]:
    return [dataset.name for dataset in runtime.studio.datasets.list(owner)]


def balance(runtime: Runtime, owner: Principal) -> int:
    return runtime.studio.ledger.available(owner)


def test_a_deletion_is_asked_about_and_nothing_happens(
    runtime: Runtime, owner: Principal, send: Any, signs: str
) -> None:
    with pytest.raises(ConfirmationRequired) as asked:
        send("delete_dataset", {"name": signs})
    shape = asked.value.as_dict()
    assert (shape["code"], shape["retryable"]) == ("confirmation_required", True)
    assert "confirm_call" in shape["fix"]
    details = shape["details"]
    (affected,) = details["affected"]
    assert (affected["kind"], affected["images"], affected["name"]) == ("dataset.deleted", 1, "signs")
    assert (details["credits"], details["undoable"]) == (0, True)
    assert "'signs'" in details["summary"] in shape["message"]
    left = datetime.fromisoformat(details["expires_at"]) - clock.now()
    assert timedelta(0) < left <= TOKEN_TTL
    assert living(runtime, owner) == ["signs"]
    assert runtime.studio.changes.page(owner) == []
    assert runtime.studio.changes.restore_points(owner) == []


def test_a_wrong_call_is_refused_and_not_asked_about(runtime: Runtime, owner: Principal, send: Any) -> None:
    assert code_of(lambda: send("delete_dataset", {"name": "nowhere"})) == "dataset_not_found"
    assert runtime.studio.approvals.list(owner, status=None) == []


@pytest.mark.parametrize(("price", "asks"), [(1, False), (THRESHOLD, False), (THRESHOLD + 1, True)])
def test_spending_is_asked_about_above_the_threshold(
    runtime: Runtime, owner: Principal, send: Any, price: int, asks: bool
) -> None:
    before = balance(runtime, owner)
    if asks:
        details = question(send, "spend_credits", {"credits": price})
        assert (details["credits"], balance(runtime, owner)) == (price, before)
        assert f"It costs {price} credits." in details["summary"]
    else:
        assert send("spend_credits", {"credits": price}).credits == price


@pytest.mark.parametrize(("threshold", "asks"), [(0, True), (50, False)])
def test_the_threshold_is_a_setting(send: Any, threshold: int, asks: bool) -> None:
    changes = {"settings": {"confirm_above_credits": threshold}}
    if asks:
        assert question(send, "spend_credits", {"credits": 1}, **changes)["credits"] == 1
    else:
        assert send("spend_credits", {"credits": 50}, **changes).credits == 50


def test_a_confirmed_spend_is_charged_once(runtime: Runtime, owner: Principal, send: Any) -> None:
    before, arguments = balance(runtime, owner), {"credits": 30}
    token = question(send, "spend_credits", arguments)["confirm_token"]
    assert send("spend_credits", arguments, confirm_token=token).credits == 30
    assert code_of(lambda: send("spend_credits", arguments, confirm_token=token)) == "confirmation_used"
    assert balance(runtime, owner) == before - 30


@pytest.mark.parametrize("way", ["the same call", "confirm_call"])
def test_the_token_lets_the_call_go_on_once(
    runtime: Runtime, owner: Principal, send: Any, signs: str, way: str
) -> None:
    details = question(send, "delete_dataset", {"name": signs})

    def go_on() -> Outcome:
        if way == "confirm_call":
            return send("confirm_call", answer(details))
        return send("delete_dataset", {"name": signs}, confirm_token=details["confirm_token"])

    outcome = go_on()
    value = outcome.value["result"] if way == "confirm_call" else outcome.value
    assert value == {"deleted": True, "name": "signs", "images_deleted": 1, "annotations_deleted": 0}
    call_id = outcome.value["call_id"] if way == "confirm_call" else outcome.call_id
    assert [c.call_id for c in runtime.studio.changes.page(owner)] == [call_id]
    assert living(runtime, owner) == []
    runtime.studio.datasets.create(owner, name=signs)
    assert code_of(go_on) == "confirmation_used"
    assert living(runtime, owner) == ["signs"]


def test_one_token_from_sixteen_threads_deletes_once(
    runtime: Runtime, owner: Principal, send: Any, spender: Spender
) -> None:
    token = question(send, "spend_credits")["confirm_token"]
    start = threading.Barrier(16)

    def go_on(_number: int) -> str:
        start.wait(20)
        try:
            send("spend_credits", confirm_token=token)
        except TintypeError as error:
            return error.code
        return "ran"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(go_on, range(16)))
    assert sorted(outcomes) == ["confirmation_used"] * 15 + ["ran"]
    assert spender.runs == 1


@pytest.mark.parametrize("token", ["", "cft_forged", "x" * 10_000, "é", "a\nb\0"], ids=ascii)
def test_a_forged_token_changes_nothing(
    runtime: Runtime, owner: Principal, send: Any, signs: str, token: str
) -> None:
    details = question(send, "delete_dataset", {"name": signs})
    assert code_of(lambda: send("delete_dataset", {"name": signs}, confirm_token=token)) == (
        "invalid_confirmation"
    )
    arguments = {"approval_id": details["approval_id"], "confirm_token": token}
    if token:
        assert code_of(lambda: send("confirm_call", arguments)) == "invalid_confirmation"
    assert living(runtime, owner) == ["signs"]


def test_a_token_of_another_call_changes_nothing(
    runtime: Runtime, owner: Principal, send: Any, signs: str
) -> None:
    """Of another tool, of other arguments."""
    runtime.studio.datasets.create(owner, name="other")
    token = question(send, "delete_dataset", {"name": signs})["confirm_token"]
    for tool, arguments in (("delete_dataset", {"name": "other"}), ("purge_deleted", {})):
        assert code_of(lambda t=tool, a=arguments: send(t, a, confirm_token=token)) == "confirmation_mismatch"
    assert sorted(living(runtime, owner)) == ["other", "signs"]
    assert send("delete_dataset", {"name": signs}, confirm_token=token).value["deleted"]


def test_another_key_cannot_use_a_token(runtime: Runtime, owner: Principal, send: Any, signs: str) -> None:
    other, _ = runtime.studio.keys.create(owner, name="other", role=Role.ADMIN)
    details = question(send, "delete_dataset", {"name": signs})
    token = details["confirm_token"]
    assert code_of(lambda: send("delete_dataset", {"name": signs}, confirm_token=token, key=other)) == (
        "invalid_confirmation"
    )
    assert code_of(lambda: send("confirm_call", answer(details), key=other)) == "approval_not_found"
    assert living(runtime, owner) == ["signs"]


def test_an_expired_token_changes_nothing(
    runtime: Runtime, owner: Principal, send: Any, signs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    details = question(send, "delete_dataset", {"name": signs})
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + TOKEN_TTL + timedelta(seconds=1))
    assert code_of(lambda: send("confirm_call", answer(details))) == "confirmation_expired"
    assert living(runtime, owner) == ["signs"]


def test_a_namesake_made_in_between_is_not_meant(
    runtime: Runtime, owner: Principal, send: Any, signs: str
) -> None:
    details = question(send, "delete_dataset", {"name": signs})
    runtime.studio.datasets.delete(owner, signs)
    runtime.studio.datasets.create(owner, name=signs)
    for go_on in (
        lambda: send("delete_dataset", {"name": signs}, confirm_token=details["confirm_token"]),
        lambda: send("confirm_call", answer(details)),
    ):
        assert code_of(go_on) == "confirmation_mismatch"
    assert living(runtime, owner) == ["signs"]


def test_a_purge_is_for_what_lay_in_the_bin_when_it_was_asked(
    runtime: Runtime, owner: Principal, send: Any, signs: str
) -> None:
    """Nothing brings a purged thing back, so it must be the very thing that the person agreed to."""
    studio = runtime.studio
    deleting = replace(owner, call_id=clock.new_id())
    studio.datasets.delete(deleting, signs)
    details = question(send, "purge_deleted")
    studio.undo.call(replace(owner, call_id=clock.new_id()), str(deleting.call_id))
    twin = studio.datasets.create(owner, name="twin")  # as many images, of the same size
    studio.ingest.add_image(owner, twin, data=jpeg(), filename="a.jpg")
    studio.datasets.delete(owner, "twin")
    assert code_of(lambda: send("confirm_call", answer(details))) == "confirmation_mismatch"
    assert [entry.dataset for entry in studio.recycle_bin.list(owner)] == ["twin"]


def test_a_purge_is_not_for_more_than_was_asked(
    runtime: Runtime, owner: Principal, send: Any, signs: str
) -> None:
    runtime.studio.datasets.delete(owner, signs)
    details = question(send, "purge_deleted")
    assert details["undoable"] is False
    assert "cannot be undone" in details["summary"]
    runtime.studio.datasets.create(owner, name="more")
    runtime.studio.datasets.delete(owner, "more")
    assert code_of(lambda: send("confirm_call", answer(details))) == "confirmation_mismatch"
    assert len(runtime.studio.recycle_bin.list(owner)) == 2


@pytest.mark.parametrize("move", [-1, 1, 500])
def test_a_moved_price_is_asked_about_again(
    runtime: Runtime, owner: Principal, send: Any, spender: Spender, move: int
) -> None:
    before = balance(runtime, owner)
    first = question(send, "spend_credits", {"credits": 20})
    spender.dearer_by = move
    second = question(send, "spend_credits", {"credits": 20}, confirm_token=first["confirm_token"])
    assert (first["credits"], second["credits"]) == (20, 20 + move)
    assert (spender.runs, balance(runtime, owner)) == (0, before)
    assert send("confirm_call", answer(second)).value["credits"] == 20 + move
    assert (spender.runs, balance(runtime, owner)) == (1, before - 20 - move)


def test_a_failed_call_gives_its_approval_back(
    runtime: Runtime, owner: Principal, send: Any, spender: Spender
) -> None:
    token = question(send, "spend_credits")["confirm_token"]
    for fault in (Conflict("not yet"), RuntimeError("a defect"), MemoryError()):
        spender.fault = fault
        code_of(lambda: send("spend_credits", confirm_token=token))
    spender.fault = None
    assert send("spend_credits", confirm_token=token).value == {"runs": 4}


def test_an_unpaid_call_gives_its_approval_back(
    runtime: Runtime, owner: Principal, send: Any, spender: Spender
) -> None:
    price = balance(runtime, owner) + 1
    token = question(send, "spend_credits", {"credits": price})["confirm_token"]
    go_on = lambda: send("spend_credits", {"credits": price}, confirm_token=token)  # noqa: E731
    assert code_of(go_on) == "insufficient_credits"
    runtime.studio.ledger.grant(owner, 1)
    assert go_on().credits == price


def test_a_refused_call_keeps_its_idempotency_key(
    runtime: Runtime, owner: Principal, send: Any, signs: str
) -> None:
    """Refused, confirmed with confirm_call, and then the original call is sent again."""
    call = {"tool": "delete_dataset", "arguments": {"name": signs}, "idempotency_key": "k"}
    details = question(send, **call)
    done = send("confirm_call", answer(details)).value
    again = send(**call)
    assert (again.replayed, again.value, again.call_id) == (True, done["result"], done["call_id"])
    assert send("confirm_call", answer(details)).value["result"] == done["result"]  # so is its confirmation
    assert len(runtime.studio.changes.page(owner)) == 1
    assert code_of(lambda: send("delete_dataset", {"name": "x"}, idempotency_key="k")) == (
        "idempotency_conflict"
    )


def test_neither_trail_nor_queue_tells_a_token(runtime: Runtime, owner: Principal, send: Any) -> None:
    details = question(send, "spend_credits")
    send("confirm_call", answer(details))
    trail = [record.arguments for record in runtime.studio.audit.list(owner)]
    assert any(details["approval_id"] in text for text in trail)
    assert not any(details["confirm_token"] in text for text in trail)


@pytest.fixture(params=["setting", "key"])
def human(request: pytest.FixtureRequest, runtime: Runtime, owner: Principal) -> dict[str, Any]:
    """What makes a call need a person's word; a key's own policy goes before the server's."""
    by_key = request.param == "key"
    held = {"confirm_by": "human"} if by_key else {}
    key, _ = runtime.studio.keys.create(owner, name="agent", role=Role.ADMIN, **held)
    return {"settings": {"confirm_by": "token" if by_key else "human"}, "key": key}


def test_a_person_alone_confirms(
    runtime: Runtime, owner: Principal, send: Any, signs: str, human: dict[str, Any]
) -> None:
    details = question(send, "delete_dataset", {"name": signs}, **human)
    assert "confirm_token" not in details
    assert "cft_" not in str(details)
    waiting = {"approval_id": details["approval_id"]}
    pending = send("confirm_call", waiting, **human).value
    assert (pending["status"], pending["summary"]) == ("pending", details["summary"])
    assert question(send, "delete_dataset", {"name": signs}, **human)["approval_id"] == details["approval_id"]
    assert living(runtime, owner) == ["signs"]
    runtime.studio.approvals.decide(owner, details["approval_id"], approve=True)
    assert send("confirm_call", waiting, **human).value["status"] == "done"
    assert living(runtime, owner) == []


def test_an_approved_call_may_simply_be_sent_again(
    runtime: Runtime, owner: Principal, send: Any, signs: str, human: dict[str, Any]
) -> None:
    details = question(send, "delete_dataset", {"name": signs}, **human)
    runtime.studio.approvals.decide(owner, details["approval_id"], approve=True)
    outcome = send("delete_dataset", {"name": signs}, **human)
    approval = runtime.studio.approvals.get(owner, details["approval_id"])
    assert (approval.status, approval.used_by) == (Status.USED, outcome.call_id)


def test_the_key_that_asked_is_no_person(
    runtime: Runtime, owner: Principal, send: Any, signs: str, human: dict[str, Any]
) -> None:
    details = question(send, "delete_dataset", {"name": signs}, **human)
    agent = runtime.studio.keys.authenticate(human["key"])
    decide = runtime.studio.approvals.decide
    assert code_of(lambda: decide(agent, details["approval_id"], approve=True)) == "needs_a_person"
    waiting = {"approval_id": details["approval_id"]}
    assert send("confirm_call", waiting, **human).value["status"] == "pending"


def test_a_call_waits_for_a_persons_word(
    runtime: Runtime, owner: Principal, send: Any, signs: str, human: dict[str, Any]
) -> None:
    details = question(send, "delete_dataset", {"name": signs}, **human)
    arguments = {"approval_id": details["approval_id"], "wait_seconds": 50}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(send, "confirm_call", arguments, **human)
        runtime.studio.approvals.decide(owner, details["approval_id"], approve=True)
        value = waiting.result(45).value
    assert (value["status"], value["result"]["images_deleted"]) == ("done", 1)


@pytest.mark.parametrize("way", ["confirm_call", "token", "again"])
def test_a_denied_call_is_refused_however_it_comes(
    runtime: Runtime, owner: Principal, send: Any, signs: str, way: str
) -> None:
    details = question(send, "delete_dataset", {"name": signs})
    runtime.studio.approvals.decide(owner, details["approval_id"], approve=False)
    ways: dict[str, Callable[[], Outcome]] = {
        "confirm_call": lambda: send("confirm_call", {"approval_id": details["approval_id"]}),
        "token": lambda: send("confirm_call", answer(details)),
        "again": lambda: send("delete_dataset", {"name": signs}),
    }
    assert code_of(ways[way]) == "approval_denied"
    assert living(runtime, owner) == ["signs"]


def test_the_price_that_a_person_approved_is_the_price(
    runtime: Runtime, owner: Principal, send: Any, spender: Spender, human: dict[str, Any]
) -> None:
    details = question(send, "spend_credits", **human)
    runtime.studio.approvals.decide(owner, details["approval_id"], approve=True)
    spender.dearer_by = 1
    again = question(send, "spend_credits", **human)
    assert again["approval_id"] != details["approval_id"]
    assert spender.runs == 0


def test_a_members_word_does_not_do_for_an_admins_tool(
    runtime: Runtime, owner: Principal, send: Any, signs: str
) -> None:
    """A key whose role was lowered after its call was approved."""
    key, info = runtime.studio.keys.create(owner, name="falling", role=Role.ADMIN)
    details = question(send, "delete_dataset", {"name": signs}, key=key)
    runtime.studio.approvals.decide(owner, details["approval_id"], approve=True)
    runtime.studio.keys.update(owner, info.id, role=Role.MEMBER)
    waiting = {"approval_id": details["approval_id"]}
    assert code_of(lambda: send("confirm_call", waiting, key=key)) == "role_required"
    assert living(runtime, owner) == ["signs"]


def test_a_repeated_question_does_not_flood_the_queue(
    runtime: Runtime, owner: Principal, send: Any, signs: str
) -> None:
    ids = {question(send, "delete_dataset", {"name": signs})["approval_id"] for _ in range(20)}
    assert [a.id for a in runtime.studio.approvals.list(owner, status=None)] == list(ids)
