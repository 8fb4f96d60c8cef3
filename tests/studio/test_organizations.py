"""Organizations and members: reading, roles, removal, and the last owner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound, TintypeError, Unauthorized
from tintype_studio.identity.bootstrap import LOCAL_ALLOWANCE
from tintype_studio.identity.invites import Acceptance
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.organizations import Member
from tintype_studio.identity.roles import Role
from tintype_studio.identity.tiers import TIERS
from tintype_studio.ledger.calendar import next_month
from tintype_studio.storage.tables import organizations
from tintype_studio.studio import Studio

Join = Callable[..., "tuple[Member, Principal, str]"]


@pytest.fixture
def join(studio: Studio, owner: Principal) -> Join:
    """Brings a member in by an invite: the member, the principal of the first key, its secret."""

    def join_one(name: str, role: Role | str = Role.MEMBER, by: Principal | None = None) -> Any:
        token, _ = studio.invites.create(by or owner, email=f"{name}@example.com", role=role)
        accepted: Acceptance = studio.invites.accept(token, full_name=name.title())
        member = studio.organizations.get_member(by or owner, accepted.member_id)
        return member, studio.keys.authenticate(accepted.api_key), accepted.api_key

    return join_one


def refusal(call: Callable[[], object]) -> str | None:
    try:
        call()
    except TintypeError as error:
        return error.code
    return None


def test_the_organization_of_the_first_start(studio: Studio, owner: Principal) -> None:
    me = studio.organizations.me(owner)
    assert (me.id, me.name, me.slug, me.tier) == (owner.organization_uuid, "Local", "local", "enterprise")
    assert (me.billing_email, me.member_count, me.pending_invite_count) == (None, 0, 0)
    assert me.limits == TIERS["enterprise"]


def test_the_allowance_of_the_first_start_is_renewed_a_month_later(
    studio: Studio, owner: Principal, move_clock: Any
) -> None:
    born = studio.organizations.me(owner).created_at
    before = studio.ledger.balance(owner)
    assert before.credits_remaining == before.credits_monthly_allowance == LOCAL_ALLOWANCE
    assert before.credits_reset_at == next_month(born)
    studio.ledger.hold(owner, call_id="spent", operation="x", amount=300)
    studio.ledger.capture("spent", 300)
    assert studio.ledger.available(owner) == LOCAL_ALLOWANCE - 300
    move_clock(timedelta(days=32))
    assert studio.ledger.available(owner) == LOCAL_ALLOWANCE


def test_it_counts_members_and_invites_that_can_still_be_accepted(
    studio: Studio, owner: Principal, join: Join, move_clock: Any
) -> None:
    gone, _, _ = join("gone")
    join("ann")
    studio.organizations.remove_member(owner, gone.id)
    studio.invites.create(owner, email="soon@example.com", expires_in_days=1)
    studio.invites.create(owner, email="late@example.com", expires_in_days=9)
    assert studio.organizations.me(owner).member_count == 1
    assert studio.organizations.me(owner).pending_invite_count == 2
    move_clock(timedelta(days=2))
    assert studio.organizations.me(owner).pending_invite_count == 1


def test_name_and_billing_address_are_changed_apart(studio: Studio, owner: Principal) -> None:
    assert studio.organizations.update(owner, name="  A/B Testing ").name == "A/B Testing"
    changed = studio.organizations.update(owner, billing_email="Bills@Example.COM")
    assert (changed.name, changed.billing_email, changed.slug) == (
        "A/B Testing",
        "bills@example.com",
        "local",
    )
    assert studio.organizations.update(owner, billing_email=None).billing_email is None
    assert studio.organizations.me(owner).name == "A/B Testing"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "nothing_to_change"),
        ({"name": ""}, "invalid_name"),
        ({"name": "  "}, "invalid_name"),
        ({"name": "a\nb"}, "invalid_name"),
        ({"name": "a\u202eb"}, "invalid_name"),
        ({"name": "\ud800"}, "invalid_name"),
        ({"name": "x" * 121}, "invalid_name"),
        ({"name": None}, "invalid_name"),
        ({"billing_email": "nobody"}, "invalid_email"),
        ({"billing_email": 5}, "invalid_email"),
        ({"name": "fine", "billing_email": "a@b@c"}, "invalid_email"),
    ],
    ids=ascii,
)
def test_bad_changes_change_nothing(
    studio: Studio, owner: Principal, changes: dict[str, Any], code: str
) -> None:
    before = studio.organizations.me(owner)
    with pytest.raises(InvalidInput) as caught:
        studio.organizations.update(owner, **changes)
    assert caught.value.code == code
    assert studio.organizations.me(owner) == before


def test_members_are_listed_in_the_order_in_which_they_joined(
    studio: Studio, owner: Principal, join: Join
) -> None:
    joined = [join(name)[0] for name in ("zoe", "ann", "bob")]
    assert studio.organizations.list_members(owner) == joined
    assert [(m.email, m.full_name, m.role) for m in joined[:1]] == [("zoe@example.com", "Zoe", Role.MEMBER)]


def test_another_organizations_members_are_not_found(
    studio: Studio, owner: Principal, stranger: Principal, join: Join
) -> None:
    member, _, secret = join("ann")
    assert studio.organizations.list_members(stranger) == []
    for call in (
        lambda: studio.organizations.get_member(stranger, member.id),
        lambda: studio.organizations.update_member_role(stranger, member.id, Role.VIEWER),
        lambda: studio.organizations.remove_member(stranger, member.id),
        lambda: studio.organizations.remove_member(owner, "\ud800"),
        lambda: studio.organizations.remove_member(owner, member.user_id),
        lambda: studio.keys.create(stranger, name="x", role=Role.VIEWER, user_id=member.user_id),
    ):
        with pytest.raises(NotFound):
            call()
    assert studio.keys.authenticate(secret).role == Role.MEMBER


@pytest.mark.parametrize(("by", "of", "to"), list(product([Role.ADMIN, Role.OWNER], Role, Role)))
def test_nobody_changes_or_grants_a_role_above_their_own(
    studio: Studio, owner: Principal, join: Join, by: Role, of: Role, to: Role
) -> None:
    join("another-owner", Role.OWNER)
    _, actor, _ = join("actor", by)
    member, _, _ = join("changed", of)
    allowed = by.covers(of) and by.covers(to)
    if allowed:
        assert studio.organizations.update_member_role(actor, member.id, to).role == to
    else:
        with pytest.raises(Forbidden):
            studio.organizations.update_member_role(actor, member.id, to)
    assert studio.organizations.get_member(owner, member.id).role == (to if allowed else of)


def test_an_unknown_role_is_refused(studio: Studio, owner: Principal, join: Join) -> None:
    member, _, _ = join("ann")
    with pytest.raises(InvalidInput) as caught:
        studio.organizations.update_member_role(owner, member.id, "root")
    assert caught.value.code == "invalid_role"


def test_a_demoted_members_keys_come_down_too_and_go_not_up_again(
    studio: Studio, owner: Principal, join: Join
) -> None:
    member, admin, secret = join("ann", Role.ADMIN)
    viewer, _ = studio.keys.create(admin, name="for reading", role=Role.VIEWER)
    studio.organizations.update_member_role(owner, member.id, Role.MEMBER)
    assert studio.keys.authenticate(secret).role == Role.MEMBER
    assert studio.keys.authenticate(viewer).role == Role.VIEWER
    studio.organizations.update_member_role(owner, member.id, Role.OWNER)
    assert studio.keys.authenticate(secret).role == Role.MEMBER


def test_a_members_keys_have_no_role_above_the_members(studio: Studio, owner: Principal, join: Join) -> None:
    member, principal, _ = join("ann", Role.MEMBER)
    with pytest.raises(Forbidden):
        studio.keys.create(owner, name="x", role=Role.ADMIN, user_id=member.user_id)
    with pytest.raises(Forbidden):
        studio.keys.update(owner, principal.key_uuid, role=Role.ADMIN)
    studio.organizations.update_member_role(owner, member.id, Role.ADMIN)
    assert studio.keys.update(owner, principal.key_uuid, role=Role.ADMIN).role == Role.ADMIN


def test_a_removed_members_keys_stop_at_once(studio: Studio, owner: Principal, join: Join) -> None:
    member, admin, secret = join("ann", Role.ADMIN)
    more = [studio.keys.create(admin, name=f"more {i}", role=Role.VIEWER)[0] for i in range(3)]
    others = join("bob")[2]
    for key in (secret, *more):
        studio.keys.authenticate(key)
    assert studio.organizations.remove_member(owner, member.id) == member
    for key in (secret, *more):
        with pytest.raises(Unauthorized):
            studio.keys.authenticate(key)
    assert studio.keys.authenticate(others)
    assert [m.email for m in studio.organizations.list_members(owner)] == ["bob@example.com"]
    with pytest.raises(NotFound):
        studio.organizations.remove_member(owner, member.id)


USES_A_KEY = """
import sys, time
from pathlib import Path
from tintype_studio.errors import Unauthorized
from tintype_studio.studio import Studio, Workspace

