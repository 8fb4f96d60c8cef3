"""API keys: made, shown once, checked, limited, revoked."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthorized
from tintype_studio.identity.keys import Keys, Principal
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import api_keys
from tintype_studio.studio import Studio


def make(studio: Studio, owner: Principal, role: Role = Role.MEMBER, **options: Any) -> tuple[str, Principal]:
    secret, _ = studio.keys.create(owner, name=f"a {role}", role=role, **options)
    return secret, studio.keys.authenticate(secret)


def test_a_key_acts_for_its_organization_in_its_role(studio: Studio, owner: Principal) -> None:
    limits: dict[str, Any] = {
        "rate_limit": 100,
        "max_concurrent": 2,
        "max_response_tokens": 300,
        "confirm_by": "human",
    }
    _, member = make(studio, owner, toolsets=["images"], **limits)
    assert (member.organization_id, member.role) == (owner.organization_id, Role.MEMBER)
    assert (member.toolsets, member.tier, member.user_id) == (frozenset({"images"}), "enterprise", None)
    assert {name: getattr(member, name) for name in limits} == limits


def test_only_a_hash_is_kept(studio: Studio, owner: Principal) -> None:
    secret, _ = make(studio, owner)
    with studio.database.read() as connection:
        rows = connection.execute(sa.select(api_keys)).mappings().all()
    assert secret not in str([dict(row) for row in rows])
    studio.database.close()
    files = [p.read_bytes() for p in studio.home.glob("tintype.db*")]
    assert not any(secret.encode() in data for data in files)


def test_the_hash_is_worthless_without_the_workspace_secret(studio: Studio, owner: Principal) -> None:
    from tintype_studio.storage.signing import Signer

    secret, _ = make(studio, owner)
    elsewhere = Keys(studio.database, Signer(b"\x00" * 32))
    with pytest.raises(Unauthorized):
        elsewhere.authenticate(secret)


@pytest.mark.parametrize("key", [None, "", "   "], ids=repr)
def test_no_key_is_said_to_be_missing(studio: Studio, key: str | None) -> None:
    with pytest.raises(Unauthorized) as caught:
        studio.keys.authenticate(key)
    assert caught.value.code == "missing_key"


@pytest.mark.parametrize("key", ["pk_live_x", "é", "\ud800", "x" * 100_000, "' OR 1=1 --"], ids=ascii)
def test_an_unknown_key_is_refused(studio: Studio, key: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        studio.keys.authenticate(key)
    assert caught.value.code == "invalid_key"


def test_blanks_around_a_key_do_no_harm(studio: Studio, owner: Principal) -> None:
    secret, member = make(studio, owner)
    assert studio.keys.authenticate(f" {secret}\n") == member


def test_a_revoked_key_stops_at_once_in_this_process(studio: Studio, owner: Principal) -> None:
    secret, member = make(studio, owner)
    studio.keys.revoke(owner, prefix=member.key_uuid)
    with pytest.raises(Unauthorized):
        studio.keys.authenticate(secret)
    assert studio.keys.cached(secret) is None


USES_A_KEY = """
import sys, time
from pathlib import Path
from tintype_studio.errors import Unauthorized
from tintype_studio.studio import Studio, Workspace

studio = Studio(Workspace(Path(sys.argv[1])))
studio.keys.authenticate(sys.argv[2])
print("works", flush=True)
try:
    while True:
        studio.keys.authenticate(sys.argv[2])
        time.sleep(0.005)
except Unauthorized:
    print(time.time(), flush=True)
