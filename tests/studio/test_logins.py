"""Names and passwords: who may make them, what they open, and what wrong ones do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.people import join
from support.sdk import another_organization

from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthorized
from tintype_studio.identity import logins as module
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.studio import Studio, Workspace


def opens(studio: Studio, username: str, password: str) -> str:
    """The key that a name and a password open."""
    session = studio.logins.open(username, password)
    return studio.logins.key_of(session.login_id, session.generation)


def test_a_login_acts_with_a_key_of_its_own(studio: Studio, owner: Principal) -> None:
    login, password = studio.logins.add(owner, username="ann", role="member")
    assert (login.username, login.role, login.is_active) == ("ann", "member", True)
    acting = studio.keys.authenticate(opens(studio, "ann", password))
    assert (acting.role, acting.key_name, acting.organization_id) == (
        "member",
        "Login: ann",
        owner.organization_id,
    )
    (listed,) = studio.logins.list(owner)
    assert listed.last_used_at is not None
    assert listed.key_prefix in [key.prefix for key in studio.keys.list(owner)]


def test_another_process_finds_the_same_key(studio: Studio, owner: Principal) -> None:
    _, password = studio.logins.add(owner, username="ann", role="viewer")
    here = opens(studio, "ann", password)
    other = Studio(Workspace(studio.home, database_url=studio.workspace.database_url))
    assert opens(other, "ann", password) == here
    other.close()


def test_passwords_are_kept_as_hashes_only(studio: Studio, owner: Principal, tmp_path: Path) -> None:
    studio.logins.add(owner, username="ann", role="viewer", password="correct horse")
    files = [path for path in studio.home.rglob("*") if path.is_file()]
    assert not any(b"correct horse" in path.read_bytes() for path in files)


@pytest.mark.parametrize("password", ["", "wrong", "x" * 5000, "\ud800", "correct horse "])
def test_wrong_passwords(studio: Studio, owner: Principal, password: str) -> None:
    studio.logins.add(owner, username="ann", role="viewer", password="correct horse")
    with pytest.raises(Unauthorized) as refused:
        studio.logins.open("ann", password)
    assert refused.value.code == "invalid_login"


@pytest.mark.parametrize("name", ["", "bob", "ANN", "ann\0", "\ud800", "x" * 5000])
def test_a_name_that_nobody_has_is_refused_as_a_wrong_password_is(
    studio: Studio, owner: Principal, name: str
) -> None:
    studio.logins.add(owner, username="ann", role="viewer", password="correct horse")
    with pytest.raises(Unauthorized) as nobody:
        studio.logins.open(name, "correct horse")
    with pytest.raises(Unauthorized) as wrong:
        studio.logins.open("ann", "wrong")
    assert nobody.value.as_dict() == wrong.value.as_dict()


def test_five_wrong_ones_have_to_wait(
    studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.logins.add(owner, username="ann", role="viewer", password="correct horse")
    start = clock.now()
    for _ in range(module.FREE_FAILURES - 1):
        with pytest.raises(Unauthorized):
            studio.logins.open("ann", "wrong")
    assert studio.logins.open("ann", "correct horse")
    for _ in range(module.FREE_FAILURES):
        with pytest.raises(Unauthorized):
            studio.logins.open("ann", "wrong")
    with pytest.raises(Unauthorized):
        studio.logins.open("ann", "correct horse")
    monkeypatch.setattr(clock, "now", lambda: start + timedelta(minutes=2))
    assert studio.logins.open("ann", "correct horse")
    with pytest.raises(Unauthorized):
        studio.logins.open("ann", "wrong")
    assert studio.logins.open("ann", "correct horse")


def test_the_wait_grows_to_a_quarter_of_an_hour(
    studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.logins.add(owner, username="ann", role="viewer", password="correct horse")
    now = clock.now()
    for _ in range(20):
        now += timedelta(hours=1)
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        with pytest.raises(Unauthorized):
            studio.logins.open("ann", "wrong")
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=14))
    with pytest.raises(Unauthorized):
        studio.logins.open("ann", "correct horse")
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=16))
    assert studio.logins.open("ann", "correct horse")


def test_a_new_password_ends_the_wait_and_the_sessions(studio: Studio, owner: Principal) -> None:
    studio.logins.add(owner, username="ann", role="viewer", password="correct horse")
    session = studio.logins.open("ann", "correct horse")
    for _ in range(module.FREE_FAILURES):
        with pytest.raises(Unauthorized):
            studio.logins.open("ann", "wrong")
    _, fresh = studio.logins.set_password(owner, "ann")
    assert studio.logins.open("ann", fresh).generation == session.generation + 1
    for refused in (
        lambda: studio.logins.key_of(session.login_id, session.generation),
        lambda: studio.logins.open("ann", "correct horse"),
    ):
        with pytest.raises(Unauthorized):
            refused()


def test_logging_out_everywhere(studio: Studio, owner: Principal) -> None:
    studio.logins.add(owner, username="ann", role="viewer", password="correct horse")
    session = studio.logins.open("ann", "correct horse")
    studio.logins.end_sessions(session.login_id)
    with pytest.raises(Unauthorized):
        studio.logins.key_of(session.login_id, session.generation)
    assert opens(studio, "ann", "correct horse")


def test_a_removed_login_opens_nothing_and_its_name_is_free(studio: Studio, owner: Principal) -> None:
    _, password = studio.logins.add(owner, username="ann", role="viewer")
    session = studio.logins.open("ann", password)
    key = studio.logins.key_of(session.login_id, session.generation)
    studio.logins.remove(owner, "ann")
    with pytest.raises(Unauthorized):
        studio.logins.key_of(session.login_id, session.generation)
    with pytest.raises(Unauthorized):
        studio.keys.authenticate(key)
    with pytest.raises(NotFound):
        studio.logins.remove(owner, "ann")
    assert studio.logins.add(owner, username="ann", role="viewer")[1] != password


def test_a_revoked_key_ends_its_login(studio: Studio, owner: Principal) -> None:
    login, password = studio.logins.add(owner, username="ann", role="viewer")
    studio.keys.revoke(owner, prefix=login.key_prefix)
    with pytest.raises(Unauthorized):
        studio.logins.open("ann", password)
    assert studio.logins.list(owner)[0].is_active is False


def test_who_may_make_them(studio: Studio, owner: Principal) -> None:
    def acting(role: str) -> Principal:
        return studio.keys.authenticate(studio.keys.create(owner, name=role, role=role)[0])

    with pytest.raises(Forbidden):
        studio.logins.add(acting("member"), username="ann", role="viewer")
    with pytest.raises(Forbidden):
        studio.logins.add(acting("admin"), username="ann", role="owner")
    studio.logins.add(owner, username="boss", role="owner")
    for forbidden in (studio.logins.remove, studio.logins.set_password):
        with pytest.raises(Forbidden):
            forbidden(acting("admin"), "boss")
    assert [login.username for login in studio.logins.list(owner)] == ["boss"]


def test_limits_of_the_maker_hold(studio: Studio, owner: Principal) -> None:
    secret, _ = studio.keys.create(owner, name="narrow", role="admin", toolsets=["datasets"], rate_limit=7)
    _, password = studio.logins.add(studio.keys.authenticate(secret), username="ann", role="member")
    acting = studio.keys.authenticate(opens(studio, "ann", password))
    assert (acting.toolsets, acting.rate_limit) == (frozenset({"datasets"}), 7)


def test_a_member_s_address_belongs_to_the_member(studio: Studio, owner: Principal) -> None:
    join(studio, owner, Role.MEMBER, "bob@example.com")
    with pytest.raises(Forbidden):
        studio.logins.add(owner, username="bob@example.com", role="admin")
    _, password = studio.logins.add(owner, username="bob@example.com", role="member")
    key = opens(studio, "bob@example.com", password)
    found = next(m for m in studio.organizations.list_members(owner) if m.email == "bob@example.com")
    studio.organizations.remove_member(owner, found.id)
    with pytest.raises(Unauthorized):
        studio.keys.authenticate(key)


def test_names_are_taken_once_and_other_organizations_do_not_see_them(
    studio: Studio, owner: Principal
) -> None:
    elsewhere = studio.keys.authenticate(another_organization(studio))
    studio.logins.add(owner, username="ann", role="viewer")
    with pytest.raises(Conflict) as taken:
        studio.logins.add(elsewhere, username=" ann ", role="viewer")
    assert taken.value.code == "username_taken"
    assert studio.logins.list(elsewhere) == []
    for missing in (studio.logins.remove, studio.logins.set_password):
        with pytest.raises(NotFound):
            missing(elsewhere, "ann")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a/b", "x" * 255, "\ud800"])
def test_bad_names(studio: Studio, owner: Principal, name: str) -> None:
    with pytest.raises(InvalidInput):
        studio.logins.add(owner, username=name, role="viewer")
    assert studio.logins.list(owner) == []


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_bad_passwords(studio: Studio, owner: Principal, password: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        studio.logins.add(owner, username="ann", role="viewer", password=password)
    assert refused.value.code == "invalid_password"
    assert studio.logins.list(owner) == []


def test_a_login_s_key_is_no_owner_key_that_is_left(studio: Studio, owner: Principal) -> None:
    studio.logins.add(owner, username="ann", role="owner")
    with pytest.raises(Conflict) as refused:
        studio.keys.revoke(owner, prefix=owner.key_prefix)
    assert refused.value.code == "last_owner_key"
