"""Calls in a sliding hour and calls at a time: exact in a process, shared between processes, never a trap."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tintype_studio import clock
from tintype_studio.errors import RateLimited
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.identity.tiers import TIERS
from tintype_studio.limits.concurrency import Concurrency
from tintype_studio.limits.rate import SYNC_SECONDS, RateLimits
from tintype_studio.storage.tables import organizations
from tintype_studio.storage.upkeep_tables import rate_windows
from tintype_studio.studio import Studio

NOON = datetime(2027, 5, 10, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
LEAVES = 61 * MINUTE
"""A call is counted in its own minute and the sixty that follow."""

At = Callable[[datetime], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Sets the platform's clock to a moment, where it stands still."""

    def set_clock(moment: datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: moment)

    set_clock(NOON)
    return set_clock


@pytest.fixture
def limits(at: At, studio: Studio) -> RateLimits:
    return studio.rate_limits


@pytest.fixture
def three(limits: RateLimits, studio: Studio, owner: Principal) -> Principal:
    """A key with three calls an hour."""
    return make(studio, owner, rate_limit=3)


def make(studio: Studio, owner: Principal, **given: Any) -> Principal:
    secret, _ = studio.keys.create(owner, name="k", role=Role.MEMBER, **given)
    return studio.keys.authenticate(secret)


def spend(limits: RateLimits, key: Principal, count: int) -> None:
    for _ in range(count):
        limits.admit(key)


def refusal(limits: RateLimits, key: Principal) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        limits.admit(key)
    return caught.value


def in_tier(studio: Studio, tier: str, key: Principal) -> Principal:
    """The key as the next call sees it, once its organization has moved to another tier."""
    with studio.database.write() as connection:
        connection.execute(sa.update(organizations).values(tier=tier))
    return replace(key, tier=tier)


def eventually(met: Callable[[], bool]) -> bool:
    """Whether something comes about that another thread or process does about once a second."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if met():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("tier", TIERS)
def test_a_key_has_its_tiers_calls(limits: RateLimits, studio: Studio, owner: Principal, tier: str) -> None:
    window = limits.window(in_tier(studio, tier, owner))
    assert (window.limit, window.remaining) == (TIERS[tier].calls_per_hour, TIERS[tier].calls_per_hour)
    assert window.reset == NOON.timestamp() + LEAVES.total_seconds()


def test_an_unknown_tier_is_the_smallest(limits: RateLimits, owner: Principal) -> None:
    assert limits.window(replace(owner, tier="golden")).limit == TIERS["free"].calls_per_hour


def test_a_free_organization_makes_a_thousand_calls_and_not_one_more(
    limits: RateLimits, stranger: Principal
) -> None:
    spend(limits, stranger, 1_000)
    refused = refusal(limits, stranger)
    assert (refused.code, refused.status, refused.retryable) == ("rate_limited", 429, True)
    assert refused.details == {
        "limit": 1_000,
        "remaining": 0,
        "reset": int((NOON + LEAVES).timestamp()),
        "retry_after": 3_660,
    }


def test_a_keys_own_limit_binds_and_other_keys_have_their_own(
    limits: RateLimits, studio: Studio, owner: Principal, three: Principal
) -> None:
    other = make(studio, owner, rate_limit=3)
    spend(limits, three, 3)
    refusal(limits, three)
    spend(limits, other, 3)
    limits.admit(owner)
    assert [limits.window(k).remaining for k in (three, other)] == [0, 0]


def test_a_keys_own_limit_does_not_outlive_its_tier(
    limits: RateLimits, studio: Studio, owner: Principal
) -> None:
    """``Limits.rate_limit``: the tier's limit holds besides."""
    key = in_tier(studio, "free", make(studio, owner, rate_limit=50_000, max_concurrent=32))
    assert limits.window(key).limit == TIERS["free"].calls_per_hour
    with ExitStack() as running:
        for _ in range(TIERS["free"].concurrent_calls):
            running.enter_context(studio.concurrency.slot(key))
        with pytest.raises(RateLimited), studio.concurrency.slot(key):
            pass


def test_each_call_leaves_the_hour_by_itself(limits: RateLimits, three: Principal, at: At) -> None:
    moments = [NOON, NOON + 20 * MINUTE, NOON + 40 * MINUTE]
    for moment in moments:
        at(moment)
        limits.admit(three)
    for moment in moments:
        at(moment + LEAVES - SECOND)
        assert refusal(limits, three).details["retry_after"] == 1
        at(moment + LEAVES)
        limits.admit(three)
        refusal(limits, three)