"""


def test_a_revoked_key_stops_within_a_second_in_another_process(
    studio: Studio, owner: Principal, spawn: Any
) -> None:
    secret, member = make(studio, owner)
    child = spawn(USES_A_KEY, secret)
    assert child.stdout.readline() == "works\n"
    studio.keys.revoke(owner, prefix=member.key_uuid)
    revoked_at = time.time()
    stopped_at = float(child.stdout.readline())
    assert stopped_at - revoked_at < 1.0


def test_an_expired_key_is_refused(
    studio: Studio, owner: Principal, move_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tintype_studio.identity.keys.CACHE_SECONDS", 0.0)
    secret, _ = make(studio, owner, expires_at=clock.now() + timedelta(hours=1))
    move_clock(timedelta(minutes=59))
    studio.keys.authenticate(secret)
    move_clock(timedelta(minutes=61))
    with pytest.raises(Unauthorized) as caught:
        studio.keys.authenticate(secret)
    assert caught.value.code == "invalid_key"


def test_a_key_cannot_be_made_expired(studio: Studio, owner: Principal) -> None:
    with pytest.raises(InvalidInput) as caught:
        studio.keys.create(owner, name="late", role=Role.VIEWER, expires_at=clock.now())
    assert caught.value.code == "invalid_expiry"


def test_a_cap_below_zero_is_refused(studio: Studio, owner: Principal) -> None:
    with pytest.raises(InvalidInput):
        studio.keys.create(owner, name="debt", role=Role.VIEWER, credit_cap=-1)


@pytest.mark.parametrize(("maker", "made"), list(product(Role, Role)))
def test_admins_make_keys_up_to_their_own_role(
    studio: Studio, owner: Principal, maker: Role, made: Role
) -> None:
    _, principal = make(studio, owner, maker)
    if maker in {Role.ADMIN, Role.OWNER} and made.rank <= maker.rank:
        assert studio.keys.create(principal, name="next", role=made)[1].role == made
    else:
        with pytest.raises(Forbidden):
            studio.keys.create(principal, name="next", role=made)


def test_an_admin_cannot_revoke_an_owner(studio: Studio, owner: Principal) -> None:
    _, admin = make(studio, owner, Role.ADMIN)
    with pytest.raises(Forbidden):
        studio.keys.revoke(admin, prefix=owner.key_uuid)
    assert studio.keys.get(owner, prefix=owner.key_uuid).is_active


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER])
def test_those_below_admin_see_no_keys(studio: Studio, owner: Principal, role: Role) -> None:
    _, principal = make(studio, owner, role)
    with pytest.raises(Forbidden):
        studio.keys.list(principal)


def test_another_organizations_keys_are_not_found(
    studio: Studio, owner: Principal, stranger: Principal
) -> None:
    assert [k.id for k in studio.keys.list(owner)] == [owner.key_uuid]
    assert [k.id for k in studio.keys.list(stranger)] == [stranger.key_uuid]
    with pytest.raises(NotFound):
        studio.keys.revoke(stranger, prefix=owner.key_uuid)


def test_the_twelve_character_prefix_names_a_key(studio: Studio, owner: Principal) -> None:
    secret, info = studio.keys.create(owner, name="one", role=Role.VIEWER)
    assert info.prefix == secret[:12]
    assert studio.keys.get(owner, prefix=info.prefix) == info


def test_two_keys_with_one_prefix_are_both_made_and_told_apart_by_id(
    studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    endings = iter(["sameA", "sameB"])
    monkeypatch.setattr("secrets.token_urlsafe", lambda _n: next(endings))
    made = [studio.keys.create(owner, name=name, role=Role.VIEWER) for name in ("one", "two")]
    assert [info.name for _, info in made] == ["one", "two"]
    with pytest.raises(NotFound):
        studio.keys.get(owner, prefix=made[0][1].prefix)
    assert studio.keys.get(owner, prefix=made[1][1].id).name == "two"
    for secret, info in made:
        assert studio.keys.authenticate(secret).key_uuid == info.id


@pytest.mark.parametrize("name", ["", "a/b", "\ud800", "x" * 101], ids=ascii)
def test_a_key_with_a_bad_name_is_not_made(studio: Studio, owner: Principal, name: str) -> None:
    with pytest.raises(InvalidInput):
        studio.keys.create(owner, name=name, role=Role.VIEWER)
    assert len(studio.keys.list(owner)) == 1


def test_the_last_owner_key_cannot_be_revoked(studio: Studio, owner: Principal, stranger: Principal) -> None:
    """The stranger's owner key, of another organization, does not count."""
    make(studio, owner, Role.ADMIN)
    with pytest.raises(Conflict) as caught:
        studio.keys.revoke(owner, prefix=owner.key_uuid)
    assert caught.value.code == "last_owner_key"
    assert studio.keys.get(owner, prefix=owner.key_uuid).is_active


def test_an_owner_key_can_be_revoked_when_another_works(studio: Studio, owner: Principal) -> None:
    _, second = make(studio, owner, Role.OWNER)
    assert not studio.keys.revoke(second, prefix=owner.key_uuid).is_active
    with pytest.raises(Conflict):
        studio.keys.revoke(second, prefix=second.key_uuid)
    assert not studio.keys.revoke(second, prefix=owner.key_uuid).is_active, "revoking twice does no harm"


def test_an_expired_owner_key_does_not_stand_in_for_the_last(
    studio: Studio, owner: Principal, move_clock: Any
) -> None:
    _, brief = make(studio, owner, Role.OWNER, expires_at=clock.now() + timedelta(hours=1))
    move_clock(timedelta(hours=2))
    with pytest.raises(Conflict):
        studio.keys.revoke(owner, prefix=owner.key_uuid)
    assert not studio.keys.revoke(owner, prefix=brief.key_uuid).is_active


