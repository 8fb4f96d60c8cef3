"""The keys that access tokens stand for: whose they are, what they may do, and how somebody is kept out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.issuer import Issuer, checker, issuing, keys_of_tokens, owner_key
from support.people import join

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, Unauthorized
from tintype_studio.identity.grants import MAX_KEYS
from tintype_studio.identity.key_rows import act
from tintype_studio.identity.roles import Role
from tintype_studio.studio import Studio


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oauth")


@pytest.fixture(scope="module")
def studio(base: Path) -> Iterator[Studio]:
    opened = open_studio(Settings(home=base / "home"))
    yield opened
    opened.close()


@pytest.fixture
def issuer(studio: Studio, base: Path) -> Iterator[Issuer]:
    with issuing(studio, base) as told:
        yield told


@pytest.mark.parametrize(
    ("scope", "role"),
    [
        ("tintype:read", "viewer"),
        ("tintype:write", "member"),
        ("tintype:admin", "admin"),  # the member is no owner
        ("tintype:write tintype:read", "member"),
    ],
)
def test_a_token_acts_as_its_member_within_its_scope(
    studio: Studio, issuer: Issuer, base: Path, scope: str, role: str
) -> None:
    principal = studio.keys.authenticate(checker(studio, issuer, base).key_of(issuer.token(scope=scope)))
    assert principal.role == role
    assert principal.key_name == "OAuth: desktop"
    assert principal.user_id is not None


def test_the_same_person_and_client_have_one_key_in_every_process(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    before = keys_of_tokens(studio, base)
    first = checker(studio, issuer, base).key_of(issuer.token())
    second = checker(studio, issuer, base).key_of(issuer.token(exp=int(time.time()) + 999))
    other = checker(studio, issuer, base).key_of(issuer.token(client_id="phone"))
    assert first == second != other
    assert len(keys_of_tokens(studio, base) - before) == 2


def test_whose_key_was_revoked_stays_out_with_any_client_until_let_in_again(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    key = checker(studio, issuer, base).key_of(issuer.token())
    checker(studio, issuer, base).key_of(issuer.token(client_id="second"))
    owner = studio.keys.authenticate(owner_key(base))
    prefix = studio.keys.authenticate(key).key_uuid
    studio.keys.revoke(owner, prefix=prefix)
    for change in ({}, {"client_id": "second"}, {"client_id": "third"}, {"scope": "tintype:admin"}):
        with pytest.raises(Forbidden) as caught:
            checker(studio, issuer, base).key_of(issuer.token(**change))
        assert caught.value.code == "oauth_key_revoked"
        assert "tintype keys update" in caught.value.fix
    with pytest.raises(Unauthorized):
        studio.keys.authenticate(key)
    studio.keys.update(owner, prefix, is_active=True)
    assert checker(studio, issuer, base).key_of(issuer.token()) == key
    studio.keys.update(owner, prefix, expires_at=clock.now() + timedelta(milliseconds=20))
    time.sleep(0.05)
    with pytest.raises(Forbidden):
        checker(studio, issuer, base).key_of(issuer.token(client_id="fourth"))


def test_an_address_belongs_to_the_account_that_came_with_it_first(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    judge, before = checker(studio, issuer, base), keys_of_tokens(studio, base)
    judge.key_of(issuer.token())
    with pytest.raises(Forbidden) as caught:
        judge.key_of(issuer.token(sub="mallory", scope="tintype:admin"))
    assert caught.value.code == "other_subject"
    assert judge.key_of(issuer.token(client_id="other"))
    assert len(keys_of_tokens(studio, base) - before) == 2


def test_a_new_key_is_as_narrow_as_the_narrowest_of_the_member(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    owner = studio.keys.authenticate(owner_key(base))
    mine = studio.keys.list(owner)[-1]
    assert mine.user_email == issuer.email
    studio.keys.update(owner, mine.id, toolsets=["datasets", "models"], rate_limit=10, credit_cap=5)
    studio.keys.create(
        owner, name="two", role="member", user_id=mine.user_id, toolsets=["datasets"], confirm_by="human"
    )
    made = studio.keys.authenticate(checker(studio, issuer, base).key_of(issuer.token()))
    assert (made.toolsets, made.rate_limit, made.confirm_by) == (frozenset({"datasets"}), 10, "human")
    shown = studio.keys.get(owner, prefix=made.key_uuid)
    assert (shown.credit_cap, shown.daily_credit_cap, shown.expires_at) == (0, None, None)
    # Neither another client nor having lost the keys gives more.
    studio.keys.update(owner, made.key_uuid, rate_limit=7)
    second = studio.keys.authenticate(checker(studio, issuer, base).key_of(issuer.token(client_id="b")))
    assert (second.toolsets, second.rate_limit) == (frozenset({"datasets"}), 7)


def test_lost_keys_leave_their_limits_and_expired_ones_open_nothing(
    studio: Studio, issuer: Issuer, base: Path
) -> None:
    owner = studio.keys.authenticate(owner_key(base))
    mine = studio.keys.list(owner)[-1]
    studio.keys.update(owner, mine.id, rate_limit=10, expires_at=clock.now() + timedelta(milliseconds=20))
    time.sleep(0.05)
    with pytest.raises(Forbidden) as caught:
        checker(studio, issuer, base).key_of(issuer.token())
    assert caught.value.code == "keys_expired"
    studio.keys.update(owner, mine.id, expires_at=None)
    studio.keys.revoke(owner, prefix=mine.id)
    made = studio.keys.authenticate(checker(studio, issuer, base).key_of(issuer.token()))
    assert made.rate_limit == 10


def test_a_member_has_few_keys_however_many_clients(studio: Studio, issuer: Issuer, base: Path) -> None:
    judge, before = checker(studio, issuer, base), keys_of_tokens(studio, base)
    keys = [judge.key_of(issuer.token(client_id=f"n{n}")) for n in range(12)]
    assert len(set(keys)) == len(keys_of_tokens(studio, base) - before) == MAX_KEYS
    assert len(set(keys[MAX_KEYS - 1 :])) == 1
    assert studio.keys.authenticate(keys[-1]).key_name == "OAuth: other clients"
    assert checker(studio, issuer, base).key_of(issuer.token(client_id="n0")) == keys[0]


def test_keys_of_tokens_do_not_count_as_the_last_owner_key(issuer: Issuer, tmp_path: Path) -> None:
    studio = open_studio(Settings(home=tmp_path / "home"))
    try:
        owner = studio.keys.authenticate(owner_key(tmp_path))
        boss = join(studio, owner, Role.OWNER, "boss@example.com")
        studio.keys.revoke(owner, prefix=studio.keys.authenticate(boss.api_key).key_uuid)
        token = issuer.token(email="boss@example.com", scope="tintype:admin")
        by_token = studio.keys.authenticate(checker(studio, issuer, tmp_path).key_of(token))
        assert by_token.role == "owner"
        with pytest.raises(Conflict) as caught:
            studio.keys.revoke(by_token, prefix=owner.key_uuid)
        assert caught.value.code == "last_owner_key"
        assert not studio.keys.revoke(owner, prefix=by_token.key_uuid).is_active
    finally:
        studio.close()


def test_each_call_acts_in_the_lower_of_scope_and_key(studio: Studio, issuer: Issuer, base: Path) -> None:
    owner = studio.keys.authenticate(owner_key(base))
    judge = checker(studio, issuer, base)
    reader, admin = (judge.key_of(issuer.token(scope=f"tintype:{scope}")) for scope in ("read", "admin"))
    acting = studio.keys.authenticate(admin)
    assert (studio.keys.authenticate(reader).role, acting.role) == ("viewer", "admin")
    assert studio.keys.authenticate(reader).key_uuid == acting.key_uuid
    # What reads the key anew to change something sees the lower role as well.
    with studio.database.write() as connection, pytest.raises(Forbidden):
        act(connection, studio.keys.authenticate(reader), "keys.create")
    studio.keys.update(owner, acting.key_uuid, role="member")
    assert studio.keys.authenticate(admin).role == "member"
    assert studio.keys.authenticate(reader).role == "viewer"
    with pytest.raises(Unauthorized):
        studio.keys.authenticate(admin.replace(":owner", ":king"))


def test_a_member_who_is_promoted_again_acts_so_again(studio: Studio, issuer: Issuer, base: Path) -> None:
    owner = studio.keys.authenticate(owner_key(base))
    member = studio.organizations.list_members(owner)[-1]
    key = checker(studio, issuer, base).key_of(issuer.token(scope="tintype:admin"))
    seen = []
    for role in ("viewer", "admin", "member"):
        studio.organizations.update_member_role(owner, member.id, role)
        seen.append(studio.keys.authenticate(key).role.value)
    assert seen == ["viewer", "admin", "member"]
    # An admin who has narrowed the key meant the key.
    studio.keys.update(owner, studio.keys.authenticate(key).key_uuid, role="viewer")
    studio.organizations.update_member_role(owner, member.id, "admin")
    assert studio.keys.authenticate(key).role == "viewer"


def test_a_removed_member_stays_out_until_invited_again(studio: Studio, issuer: Issuer, base: Path) -> None:
    owner = studio.keys.authenticate(owner_key(base))
    joined = join(studio, owner, Role.MEMBER, "gone@example.com")
    key = checker(studio, issuer, base).key_of(issuer.token(email="gone@example.com"))
    studio.organizations.remove_member(owner, joined.member_id)
    with pytest.raises(Exception, match="revoked"):
        studio.keys.authenticate(key)
    with pytest.raises(Exception, match="member"):
        checker(studio, issuer, base).key_of(issuer.token(email="gone@example.com"))
    join(studio, owner, Role.VIEWER, "gone@example.com")
    again = checker(studio, issuer, base).key_of(issuer.token(email="gone@example.com"))
    assert again != key
    assert studio.keys.authenticate(again).role == "viewer"