studio = Studio(Workspace(Path(sys.argv[1])))
print(studio.keys.authenticate(sys.argv[2]).role, flush=True)
try:
    while studio.keys.authenticate(sys.argv[2]).role == sys.argv[3]:
        time.sleep(0.005)
except Unauthorized:
    pass
print(time.time(), flush=True)
"""


@pytest.mark.parametrize("change", ["removed", "demoted"])
def test_another_process_follows_within_a_second(
    studio: Studio, owner: Principal, join: Join, spawn: Any, change: str
) -> None:
    member, _, secret = join("ann", Role.ADMIN)
    child = spawn(USES_A_KEY, secret, "admin")
    assert child.stdout.readline() == "admin\n"
    if change == "removed":
        studio.organizations.remove_member(owner, member.id)
    else:
        studio.organizations.update_member_role(owner, member.id, Role.VIEWER)
    changed_at = time.time()
    assert float(child.stdout.readline()) - changed_at < 1.0


def test_a_revoked_admin_changes_nothing_while_other_processes_still_know_the_key(
    studio: Studio, owner: Principal, join: Join, open_studio: Any
) -> None:
    """What is cached may answer reads for half a second; changes check the key anew."""
    member, _, secret = join("ann", Role.ADMIN)
    elsewhere = open_studio()
    known = elsewhere.keys.authenticate(secret)
    studio.organizations.remove_member(owner, member.id)
    for call in (
        lambda: elsewhere.keys.create(known, name="x", role=Role.ADMIN),
        lambda: elsewhere.keys.update(known, known.key_uuid, is_active=True),
        lambda: elsewhere.invites.create(known, email="again@example.com", role=Role.ADMIN),
        lambda: elsewhere.organizations.remove_member(known, member.id),
    ):
        with pytest.raises(Unauthorized):
            call()


def test_a_demoted_admin_grants_nothing_with_what_is_cached(
    studio: Studio, owner: Principal, join: Join
) -> None:
    member, admin, _ = join("ann", Role.ADMIN)
    studio.organizations.update_member_role(owner, member.id, Role.MEMBER)
    with pytest.raises(Forbidden) as caught:
        studio.keys.create(admin, name="x", role=Role.VIEWER)
    assert caught.value.code == "role_required"


def test_who_was_removed_can_be_invited_again_and_gets_a_new_key(
    studio: Studio, owner: Principal, join: Join
) -> None:
    member, before, secret = join("ann", Role.ADMIN)
    studio.organizations.remove_member(owner, member.id)
    with pytest.raises(Conflict) as caught:
        studio.keys.update(owner, before.key_uuid, is_active=True)
    assert caught.value.code == "member_removed"
    again, after, _ = join("ann", Role.VIEWER)
    assert (again.user_id, again.id != member.id) == (member.user_id, True)
    assert after.role == Role.VIEWER
    with pytest.raises(Unauthorized):
        studio.keys.authenticate(secret)
    assert refusal(lambda: studio.keys.update(owner, before.key_uuid, is_active=True)) == "forbidden"


def test_an_admin_cannot_touch_an_owner(studio: Studio, owner: Principal, join: Join) -> None:
    boss, _, secret = join("boss", Role.OWNER)
    join("other", Role.OWNER)
    _, admin, _ = join("ann", Role.ADMIN)
    for call in (
        lambda: studio.organizations.remove_member(admin, boss.id),
        lambda: studio.organizations.update_member_role(admin, boss.id, Role.VIEWER),
        lambda: studio.organizations.update_member_role(admin, boss.id, Role.OWNER),
    ):
        with pytest.raises(Forbidden):
            call()
    assert studio.keys.authenticate(secret).role == Role.OWNER


def test_the_last_owner_is_neither_removed_nor_demoted(studio: Studio, owner: Principal, join: Join) -> None:
    boss, _, secret = join("boss", Role.OWNER)
    join("ann", Role.ADMIN)
    assert refusal(lambda: studio.organizations.remove_member(owner, boss.id)) == "last_owner"
    assert refusal(lambda: studio.organizations.update_member_role(owner, boss.id, "admin")) == "last_owner"
    assert studio.organizations.update_member_role(owner, boss.id, "owner").role == Role.OWNER
    assert studio.keys.authenticate(secret).role == Role.OWNER
    join("second", Role.OWNER)
    assert studio.organizations.update_member_role(owner, boss.id, "admin").role == Role.ADMIN


def test_an_owner_who_was_removed_does_not_count(studio: Studio, owner: Principal, join: Join) -> None:
    first, _, _ = join("first", Role.OWNER)
    second, _, _ = join("second", Role.OWNER)
    studio.organizations.remove_member(owner, first.id)
    assert refusal(lambda: studio.organizations.remove_member(owner, second.id)) == "last_owner"


@pytest.mark.parametrize("change", ["remove", "demote"])
def test_the_member_with_the_last_owner_key_stays(
    studio: Studio, owner: Principal, join: Join, change: str
) -> None:
    """Another owner is a member, but has no owner key that works."""
    boss, key_holder, secret = join("boss", Role.OWNER)
    _, other, _ = join("other", Role.OWNER)
    studio.keys.revoke(owner, prefix=other.key_uuid)
    studio.keys.revoke(owner, prefix=owner.key_uuid)

    def attempt() -> object:
        if change == "remove":
            return studio.organizations.remove_member(key_holder, boss.id)
        return studio.organizations.update_member_role(key_holder, boss.id, Role.ADMIN)

    assert refusal(attempt) == "last_owner_key"
    assert studio.keys.authenticate(secret).role == Role.OWNER
    assert studio.organizations.get_member(key_holder, boss.id).role == Role.OWNER
    studio.keys.create(key_holder, name="spare", role=Role.OWNER)  # belongs to the same member
    assert refusal(attempt) == "last_owner_key"


@pytest.mark.parametrize("round_", range(3))
@pytest.mark.parametrize("change", ["remove", "demote"])
def test_owners_who_end_each_other_at_once_leave_one(
    studio: Studio, owner: Principal, join: Join, open_studio: Any, change: str, round_: int
) -> None:
    first, first_key, _ = join("first", Role.OWNER)
    second, second_key, _ = join("second", Role.OWNER)
    barrier, refused = threading.Barrier(2), []

    def end(one: Studio, actor: Principal, member: Member) -> None:
        barrier.wait()
        if change == "remove":
            code = refusal(lambda: one.organizations.remove_member(actor, member.id))
        else:
            code = refusal(lambda: one.organizations.update_member_role(actor, member.id, "viewer"))
        if code:
            refused.append(code)

    threads = [
        threading.Thread(target=end, args=(studio, first_key, second)),
        threading.Thread(target=end, args=(open_studio(), second_key, first)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused in (["invalid_key"], ["role_required"])
    left = [m for m in studio.organizations.list_members(owner) if m.role == Role.OWNER]
    assert len(left) == 1


REMOVES = """
import sys
from pathlib import Path
from tintype_studio.errors import TintypeError
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

