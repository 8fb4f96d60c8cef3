"""Approvals: bound to key, call and price; single use; a person's word sticks; nothing readable at rest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.approvals.approval import Approval, Asked, Status
from tintype_studio.approvals.service import PREFIX, QUEUE_TTL, TOKEN_TTL
from tintype_studio.errors import ApprovalDenied, Cancelled, Conflict, Forbidden, NotFound, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import approvals
from tintype_studio.studio import Studio

PRINT = "a" * 64
SECOND = timedelta(seconds=1)


def asked(**changes: Any) -> Asked:
    values: dict[str, Any] = {
        "call_id": clock.new_id(),
        "tool": "delete_dataset",
        "required_role": Role.ADMIN,
        "fingerprint": PRINT,
        "arguments": {"name": "signs"},
        "credits": 0,
        "summary": "It would delete the dataset 'signs'.",
    }
    return Asked(**{**values, **changes})


@pytest.fixture
def someone(studio: Studio, owner: Principal) -> Callable[..., Principal]:
    """A further key of the organization."""

    def make(role: Role, **limits: Any) -> Principal:
        secret, _ = studio.keys.create(owner, name=f"{role} {clock.new_id()[:8]}", role=role, **limits)
        return studio.keys.authenticate(secret)

    return make


@pytest.fixture
def agent(someone: Callable[..., Principal]) -> Principal:
    """Whose calls need confirmation; it may not decide itself."""
    return someone(Role.MEMBER)


def claim(studio: Studio, principal: Principal, **changes: Any) -> int | None:
    values: dict[str, Any] = {"fingerprint": PRINT, "credits": 0, "call_id": clock.new_id()}
    return studio.approvals.claim(principal, **{**values, **changes})


def rows(studio: Studio) -> list[Any]:
    with studio.database.read() as connection:
        return list(connection.execute(sa.select(approvals).order_by(approvals.c.id)).all())


def refusal(studio: Studio, principal: Principal, **changes: Any) -> TintypeError:
    """The error of a claim, which must change nothing."""
    before = rows(studio)
    with pytest.raises(TintypeError) as refused:
        claim(studio, principal, **changes)
    assert rows(studio) == before
    return refused.value


@pytest.fixture
def question(studio: Studio, agent: Principal) -> tuple[Approval, str]:
    return studio.approvals.ask(agent, asked())


def test_a_question_stands_in_the_queue_until_it_is_answered(studio: Studio, agent: Principal) -> None:
    approval, token = studio.approvals.ask(agent, asked(credits=7, agent="robot 1", call_id="c"))
    assert token.startswith(PREFIX)
    assert (approval.status, approval.tool, approval.credits) == (Status.PENDING, "delete_dataset", 7)
    assert (approval.agent, approval.key_prefix, approval.call_id) == ("robot 1", agent.key_prefix, "c")
    assert approval.expires_at - approval.created_at == QUEUE_TTL
    assert studio.approvals.get(agent, approval.id) == approval
    assert studio.approvals.list(agent) == [approval]


def test_one_token_from_sixteen_threads_lets_one_call_through(
    studio: Studio, agent: Principal, question: Any, open_studio: Any
) -> None:
    _, token = question
    studios = [studio, open_studio()]
    start = threading.Barrier(16)

    def go(number: int) -> str:
        start.wait(10)
        try:
            return "through" if claim(studios[number % 2], agent, token=token) else "asked"
        except Conflict as error:
            return error.code

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(go, range(16)))
    assert sorted(outcomes) == ["confirmation_used"] * 15 + ["through"]


def test_one_approval_of_a_person_lets_one_of_sixteen_calls_through(
    studio: Studio, owner: Principal, agent: Principal, question: Any
) -> None:
    """Without a token: the others find nothing and are asked anew."""
    studio.approvals.decide(owner, question[0].id, approve=True)
    start = threading.Barrier(16)

    def go(_number: int) -> str:
        start.wait(10)
        try:
            return "asked" if claim(studio, agent) is None else "through"
        except Conflict as error:
            return error.code

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(go, range(16)))
    assert outcomes.count("through") == 1
    assert set(outcomes) <= {"through", "asked", "confirmation_used"}


@pytest.mark.parametrize("token", ["", "x", PREFIX, PREFIX + "A" * 32, "x" * 100_000, "\ud800", "%"], ids=len)
def test_a_forged_token_is_refused(studio: Studio, agent: Principal, question: Any, token: str) -> None:
    error = refusal(studio, agent, token=token)
    assert (type(error), error.code) == (Forbidden, "invalid_confirmation")
    for altered in (question[1][:-1], question[1] + "A", question[1].swapcase(), question[1] + " "):
        assert refusal(studio, agent, token=altered).code == "invalid_confirmation"


def test_a_token_is_good_for_its_own_key_only(
    studio: Studio, owner: Principal, stranger: Principal, question: Any, someone: Any
) -> None:
    """Not for an owner's, nor for another organization's, and neither by its id."""
    approval, token = question
    for other in (owner, someone(Role.ADMIN), someone(Role.MEMBER), stranger):
        for way in ({"token": token}, {"approval_id": approval.id}):
            assert refusal(studio, other, **way).code == "invalid_confirmation"
        assert claim(studio, other) is None


def test_a_token_is_good_for_its_own_call_only(studio: Studio, agent: Principal, question: Any) -> None:
    _, token = question
    assert refusal(studio, agent, token=token, fingerprint="b" * 64).code == "confirmation_mismatch"
    assert claim(studio, agent, token=token) is not None


@pytest.mark.parametrize("price", [0, 2, 99])
def test_a_moved_price_asks_again(studio: Studio, agent: Principal, owner: Principal, price: int) -> None:
    approval, token = studio.approvals.ask(agent, asked(credits=1))
    assert claim(studio, agent, token=token, credits=price) is None
    studio.approvals.decide(owner, approval.id, approve=True)
    for way in ({}, {"token": token}, {"approval_id": approval.id}):
        assert claim(studio, agent, credits=price, **way) is None
    assert claim(studio, agent, credits=1) == approval.row_id


def test_a_token_ends_after_a_while(studio: Studio, agent: Principal, question: Any, move_clock: Any) -> None:
    approval, token = question
    move_clock(TOKEN_TTL - 10 * SECOND)
    assert claim(studio, agent, token=token, credits=1) is None  # no error: only the price is another
    move_clock(TOKEN_TTL + SECOND)
    assert refusal(studio, agent, token=token).code == "confirmation_expired"
    assert studio.approvals.get(agent, approval.id).status is Status.PENDING  # a person has longer


def test_a_clock_put_back_opens_nothing_and_breaks_nothing(
    studio: Studio, owner: Principal, agent: Principal, question: Any, move_clock: Any
) -> None:
    approval, token = question
    claim(studio, agent, token=token)
    move_clock(-timedelta(days=2))
    assert refusal(studio, agent, token=token).code == "confirmation_used"
    studio.approvals.sweep()
    assert studio.approvals.get(agent, approval.id).status is Status.USED
    second, fresh = studio.approvals.ask(agent, asked())
    assert second.created_at < approval.created_at
    assert studio.approvals.decide(owner, second.id, approve=True).status is Status.APPROVED
    assert claim(studio, agent, token=fresh) == second.row_id


def test_asking_again_renews_the_one_question(
    studio: Studio, agent: Principal, question: Any, move_clock: Any
) -> None:
    first, old = question
    move_clock(timedelta(hours=1))
    for turn in range(50):
        again, token = studio.approvals.ask(agent, asked(call_id=f"call {turn}", credits=turn, summary="new"))
    assert len(rows(studio)) == 1
    assert (again.id, again.call_id, again.credits, again.summary) == (first.id, "call 49", 49, "new")
    assert again.created_at > first.created_at
    assert refusal(studio, agent, token=old).code == "invalid_confirmation"
    assert claim(studio, agent, token=token, credits=49) == first.row_id


def test_asking_at_once_from_many_threads_makes_one_question(studio: Studio, agent: Principal) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _n: studio.approvals.ask(agent, asked()), range(16)))
    assert len({approval.id for approval, _ in outcomes}) == len(rows(studio)) == 1
    assert len({token for _, token in outcomes}) == 16


def test_used_ones_and_those_of_others_are_not_renewed(
    studio: Studio, agent: Principal, owner: Principal, question: Any
) -> None:
    first, token = question
    claim(studio, agent, token=token)
    more = [(agent, PRINT), (agent, "b" * 64), (owner, PRINT)]
    ids = {studio.approvals.ask(who, asked(fingerprint=digest))[0].id for who, digest in more}
    assert len(ids | {first.id}) == 4
    assert studio.approvals.get(agent, first.id).status is Status.USED


def test_a_failed_call_gives_its_approval_back(
    studio: Studio, owner: Principal, agent: Principal, question: Any
) -> None:
    approval, token = question
    assert claim(studio, agent, token=token, call_id="failed") == approval.row_id
    assert studio.approvals.get(agent, approval.id).used_by == "failed"
    studio.approvals.give_back(approval.row_id, "another call")
    error = refusal(studio, agent, token=token)
    assert (error.code, error.details) == ("confirmation_used", {"call_id": "failed"})
    studio.approvals.give_back(approval.row_id, "failed")
    assert studio.approvals.get(agent, approval.id).status is Status.PENDING
    studio.approvals.decide(owner, approval.id, approve=True)
    claim(studio, agent, call_id="failed, too")
    studio.approvals.give_back(approval.row_id, "failed, too")
    assert studio.approvals.get(agent, approval.id).status is Status.APPROVED
    assert claim(studio, agent, token=token) == approval.row_id


CLAIMS_AND_DIES = """
import os, signal, sys
from pathlib import Path
from tintype_studio.studio import Studio, Workspace