def test_owners_who_revoke_each_other_at_once_leave_one(
    studio: Studio, owner: Principal, open_studio: Any
) -> None:
    _, second = make(studio, owner, Role.OWNER)
    barrier, refused = threading.Barrier(2), []

    def revoke(one: Studio, actor: Principal, key: str) -> None:
        barrier.wait()
        try:
            one.keys.revoke(actor, prefix=key)
        except (Conflict, Unauthorized) as error:
            refused.append(error.code)

    threads = [
        threading.Thread(target=revoke, args=(studio, owner, second.key_uuid)),
        threading.Thread(target=revoke, args=(open_studio(), second, owner.key_uuid)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["invalid_key"], "the slower one acts with a key that is revoked by then"
    assert [k.is_active for k in studio.keys.list(owner)].count(True) == 1


REVOKES = """
import sys
from pathlib import Path
from tintype_studio.errors import TintypeError
from tintype_studio.studio import Studio, Workspace

studio = Studio(Workspace(Path(sys.argv[1])))
admin = studio.keys.authenticate(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
try:
    if sys.argv[4] == "revoke":
        studio.keys.revoke(admin, prefix=sys.argv[3])
    elif sys.argv[4] == "demote":
        studio.keys.update(admin, sys.argv[3], role="member")
    else:
        studio.keys.update(admin, sys.argv[3], is_active=False)
    print("done", flush=True)
except TintypeError as error:
    print(error.code, flush=True)
"""


@pytest.mark.parametrize("deeds", [("revoke", "revoke"), ("demote", "revoke"), ("switch", "demote")])
def test_two_processes_that_each_end_their_own_owner_key_leave_one(
    studio: Studio, owner: Principal, spawn: Any, deeds: tuple[str, str]
) -> None:
    from tintype_studio.identity.bootstrap import saved_api_key

    secret, second = make(studio, owner, Role.OWNER)
    children = [
        spawn(REVOKES, saved_api_key(studio.home), owner.key_uuid, deeds[0]),
        spawn(REVOKES, secret, second.key_uuid, deeds[1]),
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = sorted(child.communicate(timeout=30)[0].strip() for child in children)
    assert answers == ["done", "last_owner_key"]


def test_an_owner_key_that_expires_does_not_stand_in_for_the_last(studio: Studio, owner: Principal) -> None:
    """Or the organization would lock itself out when it does."""
    _, brief = make(studio, owner, Role.OWNER, expires_at=clock.now() + timedelta(days=30))
    for change in (
        lambda: studio.keys.revoke(owner, prefix=owner.key_uuid),
        lambda: studio.keys.revoke(brief, prefix=owner.key_uuid),
        lambda: studio.keys.update(owner, owner.key_uuid, expires_at=clock.now() + timedelta(days=60)),
        lambda: studio.keys.update(owner, owner.key_uuid, role=Role.ADMIN),
        lambda: studio.keys.update(owner, owner.key_uuid, is_active=False),
    ):
        with pytest.raises(Conflict) as caught:
            change()
        assert caught.value.code == "last_owner_key"
    assert studio.keys.update(owner, owner.key_uuid, name="still here").name == "still here"
    make(studio, owner, Role.OWNER)
    assert studio.keys.update(owner, owner.key_uuid, role=Role.ADMIN).role == Role.ADMIN


def test_a_change_of_a_key_is_felt_at_once_in_this_process(studio: Studio, owner: Principal) -> None:
    secret, member = make(studio, owner)
    studio.keys.update(owner, member.key_uuid, role=Role.VIEWER, rate_limit=5)
    changed = studio.keys.authenticate(secret)
    assert (changed.role, changed.rate_limit) == (Role.VIEWER, 5)
    studio.keys.update(owner, member.key_uuid, is_active=False)
    with pytest.raises(Unauthorized):
        studio.keys.authenticate(secret)
    studio.keys.update(owner, member.key_uuid, is_active=True)
    assert studio.keys.authenticate(secret) == changed


def test_a_change_of_a_key_is_felt_within_a_second_elsewhere(studio: Studio, owner: Principal) -> None:
    secret, member = make(studio, owner)
    elsewhere = Keys(studio.database, studio.signer)
    assert elsewhere.authenticate(secret).role == Role.MEMBER
    studio.keys.update(owner, member.key_uuid, role=Role.VIEWER)
    deadline = time.monotonic() + 1
    while elsewhere.authenticate(secret).role != Role.VIEWER:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_was_read_before_a_revocation_is_not_remembered_after_it(
    studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, member = make(studio, owner)
    studio.keys.forget()
    load = studio.keys._load

    def load_then_revoke(digest: str) -> Principal:
        found = load(digest)
        monkeypatch.undo()
        studio.keys.revoke(owner, prefix=member.key_uuid)
        return found

    monkeypatch.setattr(studio.keys, "_load", load_then_revoke)
    studio.keys.authenticate(secret)
    with pytest.raises(Unauthorized):
        studio.keys.authenticate(secret)