home = Path(sys.argv[1])
studio = Studio(Workspace(home))
owner = studio.keys.authenticate(saved_api_key(home))
print("ready", flush=True)
sys.stdin.readline()
try:
    studio.organizations.remove_member(owner, sys.argv[2])
    print("removed", flush=True)
except TintypeError as error:
    print(error.code, flush=True)
"""


@pytest.mark.parametrize("round_", range(3))
def test_two_processes_that_remove_the_last_two_owners_leave_one(
    studio: Studio, owner: Principal, join: Join, spawn: Any, round_: int
) -> None:
    members = [join(name, Role.OWNER)[0] for name in ("first", "second")]
    children = [spawn(REMOVES, member.id) for member in members]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = sorted(child.communicate(timeout=30)[0].strip() for child in children)
    assert answers == ["last_owner", "removed"]
    assert len(studio.organizations.list_members(owner)) == 1


def test_the_tier_limits_members_and_pending_invites_together(
    studio: Studio, stranger: Principal, move_clock: Any
) -> None:
    assert TIERS["free"].max_users == 3
    tokens = [studio.invites.create(stranger, email=f"p{i}@example.com")[0] for i in range(3)]
    with pytest.raises(Conflict) as caught:
        studio.invites.create(stranger, email="p3@example.com")
    assert (caught.value.code, caught.value.details) == ("member_limit", {"limit": 3, "taken": 3})
    for token in tokens:
        studio.invites.accept(token)
    assert refusal(lambda: studio.invites.create(stranger, email="p3@example.com")) == "member_limit"
    member = studio.organizations.list_members(stranger)[0]
    studio.organizations.remove_member(stranger, member.id)
    token, _ = studio.invites.create(stranger, email="p3@example.com")
    assert studio.invites.accept(token).key.role == Role.MEMBER


def test_an_invite_from_before_a_smaller_tier_is_not_accepted_and_stays(
    studio: Studio, stranger: Principal
) -> None:
    def set_tier(tier: str) -> None:
        with studio.database.write() as connection:
            connection.execute(
                sa.update(organizations)
                .where(organizations.c.id == stranger.organization_id)
                .values(tier=tier)
            )

    set_tier("core")
    tokens = [studio.invites.create(stranger, email=f"p{i}@example.com")[0] for i in range(4)]
    set_tier("free")
    for token in tokens[:3]:
        studio.invites.accept(token)
    assert refusal(lambda: studio.invites.accept(tokens[3])) == "member_limit"
    assert len(studio.organizations.list_members(stranger)) == 3
    set_tier("core")
    assert studio.invites.accept(tokens[3]).key.user_email == "p3@example.com"


def test_times_are_when_things_happened(studio: Studio, owner: Principal, join: Join) -> None:
    before = clock.now()
    member, _, _ = join("ann")
    assert before <= member.joined_at <= clock.now()