studio = Studio(Workspace(Path(sys.argv[1])))
agent = studio.keys.authenticate(sys.argv[2])
assert studio.approvals.claim(agent, fingerprint="a" * 64, credits=0, call_id="dead", token=sys.argv[3])
if len(sys.argv) > 4:
    with studio.database.write() as connection:
        studio.approvals.finish(connection, int(sys.argv[4]), "dead")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("decided", [False, True])
def test_a_call_that_died_before_its_end_gives_its_approval_back(
    studio: Studio, owner: Principal, spawn: Any, finished: bool, decided: bool
) -> None:
    secret, _ = studio.keys.create(owner, name="mortal", role=Role.MEMBER)
    agent = studio.keys.authenticate(secret)
    approval, token = studio.approvals.ask(agent, asked())
    if decided:
        studio.approvals.decide(owner, approval.id, approve=True)
    process = spawn(CLAIMS_AND_DIES, secret, token, *([approval.row_id] if finished else []))
    assert process.wait(60) == -9
    if finished:
        assert refusal(studio, agent, token=token).code == "confirmation_used"
        assert claim(studio, agent) is None
    else:
        assert claim(studio, agent, **({} if decided else {"token": token})) == approval.row_id
        assert refusal(studio, agent, token=token).code == "confirmation_used"


