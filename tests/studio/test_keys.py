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
    _, member = make(studio, owner, credit_cap=5, toolsets=["images"])
    assert (member.organization_id, member.role) == (owner.organization_id, Role.MEMBER)
    assert (member.credit_cap, member.toolsets) == (5, frozenset({"images"}))


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
        except Conflict as error:
            refused.append(error.code)

    threads = [
        threading.Thread(target=revoke, args=(studio, owner, second.key_uuid)),
        threading.Thread(target=revoke, args=(open_studio(), second, owner.key_uuid)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["last_owner_key"]
    assert [k.is_active for k in studio.keys.list(owner)].count(True) == 1
