"""Idempotency keys: run once, replay, refuse, wait, take over, expire."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import IdempotencyConflict, InvalidInput, Unavailable
from tintype_studio.history import idempotency
from tintype_studio.history.idempotency import Ticket
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import idempotency_records
from tintype_studio.studio import Studio


def claim(
    studio: Studio, principal: Principal, key: str = "k", tool: str = "create_dataset", fingerprint: str = "f"
) -> Ticket | bytes:
    return studio.idempotency.claim(
        principal, tool=tool, key=key, fingerprint=fingerprint, call_id=clock.new_id()
    )


def run(studio: Studio, principal: Principal, answer: bytes, **options: str) -> Ticket:
    ticket = claim(studio, principal, **options)
    assert isinstance(ticket, Ticket)
    store(studio, ticket, answer)
    return ticket


def store(studio: Studio, ticket: Ticket, answer: bytes) -> None:
    with studio.database.write() as connection:
        studio.idempotency.store(connection, ticket, answer)


def test_the_second_call_gets_the_first_ones_answer(
    studio: Studio, owner: Principal, open_studio: Any
) -> None:
    run(studio, owner, b"answer\x00\xff")
    assert claim(studio, owner) == b"answer\x00\xff"
    assert claim(open_studio(), owner) == b"answer\x00\xff"


def test_an_empty_answer_is_an_answer(studio: Studio, owner: Principal) -> None:
    run(studio, owner, b"")
    assert claim(studio, owner) == b""


def test_other_arguments_are_a_conflict(studio: Studio, owner: Principal) -> None:
    run(studio, owner, b"answer")
    with pytest.raises(IdempotencyConflict) as caught:
        claim(studio, owner, fingerprint="other")
    assert (caught.value.status, caught.value.code) == (409, "idempotency_conflict")
    assert claim(studio, owner) == b"answer"


def test_other_arguments_are_a_conflict_while_the_first_call_still_runs(
    studio: Studio, owner: Principal
) -> None:
    claim(studio, owner)
    with pytest.raises(IdempotencyConflict):
        claim(studio, owner, fingerprint="other")


def test_a_key_belongs_to_one_tool_and_one_api_key(studio: Studio, owner: Principal) -> None:
    secret, _ = studio.keys.create(owner, name="second", role=Role.MEMBER)
    run(studio, owner, b"answer")
    assert isinstance(claim(studio, owner, tool="delete_dataset"), Ticket)
    assert isinstance(claim(studio, studio.keys.authenticate(secret)), Ticket)


def test_a_call_that_failed_gives_its_key_back(studio: Studio, owner: Principal) -> None:
    ticket = claim(studio, owner)
    assert isinstance(ticket, Ticket)
    studio.idempotency.forget(ticket)
    assert isinstance(claim(studio, owner, fingerprint="other"), Ticket)


def test_a_second_thread_waits_for_the_first_ones_answer(studio: Studio, owner: Principal) -> None:
    ticket = claim(studio, owner)
    assert isinstance(ticket, Ticket)
    answers: list[Any] = []
    waiter = threading.Thread(target=lambda: answers.append(claim(studio, owner)))
    waiter.start()
    time.sleep(0.1)
    assert answers == []
    store(studio, ticket, b"answer")
    waiter.join(5)
    assert answers == [b"answer"]


def test_of_many_that_wait_for_a_failed_call_one_runs_it_and_the_others_get_its_answer(
    studio: Studio, owner: Principal
) -> None:
    first = claim(studio, owner)
    assert isinstance(first, Ticket)
    ran: list[int] = []
    answers: list[bytes] = []

    def call() -> None:
        claimed = claim(studio, owner)
        if isinstance(claimed, Ticket):
            ran.append(claimed.record_id)
            time.sleep(0.05)
            store(studio, claimed, b"answer")
            claimed = b"answer"
        answers.append(claimed)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    studio.idempotency.forget(first)
    for thread in threads:
        thread.join()
    assert len(ran) == 1
    assert answers == [b"answer"] * 8


CLAIMS_AND_WAITS = """
import sys, time
from pathlib import Path
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

studio = Studio(Workspace(Path(sys.argv[1])))
owner = studio.keys.authenticate(saved_api_key(studio.home))
studio.idempotency.claim(owner, tool="create_dataset", key="k", fingerprint="f", call_id="from the child")
print("claimed", flush=True)
time.sleep(60)
"""


def test_a_call_of_a_living_process_is_waited_for_and_that_of_a_dead_one_taken_over(
    studio: Studio, owner: Principal, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0.2)
    child = spawn(CLAIMS_AND_WAITS)
    assert child.stdout.readline() == "claimed\n"
    with pytest.raises(Unavailable) as caught:
        claim(studio, owner)
    assert (caught.value.code, caught.value.retryable) == ("call_in_flight", True)
    child.kill()
    child.wait()
    assert isinstance(claim(studio, owner), Ticket)


def test_of_many_that_take_over_one_runs(
    studio: Studio, owner: Principal, open_studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0.3)
    dead = open_studio()
    claim(dead, owner)
    dead.liveness.close()
    outcomes: list[str] = []

    def call() -> None:
        try:
            outcomes.append(type(claim(studio, owner)).__name__)
        except Unavailable as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["Ticket"] + ["call_in_flight"] * 7


def test_one_whose_call_was_taken_over_cannot_change_the_answer(
    studio: Studio, owner: Principal, open_studio: Any
) -> None:
    dead = open_studio()
    old = claim(dead, owner)
    assert isinstance(old, Ticket)
    dead.liveness.close()
    run(studio, owner, b"new")
    with pytest.raises(Unavailable) as lost:
        store(dead, old, b"old")
    assert lost.value.code == "claim_lost"
    dead.idempotency.forget(old)
    assert claim(studio, owner) == b"new"


def test_an_answer_is_kept_for_a_day(studio: Studio, owner: Principal, move_clock: Any) -> None:
    run(studio, owner, b"answer")
    move_clock(timedelta(hours=23, minutes=59))
    assert claim(studio, owner) == b"answer"
    move_clock(timedelta(hours=24, seconds=1))
    assert isinstance(claim(studio, owner, fingerprint="other"), Ticket)


def test_expired_answers_are_dropped_at_the_next_start(
    studio: Studio, owner: Principal, move_clock: Any, open_studio: Any
) -> None:
    run(studio, owner, b"old", key="old")
    move_clock(timedelta(hours=25))
    run(studio, owner, b"new", key="new")
    open_studio()
    with studio.database.read() as connection:
        assert connection.execute(sa.select(idempotency_records.c.key)).scalars().all() == ["new"]


@pytest.mark.parametrize(
    "key", ["", "x" * 256, "é", "a\nb", "a\x00", "\ud800", "\x7f"], ids=lambda k: ascii(k[:5])
)
def test_a_bad_key_is_refused(studio: Studio, owner: Principal, key: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        claim(studio, owner, key=key)
    assert caught.value.code == "invalid_idempotency_key"


@pytest.mark.parametrize("key", ["x", "x" * 255, "a b/c?d#e%f'\"", "~"], ids=lambda k: k[:5])
def test_any_printable_ascii_key_is_taken(studio: Studio, owner: Principal, key: str) -> None:
    run(studio, owner, b"answer", key=key)
    assert claim(studio, owner, key=key) == b"answer"