def test_an_approved_call_goes_through_however_it_comes(
    studio: Studio, owner: Principal, agent: Principal
) -> None:
    for way in ("alone", "by id", "by token"):
        approval, token = studio.approvals.ask(agent, asked())
        decided = studio.approvals.decide(owner, approval.id, approve=True)
        assert (decided.status, decided.decided_by) == (Status.APPROVED, owner.key_uuid)
        ways = {"alone": {}, "by id": {"approval_id": approval.id}, "by token": {"token": token}}
        assert claim(studio, agent, **ways[way]) == approval.row_id


def test_an_ended_question_is_not_worth_waiting_for(
    studio: Studio, agent: Principal, question: Any, move_clock: Any
) -> None:
    """Nobody can decide it any more, so the caller must ask anew and not come again."""
    approval, _ = question
    error = refusal(studio, agent, approval_id=approval.id)
    assert (error.code, error.retryable) == ("approval_pending", True)
    move_clock(QUEUE_TTL + SECOND)
    assert studio.approvals.get(agent, approval.id).status is Status.EXPIRED
    error = refusal(studio, agent, approval_id=approval.id)
    assert (error.code, error.retryable) == ("confirmation_expired", False)


def test_a_denial_sticks_and_can_be_taken_back(
    studio: Studio, owner: Principal, agent: Principal, question: Any, someone: Any
) -> None:
    approval, token = question
    assert studio.approvals.decide(owner, approval.id, approve=False).status is Status.DENIED
    for way in ({}, {"token": token}, {"approval_id": approval.id}, {"credits": 5}):
        error = refusal(studio, agent, **way)
        assert (type(error), error.code) == (ApprovalDenied, "approval_denied")
    assert claim(studio, agent, fingerprint="b" * 64) is None  # other calls may be asked about
    assert claim(studio, someone(Role.MEMBER)) is None  # so may other keys
    studio.approvals.decide(owner, approval.id, approve=True)
    assert claim(studio, agent) == approval.row_id