def test_refused_calls_do_not_count(limits: RateLimits, three: Principal, at: At) -> None:
    spend(limits, three, 3)
    for minute in range(61):
        at(NOON + minute * MINUTE)
        assert refusal(limits, three).details["retry_after"] == (61 - minute) * 60
    at(NOON + LEAVES)
    spend(limits, three, 3)
    refusal(limits, three)


def test_the_window_tells_what_is_left_and_until_when(limits: RateLimits, three: Principal, at: At) -> None:
    for used, moment in enumerate([NOON, NOON + 30 * MINUTE]):
        at(moment)
        limits.admit(three)
        window = limits.window(three)
        assert (window.limit, window.remaining) == (3, 2 - used)
        assert window.reset == (NOON + LEAVES).timestamp()
    at(NOON + LEAVES)
    assert limits.window(three).remaining == 2
    assert limits.window(three).reset == (NOON + 30 * MINUTE + LEAVES).timestamp()


_keys = itertools.count(10_000)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 5),
    waits=st.lists(st.one_of(st.integers(0, 90), st.integers(0, 4_000)), min_size=1, max_size=40),
)
def test_no_hour_holds_more_than_the_limit_and_none_that_waits_is_refused(
    limits: RateLimits, owner: Principal, at: At, limit: int, waits: list[int]
) -> None:
    """Any sixty minutes, wherever they begin; and ``retry_after`` is neither a lie nor too long."""
    key = replace(owner, key_id=next(_keys), rate_limit=limit)
    now, admitted = NOON, list[datetime]()
    for wait in waits:
        now += wait * SECOND
        at(now)
        try:
            limits.admit(key)
        except RateLimited as refused:
            counted = [m for m in admitted if now - m < LEAVES]
            assert len(counted) >= limit
            now += refused.details["retry_after"] * SECOND
            at(now)
            limits.admit(key)
        admitted.append(now)
        assert sum(now - m <= HOUR for m in admitted) <= limit


def test_sixteen_threads_are_admitted_exactly_so_often(
    limits: RateLimits, studio: Studio, owner: Principal
) -> None:
    key = make(studio, owner, rate_limit=100)

    def call(_n: int) -> bool:
        try:
            limits.admit(key)
        except RateLimited:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(call, range(400))) == 100


def test_a_restart_forgets_nothing(
    studio: Studio, three: Principal, open_studio: Callable[[], Studio]
) -> None:
    spend(studio.rate_limits, three, 2)
    studio.close()
    again = open_studio().rate_limits
    again.admit(three)
    assert refusal(again, three).details["retry_after"] == 3_660
    assert again.window(three).remaining == 0


