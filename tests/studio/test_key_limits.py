"""Limits of keys: what they take, and that no key gives away more than it has."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound, TintypeError, Unauthorized
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.key_info import KeyInfo
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.identity.tiers import TIERS
from tintype_studio.studio import Studio, Workspace

FAR = datetime(2090, 1, 1, tzinfo=UTC)


def refusal(call: Callable[[], object]) -> str | None:
    try:
        call()
    except TintypeError as error:
        return error.code
    return None


def make(studio: Studio, maker: Principal, role: Role = Role.ADMIN, **limits: Any) -> Principal:
    secret, _ = studio.keys.create(maker, name=f"a {role}", role=role, **limits)
    return studio.keys.authenticate(secret)


def info(studio: Studio, owner: Principal, key: Principal) -> KeyInfo:
    return studio.keys.get(owner, prefix=key.key_uuid)


FULL: dict[str, Any] = {
    "credit_cap": 50,
    "daily_credit_cap": 5,
    "toolsets": ["images", "datasets", "images"],
    "rate_limit": 100,
    "max_concurrent": 2,
    "max_response_tokens": 300,
    "confirm_by": "human",
    "expires_at": FAR,
}


def test_every_limit_is_kept_and_shown(studio: Studio, owner: Principal) -> None:
    shown = info(studio, owner, make(studio, owner, Role.MEMBER, **FULL))
    kept = {name: getattr(shown, name) for name in FULL}
    assert kept == {**FULL, "toolsets": ("datasets", "images")}
    assert (shown.organization_id, shown.user_id, shown.user_email) == (owner.organization_uuid, None, None)
    assert shown.calls_per_hour == 100


def test_without_limits_the_tiers_hold(studio: Studio, owner: Principal, stranger: Principal) -> None:
    assert info(studio, owner, owner).calls_per_hour == TIERS["enterprise"].calls_per_hour
    assert info(studio, stranger, stranger).calls_per_hour == TIERS["free"].calls_per_hour


def test_a_cap_of_zero_is_a_cap(studio: Studio, owner: Principal) -> None:
    shown = info(studio, owner, make(studio, owner, credit_cap=0, daily_credit_cap=0))
    assert (shown.credit_cap, shown.daily_credit_cap) == (0, 0)


BAD = [
    *itertools.product(["credit_cap", "daily_credit_cap"], [-1, 1.0, True, "5", 10**30], ["invalid_limit"]),
    *itertools.product(["rate_limit", "max_concurrent"], [0, -1, 1.5, False, "5"], ["invalid_limit"]),
    ("rate_limit", TIERS["enterprise"].calls_per_hour + 1, "invalid_limit"),
    ("max_concurrent", TIERS["enterprise"].concurrent_calls + 1, "invalid_limit"),
    *itertools.product(["max_response_tokens"], [0, 299, 300.0, True, "300", 10**30], ["invalid_limit"]),
    *itertools.product(["confirm_by"], ["", "nobody", "Human", 5, ["human"], "\ud800"], ["invalid_limit"]),
    *itertools.product(["toolsets"], ["images", 5, [5], ["x"] * 101], ["invalid_toolsets"]),
    *itertools.product(["toolsets"], [[""], ["a/b"], ["\ud800"], ["x" * 81]], ["invalid_name"]),
    ("expires_at", "2090-01-01", "invalid_expiry"),
    ("expires_at", datetime(2090, 1, 1), "invalid_expiry"),
    ("expires_at", datetime(2000, 1, 1, tzinfo=UTC), "invalid_expiry"),
    ("expires_at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), "invalid_expiry"),
    ("expires_at", datetime.min.replace(tzinfo=timezone(timedelta(hours=12))), "invalid_expiry"),
    ("role", "root", "invalid_role"),
    ("name", "", "invalid_name"),
    ("name", "a\nb", "invalid_name"),
]


@pytest.mark.parametrize(("field", "value", "code"), BAD, ids=ascii)
def test_a_bad_value_is_refused_and_changes_nothing(
    studio: Studio, owner: Principal, field: str, value: Any, code: str
) -> None:
    key = make(studio, owner, Role.MEMBER)
    before = info(studio, owner, key)
    with pytest.raises(InvalidInput) as caught:
        studio.keys.create(owner, **{"name": "x", "role": Role.MEMBER, field: value})
    assert caught.value.code == code
    with pytest.raises(InvalidInput) as caught:
        studio.keys.update(owner, key.key_uuid, **{field: value})
    assert caught.value.code == code
    assert info(studio, owner, key) == before
    assert len(studio.keys.list(owner)) == 2


@pytest.mark.parametrize("value", [None, 0, "yes"], ids=repr)
def test_a_switch_is_on_or_off(studio: Studio, owner: Principal, value: Any) -> None:
    key = make(studio, owner)
    assert refusal(lambda: studio.keys.update(owner, key.key_uuid, is_active=value)) == "invalid_limit"
    assert info(studio, owner, key).is_active


def test_an_update_names_something_that_there_is(studio: Studio, owner: Principal) -> None:
    assert refusal(lambda: studio.keys.update(owner, owner.key_uuid)) == "nothing_to_change"
    with pytest.raises(TypeError):
        studio.keys.update(owner, owner.key_uuid, credits_used=0)  # type: ignore[call-arg]


def test_what_is_not_named_stays_and_none_lifts(studio: Studio, owner: Principal) -> None:
    key = make(studio, owner, Role.MEMBER, **FULL)
    before = info(studio, owner, key)
    renamed = studio.keys.update(owner, key.key_uuid, name="renamed")
    assert renamed.name == "renamed"
    assert {n: getattr(renamed, n) for n in FULL} == {n: getattr(before, n) for n in FULL}
    lifted = studio.keys.update(owner, key.key_uuid, **{name: None for name in FULL})
    assert {getattr(lifted, name) for name in FULL} == {None}
    assert lifted.calls_per_hour == TIERS["enterprise"].calls_per_hour


def test_an_expiry_in_another_zone_is_the_same_moment(studio: Studio, owner: Principal) -> None:
    there = FAR.astimezone(timezone(timedelta(hours=9)))
    assert info(studio, owner, make(studio, owner, expires_at=there)).expires_at == FAR


def test_another_organizations_key_is_not_found(
    studio: Studio, owner: Principal, stranger: Principal
) -> None:
    for key in (owner.key_uuid, owner.key_prefix, "x", "\ud800"):
        for call in (
            lambda k=key: studio.keys.get(stranger, prefix=k),
            lambda k=key: studio.keys.update(stranger, k, name="mine"),
            lambda k=key: studio.keys.revoke(stranger, prefix=k),
        ):
            with pytest.raises(NotFound) as caught:
                call()
            assert caught.value.code == "key_not_found"


@pytest.mark.parametrize("change", [{"name": "x"}, {"role": "viewer"}, {"is_active": False}], ids=str)
def test_a_key_above_the_callers_role_is_not_changed(
    studio: Studio, owner: Principal, change: dict[str, Any]
) -> None:
    admin = make(studio, owner)
    assert refusal(lambda: studio.keys.update(admin, owner.key_uuid, **change)) == "forbidden"


def test_nobody_raises_a_key_above_their_own_role(studio: Studio, owner: Principal) -> None:
    admin, other = make(studio, owner), make(studio, owner, Role.MEMBER)
    assert refusal(lambda: studio.keys.update(admin, other.key_uuid, role=Role.OWNER)) == "forbidden"
    assert refusal(lambda: studio.keys.update(admin, admin.key_uuid, role=Role.OWNER)) == "forbidden"
    assert studio.keys.update(admin, other.key_uuid, role=Role.ADMIN).role == Role.ADMIN


NARROW: dict[str, Any] = {
    "toolsets": ["datasets", "images"],
    "rate_limit": 100,
    "max_concurrent": 4,
    "max_response_tokens": 1000,
    "confirm_by": "human",
    "expires_at": FAR,
}
WIDER: list[tuple[str, Any]] = [
    ("toolsets", ["exports"]),
    ("toolsets", ["datasets", "images", "exports"]),
    ("rate_limit", 101),
    ("max_concurrent", 5),
    ("max_response_tokens", 1001),
    ("confirm_by", "token"),
    ("expires_at", FAR + timedelta(seconds=1)),
]


def test_a_new_key_has_its_makers_limits_unless_narrower(studio: Studio, owner: Principal) -> None:
    admin = make(studio, owner, **NARROW)
    same = info(studio, owner, make(studio, admin, Role.MEMBER))
    assert {name: getattr(same, name) for name in NARROW} == {**NARROW, "toolsets": ("datasets", "images")}
    narrower: dict[str, Any] = {
        "toolsets": ["images"],
        "rate_limit": 99,
        "max_concurrent": 1,
        "max_response_tokens": 300,
        "confirm_by": "human",
        "expires_at": FAR - timedelta(days=1),
    }
    made = info(studio, owner, make(studio, admin, Role.MEMBER, **narrower))
    assert {name: getattr(made, name) for name in NARROW} == {**narrower, "toolsets": ("images",)}


@pytest.mark.parametrize(("field", "value"), WIDER, ids=str)
def test_a_limited_key_makes_none_that_goes_further(
    studio: Studio, owner: Principal, field: str, value: Any
) -> None:
    admin = make(studio, owner, **NARROW)
    with pytest.raises(Forbidden) as caught:
        studio.keys.create(admin, name="x", role=Role.VIEWER, **{field: value})
    assert (caught.value.code, caught.value.details) == ("limit_above_own", {"limits": [field]})


@pytest.mark.parametrize(("field", "value"), [*WIDER, *((name, None) for name in NARROW)], ids=str)
def test_a_limited_key_widens_neither_another_nor_itself(
    studio: Studio, owner: Principal, field: str, value: Any
) -> None:
    admin = make(studio, owner, **NARROW)
    child = make(studio, admin, Role.VIEWER)
    before = info(studio, owner, child), info(studio, owner, admin)
    assert refusal(lambda: studio.keys.update(admin, child.key_uuid, **{field: value})) == "limit_above_own"
    assert refusal(lambda: studio.keys.update(admin, admin.key_uuid, **{field: value})) == "own_key"
    assert (info(studio, owner, child), info(studio, owner, admin)) == before


def test_a_key_narrows_itself_and_cannot_take_it_back(studio: Studio, owner: Principal) -> None:
    admin = make(studio, owner)
    assert studio.keys.update(admin, admin.key_uuid, rate_limit=10, credit_cap=5).rate_limit == 10
    for change in ({"rate_limit": 11}, {"rate_limit": None}, {"credit_cap": 6}, {"credit_cap": None}):
        assert refusal(lambda c=change: studio.keys.update(admin, admin.key_uuid, **c)) == "own_key"
    assert studio.keys.update(admin, admin.key_uuid, rate_limit=10, name="same").rate_limit == 10


def test_a_limited_key_may_narrow_a_wider_one_but_not_widen_it_in_anything(
    studio: Studio, owner: Principal
) -> None:
    """Two keys' separate limits must not add up to a third's: a member key without limits, raised to admin
    by a limited admin, would be an admin without limits.
    """
    admin, free = make(studio, owner, **NARROW), make(studio, owner, Role.MEMBER)
    refused = refusal(lambda: studio.keys.update(admin, free.key_uuid, role=Role.ADMIN))
    assert refused == "limit_above_own"
    assert studio.keys.update(admin, free.key_uuid, rate_limit=5_000).rate_limit == 5_000
    assert studio.keys.update(admin, free.key_uuid, role=Role.VIEWER).role == Role.VIEWER
    assert not studio.keys.revoke(admin, prefix=free.key_uuid).is_active
    refused = refusal(lambda: studio.keys.update(admin, free.key_uuid, is_active=True))
    assert refused == "limit_above_own", "switching on is giving"
    assert studio.keys.update(owner, free.key_uuid, is_active=True).is_active


def test_an_expired_key_is_brought_back_only_within_the_callers_limits(
    studio: Studio, owner: Principal, move_clock: Any
) -> None:
    admin = make(studio, owner, **NARROW)
    brief = make(studio, owner, Role.MEMBER, expires_at=clock.now() + timedelta(hours=1))
    move_clock(timedelta(hours=2))
    later = clock.now() + timedelta(days=1)
    refused = refusal(lambda: studio.keys.update(admin, brief.key_uuid, expires_at=later))
    assert refused == "limit_above_own"
    assert studio.keys.update(admin, brief.key_uuid, name="still expired").name == "still expired"
    assert studio.keys.update(owner, brief.key_uuid, expires_at=later).expires_at == later


def test_only_an_owner_may_have_calls_confirmed_by_less_than_the_servers_setting(
    studio: Studio, owner: Principal
) -> None:
    admin = make(studio, owner)
    refused = refusal(lambda: studio.keys.create(admin, name="x", role=Role.MEMBER, confirm_by="token"))
    assert refused == "limit_above_own"
    assert make(studio, admin, confirm_by="human").confirm_by == "human"
    assert make(studio, owner, confirm_by="token").confirm_by == "token"


def test_a_key_above_the_tiers_limits_is_not_made(studio: Studio, stranger: Principal) -> None:
    most = TIERS["free"].calls_per_hour
    assert info(studio, stranger, make(studio, stranger, rate_limit=most)).rate_limit == most
    with pytest.raises(InvalidInput) as caught:
        studio.keys.create(stranger, name="x", role=Role.MEMBER, rate_limit=most + 1)
    assert caught.value.details == {"least": 1, "most": most}


def test_a_capped_key_gives_away_its_own_credits(studio: Studio, owner: Principal) -> None:
    admin = make(studio, owner, credit_cap=100, daily_credit_cap=20)
    nothing = info(studio, owner, make(studio, admin, Role.MEMBER))
    assert (nothing.credit_cap, nothing.daily_credit_cap) == (0, 0)
    child = make(studio, admin, Role.ADMIN, credit_cap=60, daily_credit_cap=5)
    left = info(studio, owner, admin)
    assert (left.credit_cap, left.daily_credit_cap) == (40, 15)
    for more in ({"credit_cap": 41}, {"daily_credit_cap": 16}):
        refused = refusal(lambda m=more: studio.keys.create(admin, name="x", role=Role.MEMBER, **m))
        assert refused == "limit_above_own"
    assert studio.keys.update(admin, child.key_uuid, credit_cap=70).credit_cap == 70
    assert info(studio, owner, admin).credit_cap == 30
    studio.keys.update(admin, child.key_uuid, credit_cap=10)
    assert info(studio, owner, admin).credit_cap == 30, "what was given does not come back"
    assert refusal(lambda: studio.keys.update(admin, child.key_uuid, credit_cap=None)) == "limit_above_own"


def test_what_is_spent_or_held_is_not_given_away(studio: Studio, owner: Principal) -> None:
    admin = make(studio, owner, credit_cap=100, daily_credit_cap=30)
    studio.ledger.hold(admin, call_id="spent", operation="x", amount=20)
    studio.ledger.capture("spent", 20)
    studio.ledger.hold(admin, call_id="held", operation="x", amount=5)

    def give(**caps: int) -> str | None:
        return refusal(lambda: studio.keys.create(admin, name="x", role=Role.MEMBER, **caps))

    assert give(credit_cap=76) == "limit_above_own"
    assert give(daily_credit_cap=6) == "limit_above_own"
    assert give(credit_cap=75, daily_credit_cap=5) is None
    assert studio.ledger.available(admin) == 0
    assert refusal(lambda: studio.ledger.hold(admin, call_id="more", operation="x", amount=1)) is not None


def test_yesterdays_spending_is_not_todays(studio: Studio, owner: Principal, move_clock: Any) -> None:
    admin = make(studio, owner, daily_credit_cap=10)
    studio.ledger.hold(admin, call_id="spent", operation="x", amount=10)
    studio.ledger.capture("spent", 10)
    assert refusal(lambda: make(studio, admin, Role.MEMBER, daily_credit_cap=1)) == "limit_above_own"
    move_clock(timedelta(days=1))
    make(studio, admin, Role.MEMBER, daily_credit_cap=1)


def test_switching_a_key_on_again_costs_a_capped_key_what_the_other_can_spend(
    studio: Studio, owner: Principal
) -> None:
    admin = make(studio, owner, credit_cap=100)
    other = make(studio, owner, Role.MEMBER, credit_cap=50)
    studio.ledger.hold(other, call_id="spent", operation="x", amount=30)
    studio.ledger.capture("spent", 30)
    studio.keys.revoke(owner, prefix=other.key_uuid)
    assert studio.keys.update(admin, other.key_uuid, is_active=True).is_active
    assert info(studio, owner, admin).credit_cap == 80


def test_a_members_key_makes_keys_of_that_member(studio: Studio, owner: Principal) -> None:
    def accept(email: str, role: Role) -> tuple[str, Principal]:
        accepted = studio.invites.accept(studio.invites.create(owner, email=email, role=role)[0])
        return accepted.user_id, studio.keys.authenticate(accepted.api_key)

    ann_id, ann = accept("ann@example.com", Role.ADMIN)
    bob_id, _ = accept("bob@example.com", Role.MEMBER)
    own = info(studio, owner, make(studio, ann, Role.MEMBER))
    assert (own.user_id, own.user_email) == (ann_id, "ann@example.com")
    for_bob = info(studio, owner, make(studio, ann, Role.MEMBER, user_id=bob_id))
    assert (for_bob.user_id, for_bob.user_email) == (bob_id, "bob@example.com")
    assert refusal(lambda: make(studio, ann, Role.ADMIN, user_id=bob_id)) == "forbidden"
    for wrong in ("x", "\ud800", ""):
        assert refusal(lambda w=wrong: make(studio, owner, user_id=w)) == "member_not_found"
    assert info(studio, owner, make(studio, owner, Role.MEMBER)).user_id is None


# No sequence of creating, changing and inviting gives any key more than the first limited one had.

MOMENTS = [None, FAR - timedelta(days=1), FAR, FAR + timedelta(days=1)]
VALUES: dict[str, list[Any]] = {
    "role": list(Role),
    "toolsets": [None, ["a"], ["a", "b"], ["a", "b", "c"], []],
    "credit_cap": [None, 0, 40, 60, 100],
    "daily_credit_cap": [None, 0, 5, 15, 20],
    "rate_limit": [None, 50, 100, 150],
    "max_concurrent": [None, 1, 4, 8],
    "max_response_tokens": [None, 300, 1000, 2000],
    "confirm_by": [None, "token", "human"],
    "expires_at": MOMENTS,
}
ONE_CHANGE = st.sampled_from([(name, value) for name, values in VALUES.items() for value in values])
CREDITS = st.sampled_from(
    [(name, value) for name in ("credit_cap", "daily_credit_cap") for value in VALUES[name]]
)
# Few at a time: of many, one is nearly always refused, and nothing would happen.
CHANGES = st.builds(
    lambda other, credits: dict([*other, *credits]),
    st.lists(ONE_CHANGE, max_size=1),
    st.lists(CREDITS, max_size=2),
)
DEEDS = ["create", "create", "create", "update", "update", "switch", "revoke", "invite"]
STEPS = st.lists(
    st.tuples(st.sampled_from(DEEDS), st.integers(0, 5), st.integers(0, 5), CHANGES),
    min_size=3,
    max_size=12,
)
FIRST = {**NARROW, "role": Role.ADMIN, "toolsets": ["a", "b"], "credit_cap": 100, "daily_credit_cap": 20}


@pytest.fixture(scope="module")
def shared() -> Any:
    """One workspace for all examples: each makes keys of its own."""
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Workspace(Path(folder)))
        yield studio, studio.keys.authenticate(saved_api_key(studio.home))
        studio.close()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_sequence_of_changes_gives_a_key_more_than_its_maker_had(
    shared: Any, steps: list[tuple[str, int, int, dict[str, Any]]]
) -> None:
    studio, owner = shared
    family = [make(studio, owner, **FIRST)]
    free = make(studio, owner, Role.MEMBER, credit_cap=50)  # a wider key of a lower role; theirs as well
    targets = [*family, free]
    for deed, actor_index, target_index, changes in steps:
        actor = family[actor_index % len(family)]
        target = targets[target_index % len(targets)]
        try:
            match deed:
                case "create":
                    family.append(make(studio, actor, changes.pop("role", Role.ADMIN), **changes))
                    targets.append(family[-1])
                case "update":
                    studio.keys.update(actor, target.key_uuid, **changes)
                case "switch":
                    studio.keys.update(actor, target.key_uuid, is_active=True, **changes)
                case "revoke":
                    studio.keys.revoke(actor, prefix=target.key_uuid)
                case "invite":
                    email = f"{clock.new_id()}@example.com"
                    token, _ = studio.invites.create(actor, email=email, role=changes.get("role", Role.ADMIN))
                    accepted = studio.invites.accept(token)
                    family.append(studio.keys.authenticate(accepted.api_key))
                    targets.append(family[-1])
        except (Forbidden, Conflict, InvalidInput, Unauthorized):
            continue
    keys = [info(studio, owner, key) for key in family if info(studio, owner, key).is_active]
    for key in keys:
        assert Role.ADMIN.covers(key.role)
        assert key.toolsets is not None
        assert set(key.toolsets) <= {"a", "b"}
        assert key.rate_limit is not None
        assert key.rate_limit <= 100
        assert key.max_concurrent is not None
        assert key.max_concurrent <= 4
        assert key.max_response_tokens is not None
        assert key.max_response_tokens <= 1000
        assert key.confirm_by == "human"
        assert key.expires_at is not None
        assert key.expires_at <= FAR
    assert sum(key.credit_cap or 0 for key in keys) <= 100
    assert sum(key.daily_credit_cap or 0 for key in keys) <= 20
    assert all(key.credit_cap is not None and key.daily_credit_cap is not None for key in keys)
    outside = info(studio, owner, free)
    assert Role.MEMBER.covers(outside.role) or not set(outside.toolsets or "c") - {"a", "b"}
    assert outside.credit_cap is not None