def test_an_approval_can_be_taken_back_until_it_is_used(
    studio: Studio, owner: Principal, agent: Principal, question: Any
) -> None:
    approval, _ = question
    studio.approvals.decide(owner, approval.id, approve=True)
    studio.approvals.decide(owner, approval.id, approve=False)
    assert refusal(studio, agent).code == "approval_denied"
    studio.approvals.decide(owner, approval.id, approve=True)
    claim(studio, agent)
    for approve in (True, False):
        with pytest.raises(Conflict) as late:
            studio.approvals.decide(owner, approval.id, approve=approve)
        assert late.value.code == "approval_used"


@pytest.mark.parametrize("approve", [True, False])
def test_a_persons_word_ends_by_itself(
    studio: Studio, owner: Principal, agent: Principal, question: Any, move_clock: Any, approve: bool
) -> None:
    approval, _ = question
    studio.approvals.decide(owner, approval.id, approve=approve)
    move_clock(QUEUE_TTL + SECOND)
    assert claim(studio, agent) is None
    way = refusal(studio, agent, approval_id=approval.id)
    assert way.code == ("confirmation_expired" if approve else "approval_denied")
    with pytest.raises(Conflict):
        studio.approvals.decide(owner, approval.id, approve=not approve)


def test_deciding_needs_the_role_admin_and_that_of_the_tool(
    studio: Studio, agent: Principal, owner: Principal, someone: Any
) -> None:
    admin = someone(Role.ADMIN)
    for_admins, _ = studio.approvals.ask(agent, asked())
    for_owners, _ = studio.approvals.ask(agent, asked(required_role=Role.OWNER, fingerprint="b" * 64))
    for role in (Role.VIEWER, Role.MEMBER):
        for approve in (True, False):
            with pytest.raises(Forbidden) as refused:
                studio.approvals.decide(someone(role), for_admins.id, approve=approve)
            assert refused.value.code == "role_required"
    with pytest.raises(Forbidden):
        studio.approvals.decide(admin, for_owners.id, approve=True)
    assert studio.approvals.decide(admin, for_owners.id, approve=False).status is Status.DENIED
    assert studio.approvals.decide(admin, for_admins.id, approve=True).status is Status.APPROVED
    assert studio.approvals.decide(owner, for_owners.id, approve=True).status is Status.APPROVED


def test_a_key_that_needs_a_persons_word_gives_none(studio: Studio, question: Any, someone: Any) -> None:
    held = someone(Role.ADMIN, confirm_by="human")
    with pytest.raises(Forbidden) as refused:
        studio.approvals.decide(held, question[0].id, approve=True)
    assert refused.value.code == "needs_a_person"
    assert studio.approvals.get(held, question[0].id).status is Status.PENDING


def test_another_organization_neither_sees_nor_decides(
    studio: Studio, stranger: Principal, question: Any
) -> None:
    approval, _ = question
    assert studio.approvals.list(stranger, status=None) == []
    for ask in (
        lambda: studio.approvals.get(stranger, approval.id),
        lambda: studio.approvals.stored_call(stranger, approval.id),
        lambda: studio.approvals.decide(stranger, approval.id, approve=True),
        lambda: studio.approvals.wait(stranger, approval.id, 0, lambda: None),
    ):
        with pytest.raises(NotFound):
            ask()
    assert rows(studio)[0].status == "pending"


def test_no_other_key_gets_the_arguments(studio: Studio, owner: Principal, agent: Principal) -> None:
    """Whoever decides sees the summary."""
    approval, _ = studio.approvals.ask(agent, asked(arguments={"deep": [{"é": 1.5}]}, idempotency_key="k"))
    shown, arguments, key = studio.approvals.stored_call(agent, approval.id)
    assert (shown, arguments, key) == (approval, {"deep": [{"é": 1.5}]}, "k")
    with pytest.raises(NotFound):
        studio.approvals.stored_call(owner, approval.id)


