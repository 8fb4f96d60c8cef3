"""Invites: one token, one use; worth no more than the key that made them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.people import clean_email, clean_label
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import users
from tintype_studio.studio import Studio


def refusal(call: Callable[[], object]) -> str | None:
    try:
        call()
    except TintypeError as error:
        return error.code
    return None


def make_admin(studio: Studio, owner: Principal, **limits: Any) -> Principal:
    secret, _ = studio.keys.create(owner, name="admin", role=Role.ADMIN, **limits)
    return studio.keys.authenticate(secret)


def test_an_invite_makes_a_member_with_a_key(studio: Studio, owner: Principal) -> None:
    token, invite = studio.invites.create(owner, email="Ann.Lee@Example.COM", role=Role.ADMIN)
    assert (invite.email, invite.role, invite.status) == ("ann.lee@example.com", Role.ADMIN, "pending")
    assert (invite.organization_id, invite.invited_by) == (owner.organization_uuid, owner.key_uuid)
    shown = studio.invites.show(token)
    assert (shown.organization, shown.role, shown.email) == ("Local", Role.ADMIN, "ann.lee@example.com")
    assert shown.expires_at == invite.expires_at

    accepted = studio.invites.accept(token, full_name=" Ann Lee ")
    principal = studio.keys.authenticate(accepted.api_key)
    assert (principal.role, principal.organization_id) == (Role.ADMIN, owner.organization_id)
    assert principal.key_uuid == accepted.key.id
    member = studio.organizations.get_member(principal, accepted.member_id)
    assert (member.email, member.full_name, member.role) == ("ann.lee@example.com", "Ann Lee", Role.ADMIN)
    assert member.user_id == accepted.user_id == accepted.key.user_id
    (listed,) = studio.invites.list(owner)
    assert (listed.status, listed.accepted_at is not None) == ("accepted", True)


def test_an_invite_lasts_seven_days_unless_told(studio: Studio, owner: Principal, move_clock: Any) -> None:
    token, invite = studio.invites.create(owner, email="a@example.com")
    assert invite.expires_at - invite.created_at == timedelta(days=7)
    _, longer = studio.invites.create(owner, email="b@example.com", expires_in_days=14)
    assert longer.expires_at - longer.created_at == timedelta(days=14)
    move_clock(timedelta(days=6, hours=23))
    studio.invites.show(token)
    move_clock(timedelta(days=7, seconds=1))
    for call in (lambda: studio.invites.show(token), lambda: studio.invites.accept(token)):
        with pytest.raises(NotFound):
            call()
    assert studio.organizations.list_members(owner) == []


def test_only_a_hash_of_the_token_is_kept(studio: Studio, owner: Principal) -> None:
    token, _ = studio.invites.create(owner, email="a@example.com")
    studio.database.close()
    files = [p.read_bytes() for p in studio.home.glob("tintype.db*")]
    assert not any(token.encode() in data for data in files)


def test_a_token_works_once(studio: Studio, owner: Principal) -> None:
    token, _ = studio.invites.create(owner, email="a@example.com")
    studio.invites.accept(token)
    assert refusal(lambda: studio.invites.accept(token)) == "invite_not_found"
    assert refusal(lambda: studio.invites.show(token)) == "invite_not_found"
    assert len(studio.organizations.list_members(owner)) == 1


@pytest.mark.parametrize("round_", range(3))
def test_of_many_that_bring_a_token_at_once_one_becomes_the_member(
    studio: Studio, owner: Principal, open_studio: Any, round_: int
) -> None:
    token, _ = studio.invites.create(owner, email="a@example.com")
    barrier, keys, refused = threading.Barrier(6), [], []

    def accept(one: Studio) -> None:
        barrier.wait()
        try:
            keys.append(one.invites.accept(token).api_key)
        except NotFound as error:
            refused.append(error.message)

    openings = [studio, open_studio(), studio, open_studio(), studio, studio]
    threads = [threading.Thread(target=accept, args=(one,)) for one in openings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(keys), len(refused)) == (1, 5)
    assert len(studio.organizations.list_members(owner)) == 1
    assert len(studio.keys.list(owner)) == 2


def test_of_accepting_and_revoking_at_once_one_wins(
    studio: Studio, owner: Principal, open_studio: Any
) -> None:
    for number in range(4):
        token, invite = studio.invites.create(owner, email=f"p{number}@example.com")
        barrier, codes = threading.Barrier(2), {}

        def attempt(
            name: str, call: Callable[[], object], barrier: Any = barrier, codes: Any = codes
        ) -> None:
            barrier.wait()
            codes[name] = refusal(call)

        other = open_studio()
        threads = [
            threading.Thread(target=attempt, args=("accept", lambda t=token: studio.invites.accept(t))),
            threading.Thread(
                target=attempt, args=("revoke", lambda i=invite, o=other: o.invites.revoke(owner, i.id))
            ),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = {"accept": "accepted", "revoke": "revoked"}
        (winner,) = [name for name, code in codes.items() if code is None]
        assert set(codes.values()) - {None} <= {"invite_not_found", "invite_accepted"}
        status = next(i.status for i in studio.invites.list(owner) if i.id == invite.id)
        assert status == won[winner]


def test_a_revoked_invite_works_no_more(studio: Studio, owner: Principal) -> None:
    token, invite = studio.invites.create(owner, email="a@example.com")
    assert studio.invites.revoke(owner, invite.id).status == "revoked"
    assert studio.invites.revoke(owner, invite.id).status == "revoked"
    assert refusal(lambda: studio.invites.accept(token)) == "invite_not_found"
    again, _ = studio.invites.create(owner, email="a@example.com")
    studio.invites.accept(again)


def test_an_accepted_invite_cannot_be_revoked(studio: Studio, owner: Principal) -> None:
    token, invite = studio.invites.create(owner, email="a@example.com")
    studio.invites.accept(token)
    with pytest.raises(Conflict) as caught:
        studio.invites.revoke(owner, invite.id)
    assert caught.value.code == "invite_accepted"


def test_every_token_that_does_not_work_is_refused_alike(
    studio: Studio, owner: Principal, move_clock: Any
) -> None:
    accepted, _ = studio.invites.create(owner, email="a@example.com")
    studio.invites.accept(accepted)
    revoked, invite = studio.invites.create(owner, email="b@example.com")
    studio.invites.revoke(owner, invite.id)
    expired, _ = studio.invites.create(owner, email="c@example.com")
    move_clock(timedelta(days=8))
    tokens = [accepted, revoked, expired, "", "invite_", "\ud800", "x" * 100_000, "' OR 1=1 --", "é"]
    shapes = []
    for token in tokens:
        for call in (lambda t=token: studio.invites.show(t), lambda t=token: studio.invites.accept(t)):
            with pytest.raises(NotFound) as caught:
                call()
            shapes.append(caught.value.as_dict())
    assert all(shape == shapes[0] for shape in shapes)


def test_statuses_are_filtered_newest_first(studio: Studio, owner: Principal, move_clock: Any) -> None:
    def listed(status: str | None) -> list[str]:
        return [i.email.split("@")[0] for i in studio.invites.list(owner, status=status)]

    token, _ = studio.invites.create(owner, email="accepted@example.com")
    studio.invites.accept(token)
    _, invite = studio.invites.create(owner, email="revoked@example.com")
    studio.invites.revoke(owner, invite.id)
    studio.invites.create(owner, email="expired@example.com", expires_in_days=1)
    studio.invites.create(owner, email="pending@example.com", expires_in_days=30)
    move_clock(timedelta(days=2))
    assert listed(None) == ["pending", "expired", "revoked", "accepted"]
    for status in ("pending", "accepted", "revoked", "expired"):
        assert listed(status) == [status]
        assert [i.status for i in studio.invites.list(owner, status=status)] == [status]
    with pytest.raises(InvalidInput) as caught:
        studio.invites.list(owner, status="lost")
    assert caught.value.code == "invalid_status"


def test_an_address_is_invited_once_at_a_time(studio: Studio, owner: Principal, move_clock: Any) -> None:
    studio.invites.create(owner, email="Ann@Example.com", expires_in_days=1)
    same = "aNN@EXAMPLE.com"
    assert refusal(lambda: studio.invites.create(owner, email=same)) == "invite_pending"
    move_clock(timedelta(days=2))
    token, _ = studio.invites.create(owner, email=same)
    studio.invites.accept(token)
    assert refusal(lambda: studio.invites.create(owner, email="ANN@example.com")) == "already_member"


def test_of_two_invites_for_one_address_at_once_one_is_made(
    studio: Studio, owner: Principal, open_studio: Any
) -> None:
    barrier, codes = threading.Barrier(4), []

    def create(one: Studio) -> None:
        barrier.wait()
        codes.append(refusal(lambda: one.invites.create(owner, email="ann@example.com")))

    threads = [threading.Thread(target=create, args=(one,)) for one in (studio, open_studio()) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes, key=str) == [None, "invite_pending", "invite_pending", "invite_pending"]


def test_one_user_is_a_member_of_two_organizations(
    studio: Studio, owner: Principal, stranger: Principal
) -> None:
    here = studio.invites.accept(studio.invites.create(owner, email="a@example.com")[0], full_name="Ann")
    there = studio.invites.accept(
        studio.invites.create(stranger, email="a@example.com")[0], full_name="Mallory"
    )
    assert here.user_id == there.user_id
    member = studio.organizations.get_member(stranger, there.member_id)
    assert member.full_name == "Ann", "who has a name keeps it, whatever another organization's invite says"
    studio.organizations.remove_member(owner, here.member_id)
    assert studio.keys.authenticate(there.api_key).organization_id == stranger.organization_id
    with studio.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(users)).scalar_one() == 1


def test_another_organizations_invites_are_not_found(
    studio: Studio, owner: Principal, stranger: Principal
) -> None:
    token, invite = studio.invites.create(owner, email="a@example.com")
    assert studio.invites.list(stranger) == []
    for wrong in (invite.id, "x", "\ud800", token):
        assert refusal(lambda w=wrong: studio.invites.revoke(stranger, w)) == "invite_not_found"
    assert studio.invites.show(token).email == "a@example.com"


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ann",
        "@example.com",
        "ann@",
        "a@b@c",
        "a b@example.com",
        "a\u00a0b@example.com",
        "a\tb@example.com",
        "a\n@example.com",
        "a\x00@example.com",
        "a\u200b@example.com",
        "\ud800@example.com",
        "<ann@example.com>",
        '"a"@example.com',
        "a,b@example.com",
        ".a@example.com",
        "a.@example.com",
        "a..b@example.com",
        "a@.example.com",
        "a@example..com",
        "a@example.com.",
        "a@-example.com",
        "x" * 243 + "@example.com",
        None,
        5,
        b"a@example.com",
    ],
    ids=ascii,
)
def test_a_malformed_address_is_refused(studio: Studio, owner: Principal, email: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        studio.invites.create(owner, email=email)
    assert caught.value.code == "invalid_email"
    assert studio.invites.list(owner) == []


@pytest.mark.parametrize(
    ("email", "kept"),
    [
        ("ann@localhost", "ann@localhost"),
        (" ANN+test@Example.Co.UK ", "ann+test@example.co.uk"),
        ("JOS\u00c9@example.com", "jos\u00e9@example.com"),
        ("Jose\u0301@example.com", "jos\u00e9@example.com"),
        ("Stra\u00dfe@example.com", "strasse@example.com"),
        ("x" * 242 + "@example.com", "x" * 242 + "@example.com"),
        ("o'hara_1@ex-ample.com", "o'hara_1@ex-ample.com"),
    ],
    ids=ascii,
)
def test_an_address_has_one_form(email: str, kept: str) -> None:
    assert clean_email(email) == kept


@given(st.text(max_size=12), st.text(max_size=12))
def test_the_one_form_of_an_address_is_stable(local: str, domain: str) -> None:
    try:
        once = clean_email(f"{local}@{domain}")
    except InvalidInput:
        return
    assert clean_email(once) == once
    assert clean_email(local.upper() + "@" + domain) == clean_email(local.upper().casefold() + "@" + domain)


@pytest.mark.parametrize(
    "name", ["", " ", "\u200b", "a\nb", "a\x1bb", "\u202ea", "\ud800", "x" * 121, 5], ids=ascii
)
def test_a_bad_name_is_refused_and_the_token_stays_good(studio: Studio, owner: Principal, name: Any) -> None:
    token, _ = studio.invites.create(owner, email="a@example.com")
    with pytest.raises(InvalidInput) as caught:
        studio.invites.accept(token, full_name=name)
    assert caught.value.code == "invalid_name"
    studio.invites.accept(token, full_name="Jos\u00e9 \u0640 O'Hara / Lee")


@given(st.text(max_size=20))
def test_names_are_taken_or_refused_and_stable(text: str) -> None:
    try:
        once = clean_label(text, "The name")
    except InvalidInput:
        return
    assert clean_label(once, "The name") == once
    assert once == once.strip()


@pytest.mark.parametrize("days", [0, -1, 366, 1.5, True, "7", None, 10**30], ids=repr)
def test_a_wrong_number_of_days_is_refused(studio: Studio, owner: Principal, days: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        studio.invites.create(owner, email="a@example.com", expires_in_days=days)
    assert caught.value.code == "invalid_expiry"


@pytest.mark.parametrize("days", [1, 365])
def test_the_bounds_of_days_are_fine(studio: Studio, owner: Principal, days: int) -> None:
    studio.invites.create(owner, email="a@example.com", expires_in_days=days)


def test_only_an_owner_invites_an_owner(studio: Studio, owner: Principal) -> None:
    admin = make_admin(studio, owner)
    with pytest.raises(Forbidden):
        studio.invites.create(admin, email="a@example.com", role=Role.OWNER)
    _, invite = studio.invites.create(owner, email="a@example.com", role=Role.OWNER)
    with pytest.raises(Forbidden):
        studio.invites.revoke(admin, invite.id)
    assert refusal(lambda: studio.invites.create(owner, email="b@example.com", role="root")) == "invalid_role"


@pytest.mark.parametrize("end", ["revoked", "switched off", "demoted", "removed"])
def test_an_invite_ends_with_the_key_that_made_it(studio: Studio, owner: Principal, end: str) -> None:
    member = studio.invites.accept(
        studio.invites.create(owner, email="admin@example.com", role=Role.ADMIN)[0]
    )
    admin = studio.keys.authenticate(member.api_key)
    token, invite = studio.invites.create(admin, email="a@example.com", role=Role.ADMIN)
    weaker, _ = studio.invites.create(admin, email="b@example.com", role=Role.VIEWER)
    others, _ = studio.invites.create(owner, email="c@example.com", role=Role.VIEWER)
    match end:
        case "revoked":
            studio.keys.revoke(owner, prefix=admin.key_uuid)
        case "switched off":
            studio.keys.update(owner, admin.key_uuid, is_active=False)
        case "demoted":
            studio.organizations.update_member_role(owner, member.member_id, Role.MEMBER)
        case "removed":
            studio.organizations.remove_member(owner, member.member_id)
    assert refusal(lambda: studio.invites.accept(token)) == "invite_not_found"
    assert next(i.status for i in studio.invites.list(owner) if i.id == invite.id) == "revoked"
    assert refusal(lambda: studio.invites.accept(weaker)) == (
        None if end == "demoted" else "invite_not_found"
    )
    assert refusal(lambda: studio.invites.accept(others)) is None


def test_an_invite_outlives_not_the_key_that_made_it(
    studio: Studio, owner: Principal, move_clock: Any
) -> None:
    admin = make_admin(studio, owner, expires_at=clock.now() + timedelta(days=3))
    _, invite = studio.invites.create(admin, email="a@example.com")
    assert invite.expires_at == studio.keys.get(owner, prefix=admin.key_uuid).expires_at
    sooner = clock.now() + timedelta(days=1)
    studio.keys.update(owner, admin.key_uuid, expires_at=sooner)
    assert studio.invites.list(owner)[0].expires_at == sooner
    move_clock(timedelta(days=2))
    assert [i.status for i in studio.invites.list(owner)] == ["expired"]


def test_the_key_of_an_invite_has_the_limits_of_the_key_that_made_it(
    studio: Studio, owner: Principal
) -> None:
    """Otherwise a limited admin key could invite itself free."""
    until = clock.now() + timedelta(days=30)
    limits: dict[str, Any] = {
        "toolsets": ["datasets"],
        "rate_limit": 10,
        "max_concurrent": 2,
        "max_response_tokens": 500,
        "confirm_by": "human",
        "expires_at": until,
    }
    admin = make_admin(studio, owner, credit_cap=100, daily_credit_cap=20, **limits)
    token, _ = studio.invites.create(admin, email="a@example.com", role=Role.ADMIN)
    studio.keys.update(owner, admin.key_uuid, rate_limit=5)
    key = studio.invites.accept(token).key
    assert (key.credit_cap, key.daily_credit_cap) == (0, 0)
    assert key.toolsets == ("datasets",)
    assert (key.rate_limit, key.max_concurrent, key.max_response_tokens) == (5, 2, 500)
    assert (key.confirm_by, key.expires_at) == ("human", until)
    assert studio.keys.get(owner, prefix=admin.key_uuid).credit_cap == 100


def test_the_key_of_an_owners_invite_has_none(studio: Studio, owner: Principal) -> None:
    key = studio.invites.accept(studio.invites.create(owner, email="a@example.com")[0]).key
    assert (key.credit_cap, key.daily_credit_cap, key.toolsets, key.expires_at) == (None, None, None, None)