CALLS_AND_DIES = """
import os, signal, sys, time
from datetime import datetime
from pathlib import Path
from tintype_studio import clock
from tintype_studio.studio import Studio, Workspace

home, key, moment = sys.argv[1:]
clock.now = lambda: datetime.fromisoformat(moment)
studio = Studio(Workspace(Path(home)))
principal = studio.keys.authenticate(key)
for _ in range(2):
    studio.rate_limits.admit(principal)
print("called", flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_its_count(
    studio: Studio, owner: Principal, limits: RateLimits, spawn: Any, open_studio: Callable[[], Studio]
) -> None:
    """Nobody flushes there but the process itself, once a second."""
    secret, _ = studio.keys.create(owner, name="k", role=Role.MEMBER, rate_limit=3)
    child = spawn(CALLS_AND_DIES, secret, NOON.isoformat())
    assert child.stdout.readline() == "called\n"

    def written() -> bool:
        with studio.database.read() as connection:
            return connection.execute(sa.select(sa.func.sum(rate_windows.c.count))).scalar() == 2

    assert eventually(written)
    child.kill()
    assert child.wait(20) == -signal.SIGKILL
    again = open_studio()
    key = again.keys.authenticate(secret)
    again.rate_limits.admit(key)
    refusal(again.rate_limits, key)


def test_two_processes_share_an_hour(
    studio: Studio, three: Principal, open_studio: Callable[[], Studio]
) -> None:
    other = open_studio().rate_limits
    spend(studio.rate_limits, three, 2)
    studio.rate_limits.flush()
    other.admit(three)
    refusal(other, three)
    other.flush()
    time.sleep(SYNC_SECONDS * 1.1)  # what was read of others is that old at most
    refusal(studio.rate_limits, three)
    assert studio.rate_limits.window(three).remaining == 0


def test_counts_are_written_by_themselves(
    studio: Studio, three: Principal, open_studio: Callable[[], Studio]
) -> None:
    other, wide = open_studio().rate_limits, replace(three, rate_limit=10_000)
    spend(studio.rate_limits, three, 3)
    own = itertools.count(1)

    def told() -> bool:
        made = next(own)
        other.admit(wide)
        return other.window(wide).remaining == 10_000 - made - 3

    assert eventually(told)


def test_a_count_that_is_written_again_counts_once(
    studio: Studio, owner: Principal, limits: RateLimits, open_studio: Callable[[], Studio]
) -> None:
    key = make(studio, owner, rate_limit=10)
    for _ in range(4):
        limits.admit(key)
        limits.flush()
        limits.flush()
    other = open_studio().rate_limits
    other.admit(key)
    assert other.window(key).remaining == 5


def test_what_no_window_holds_is_swept(studio: Studio, three: Principal, at: At) -> None:
    limits = studio.rate_limits
    for moment in (NOON, NOON + 30 * MINUTE):
        at(moment)
        limits.admit(three)
    limits.flush()
    at(NOON + LEAVES)
    limits.sweep()
    with studio.database.read() as connection:
        assert connection.execute(sa.select(rate_windows.c.count)).scalars().all() == [1]
    assert limits.window(three).remaining == 2
    at(NOON + 3 * HOUR)
    limits.sweep()
    with studio.database.read() as connection:
        assert connection.execute(sa.select(rate_windows.c.count)).scalars().all() == []


@pytest.mark.parametrize("back", [MINUTE, 30 * MINUTE, HOUR])
def test_a_clock_that_is_put_back_a_little_lets_nobody_call_twice_as_often(
    limits: RateLimits, three: Principal, at: At, back: timedelta
) -> None:
    spend(limits, three, 3)
    at(NOON - back)
    assert refusal(limits, three).details["retry_after"] > 0
    assert limits.window(three).remaining == 0
    at(NOON + LEAVES)
    spend(limits, three, 3)


@pytest.mark.parametrize("ahead", [2 * HOUR, timedelta(days=400)])
def test_a_clock_that_ran_far_ahead_locks_nobody_out(
    studio: Studio, three: Principal, at: At, ahead: timedelta, open_studio: Callable[[], Studio]
) -> None:
    at(NOON + ahead)
    spend(studio.rate_limits, three, 3)
    studio.rate_limits.flush()
    at(NOON)
    for limits in (studio.rate_limits, open_studio().rate_limits):
        limits.admit(three)
        assert limits.window(three).reset <= (NOON + 2 * LEAVES).timestamp()


# calls at a time


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("tier", TIERS)
def test_a_key_runs_its_tiers_calls_at_a_time(owner: Principal, running: ExitStack, tier: str) -> None:
    concurrency, key = Concurrency(), replace(owner, tier=tier)
    for _ in range(TIERS[tier].concurrent_calls):
        running.enter_context(concurrency.slot(key))
    with pytest.raises(RateLimited) as caught, concurrency.slot(key):
        pytest.fail("one too many")
    assert caught.value.code == "too_many_calls_at_once"
    assert caught.value.details == {"limit": TIERS[tier].concurrent_calls, "retry_after": 1}


def test_a_place_is_free_again_however_its_call_ends(
    studio: Studio, owner: Principal, running: ExitStack
) -> None:
    key = make(studio, owner, max_concurrent=2)
    running.enter_context(studio.concurrency.slot(key))
    for error in (None, ValueError, KeyboardInterrupt, RateLimited("no")):
        try:
            with studio.concurrency.slot(key):
                with pytest.raises(RateLimited), studio.concurrency.slot(key):
                    pytest.fail("one too many")
                if error is not None:
                    raise error
        except (ValueError, KeyboardInterrupt, RateLimited) as raised:
            assert error is not None, raised  # noqa: PT017
    running.close()
    with studio.concurrency.slot(key), studio.concurrency.slot(key):
        pass


def test_keys_do_not_take_each_others_places(studio: Studio, owner: Principal, running: ExitStack) -> None:
    first, second = (make(studio, owner, max_concurrent=1) for _ in range(2))
    running.enter_context(studio.concurrency.slot(first))
    running.enter_context(studio.concurrency.slot(second))
    running.enter_context(studio.concurrency.slot(owner))


def test_sixteen_threads_never_hold_more_places_than_there_are(studio: Studio, owner: Principal) -> None:
    key = make(studio, owner, max_concurrent=3)
    lock, inside, most, served = threading.Lock(), 0, 0, 0

    def call(_n: int) -> None:
        nonlocal inside, most, served
        with suppress(RateLimited), studio.concurrency.slot(key):
            with lock:
                inside, served = inside + 1, served + 1
                most = max(most, inside)
            time.sleep(0.001)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(300)))
    assert 1 <= most <= 3 <= served
    with ExitStack() as again:  # and no place was lost
        for _ in range(3):
            again.enter_context(studio.concurrency.slot(key))