def test_the_queue_is_listed_newest_first_by_status(
    studio: Studio, owner: Principal, agent: Principal, someone: Any, move_clock: Any
) -> None:
    def ask(letter: str, who: Principal = agent) -> Approval:
        return studio.approvals.ask(who, asked(fingerprint=letter * 64))[0]

    expired, lapsed = ask("a"), ask("b")
    studio.approvals.decide(owner, lapsed.id, approve=True)
    move_clock(QUEUE_TTL + SECOND)
    pending, approved, denied, used = (ask(letter) for letter in "cdef")
    foreign = ask("g", someone(Role.MEMBER))
    studio.approvals.decide(owner, approved.id, approve=True)
    studio.approvals.decide(owner, denied.id, approve=False)
    studio.approvals.decide(owner, used.id, approve=True)
    claim(studio, agent, fingerprint="f" * 64)

    def ids(principal: Principal, status: Status | None) -> list[str]:
        return [approval.id for approval in studio.approvals.list(principal, status=status)]

    assert ids(owner, Status.PENDING) == [foreign.id, pending.id]
    assert ids(agent, Status.PENDING) == [pending.id]
    assert ids(owner, Status.APPROVED) == [approved.id]
    assert ids(owner, Status.DENIED) == [denied.id]
    assert ids(owner, Status.USED) == [used.id]
    assert ids(owner, Status.EXPIRED) == [lapsed.id, expired.id]
    everything = [foreign, used, denied, approved, pending, lapsed, expired]
    assert ids(owner, None) == [a.id for a in everything]
    assert [a.id for a in studio.approvals.list(owner, status=None, limit=2)] == [foreign.id, used.id]
    assert {a.status for a in studio.approvals.list(owner, status=Status.EXPIRED)} == {Status.EXPIRED}


@pytest.mark.parametrize("approve", [True, False])
def test_a_wait_ends_with_the_word_of_another_thread(
    studio: Studio, owner: Principal, agent: Principal, question: Any, approve: bool
) -> None:
    approval, _ = question
    looked = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(studio.approvals.wait, agent, approval.id, 60, looked.set)
        assert looked.wait(30)
        assert not waiting.done()
        studio.approvals.decide(owner, approval.id, approve=approve)
        decided = waiting.result(50)
    assert decided.status is (Status.APPROVED if approve else Status.DENIED)


def test_a_wait_without_a_word_tells_how_it_stands(studio: Studio, agent: Principal, question: Any) -> None:
    approval, _ = question
    assert studio.approvals.wait(agent, approval.id, 0.05, lambda: None) == approval


def test_a_wait_stops_with_its_caller(studio: Studio, agent: Principal, question: Any) -> None:
    def hang_up() -> None:
        raise Cancelled("gone")

    with pytest.raises(Cancelled):
        studio.approvals.wait(agent, question[0].id, 60, hang_up)


def test_arguments_and_tokens_cannot_be_read_in_the_database(studio: Studio, agent: Principal) -> None:
    _, token = studio.approvals.ask(agent, asked(arguments={"name": "needle-in-the-haystack"}))
    files = [p.read_bytes() for p in studio.home.glob("tintype.db*")]
    assert any(b"It would delete the dataset" in data for data in files)  # so it was looked at
    for secret in (b"needle-in-the-haystack", token.encode(), token.removeprefix(PREFIX).encode()):
        assert not any(secret in data for data in files)
    assert studio.signer.unseal(rows(studio)[0].arguments) == b'{"name":"needle-in-the-haystack"}'


def test_altered_arguments_at_rest_are_never_run(studio: Studio, agent: Principal, question: Any) -> None:
    sealed = bytearray(rows(studio)[0].arguments)
    sealed[-1] ^= 1
    with studio.database.write() as connection:
        connection.execute(sa.update(approvals).values(arguments=bytes(sealed)))
    with pytest.raises(TintypeError) as refused:
        studio.approvals.stored_call(agent, question[0].id)
    assert refused.value.code == "secret_damaged"


def test_what_ended_long_ago_is_swept(
    studio: Studio, owner: Principal, agent: Principal, question: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval, token = question
    claim(studio, agent, token=token)
    real = clock.now

    def at(later: timedelta) -> datetime:
        return real() + later

    for later, left in ((QUEUE_TTL, 1), (QUEUE_TTL * 2 - 60 * SECOND, 1), (QUEUE_TTL * 2 + SECOND, 0)):
        monkeypatch.setattr(clock, "now", lambda later=later: at(later))
        studio.approvals.sweep()
        assert len(rows(studio)) == left
    with pytest.raises(NotFound):
        studio.approvals.get(owner, approval.id)


def test_a_refused_question_leaves_the_queue(
    studio: Studio, owner: Principal, agent: Principal, question: Any
) -> None:
    """The person at the client said no; nobody else needs to look at it. Asking again is possible."""
    _, token = question
    studio.approvals.withdraw(token)
    assert studio.approvals.list(owner) == []
    assert refusal(studio, agent, token=token).code == "confirmation_expired"
    studio.approvals.withdraw(PREFIX + "forged")
    again, fresh = studio.approvals.ask(agent, asked())
    assert [a.id for a in studio.approvals.list(owner)] == [again.id]
    assert claim(studio, agent, token=fresh) == again.row_id
