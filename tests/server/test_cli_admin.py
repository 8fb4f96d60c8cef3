"""Administration at the command line: login, keys and their limits, members, invites, the trail it leaves."""

from __future__ import annotations

import json
import os
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from tintype_server.cli.group import root
from tintype_server.cli.parameters import Lifetime
from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.storage.tables import calls


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("TINTYPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "250")
    return tmp_path / "home"


def run(home: Path, *arguments: str, key: str | None = None, text: str | None = None) -> Result:
    flags = ["--home", str(home)] + (["--api-key", key] if key is not None else [])
    return CliRunner().invoke(root, [*flags, *arguments], input=text)


def out(home: Path, *arguments: str, key: str | None = None) -> Any:
    result = run(home, *arguments, "--json", key=key)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def code(result: Result) -> str:
    """The code of a refusal, which is two lines."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    error, fix = [line for line in result.stderr.splitlines() if not line.startswith("warning")]
    assert error.startswith("error: ")
    assert fix.startswith("fix: ")
    return error.rpartition("(")[2].rstrip(")")


def trail(home: Path) -> list[dict[str, Any]]:
    studio = open_studio(Settings(home=home))
    try:
        with studio.database.read() as connection:
            return [dict(row) for row in connection.execute(sa.select(calls).order_by(calls.c.id)).mappings()]
    finally:
        studio.close()


def make(home: Path, role: str, *flags: str, key: str | None = None) -> str:
    return str(out(home, "keys", "create", "--role", role, "--name", f"a {role}", *flags, key=key)["api_key"])


# Which key acts


def test_the_order_is_flag_environment_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, owner2 = make(home, "admin"), make(home, "owner")
    prefixes = {k["key_prefix"]: k["role"] for k in out(home, "keys", "list")}
    assert prefixes[admin[:12]] == "admin"

    def acts_as() -> str:
        out(home, "members", "list")
        return str(trail(home)[-1]["role"])

    assert acts_as() == "owner"
    monkeypatch.setenv("TINTYPE_API_KEY", admin)
    assert acts_as() == "admin"
    out(home, "members", "list", key=owner2)
    assert trail(home)[-1]["role"] == "owner"


@pytest.mark.parametrize("arguments", [("keys", "list"), ("members", "list"), ("organization", "show")])
def test_without_any_key_the_way_on_is_told(home: Path, arguments: tuple[str, ...]) -> None:
    run(home, "keys", "list")
    (home / "config.toml").unlink()
    result = run(home, *arguments)
    assert code(result) == "missing_key"
    assert "tintype login" in result.stderr
    assert "TINTYPE_API_KEY" in result.stderr
    assert "--api-key" in result.stderr


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_flag_does_not_act_as_the_saved_owner(home: Path, empty: str) -> None:
    run(home, "keys", "list")
    assert code(run(home, "keys", "list", key=empty)) == "missing_key"


# Login


def test_login_saves_a_key_that_works_and_keeps_the_one_it_replaces(home: Path) -> None:
    member = make(home, "member")
    owner = saved_api_key(home)
    result = run(home, "login", "--api-key", member)
    assert result.exit_code == 0, result.stderr
    assert "[previous]" in result.stderr
    assert saved_api_key(home) == member
    assert (home / "config.toml").stat().st_mode & 0o777 == 0o600
    content = tomllib.loads((home / "config.toml").read_text())
    assert content == {"default": {"api_key": member}, "previous": {"api_keys": [owner]}}
    assert code(run(home, "keys", "list")) == "role_required"
    assert member not in result.output
    assert run(home, "login", "--api-key", str(owner)).exit_code == 0
    assert saved_api_key(home) == owner


def test_login_loses_no_working_key_and_drops_those_that_are_revoked(home: Path) -> None:
    first, second, third = (make(home, "admin") for _ in range(3))
    owner = saved_api_key(home)
    for key in (first, second):
        run(home, "login", "--api-key", key)
    run(home, "keys", "revoke", second[:12], key=owner)
    run(home, "login", "--api-key", third)
    content = tomllib.loads((home / "config.toml").read_text())
    assert content["previous"]["api_keys"] == [first, owner]
    run(home, "login", "--api-key", third)
    assert tomllib.loads((home / "config.toml").read_text()) == content


def test_login_asks_for_the_key_without_showing_it(home: Path) -> None:
    member = make(home, "member")
    result = run(home, "login", text=f"{member}\n")
    assert result.exit_code == 0, result.stderr
    assert member not in result.output
    assert saved_api_key(home) == member


def test_login_takes_the_flag_of_the_root_command_too(home: Path) -> None:
    member = make(home, "member")
    result = run(home, "login", key=member)
    assert (result.exit_code, saved_api_key(home)) == (0, member)


@pytest.mark.parametrize("key", ["pk_live_nobody_knows_me", "hello", "\x1b[31m", '"\n[x]'])
def test_login_refuses_a_key_that_does_not_work(home: Path, key: str) -> None:
    run(home, "keys", "list")
    before = (home / "config.toml").read_text()
    result = run(home, "login", "--api-key", key)
    assert code(result) == "invalid_key"
    assert ("start with pk_live_" in result.stderr) == (not key.startswith("pk_live_"))
    assert (home / "config.toml").read_text() == before


def test_login_leaves_a_file_alone_that_it_cannot_read(home: Path) -> None:
    member = make(home, "member")
    (home / "config.toml").write_text("[default")
    assert code(run(home, "login", "--api-key", member)) == "config_damaged"
    assert (home / "config.toml").read_text() == "[default"


def test_login_says_that_the_environment_goes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member, viewer = make(home, "member"), make(home, "viewer")
    monkeypatch.setenv("TINTYPE_API_KEY", viewer)
    assert "TINTYPE_API_KEY" in run(home, "login", "--api-key", member).stderr
    assert "TINTYPE_API_KEY" not in run(home, "login", "--api-key", viewer).stderr


# Keys

WIRE = {
    "id",
    "organization_id",
    "name",
    "key_prefix",
    "role",
    "rate_limit",
    "is_active",
    "created_at",
    "last_used_at",
    "expires_at",
}
"""The fields of ``ApiKey`` in the documented REST API."""


def test_a_keys_json_has_the_fields_of_the_rest_api(home: Path) -> None:
    made = out(home, "keys", "create", "--role", "member", "--name", "ci")
    assert WIRE | {"api_key", "key_id"} <= set(made)
    assert made["key_id"] == made["id"]
    assert made["rate_limit"] == 100_000
    got = out(home, "keys", "get", made["key_prefix"])
    assert got == {name: made[name] for name in got}
    assert set(got) >= WIRE
    assert "api_key" not in got
    assert out(home, "keys", "list")[1] == got


def test_all_limits_are_set_changed_and_lifted(home: Path) -> None:
    flags = [
        *("--expires-in", "30d", "--credit-cap", "50", "--daily-cap", "5", "--rate-limit", "100"),
        *("--concurrent", "2", "--max-response-tokens", "300", "--confirm-by", "human"),
        *("--toolsets", "images,datasets"),
    ]
    made = out(home, "keys", "create", "--role", "member", "--name", "ci", *flags)
    limits = {
        "credit_cap": 50,
        "daily_credit_cap": 5,
        "rate_limit": 100,
        "max_concurrent": 2,
        "max_response_tokens": 300,
        "confirm_by": "human",
        "toolsets": ["datasets", "images"],
    }
    assert {name: made[name] for name in limits} == limits
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)

    renamed = out(home, "keys", "update", made["id"], "--name", "renamed", "--rate-limit", "50")
    assert (renamed["name"], renamed["rate_limit"], renamed["credit_cap"]) == ("renamed", 50, 50)
    lifted = out(
        *(home, "keys", "update", made["id"], "--credit-cap", "none", "--daily-cap", "none"),
        *("--rate-limit", "none", "--concurrent", "none", "--max-response-tokens", "none"),
        *("--confirm-by", "none", "--toolsets", "all", "--expires-in", "never"),
    )
    assert {lifted[name] for name in limits if name != "rate_limit"} | {lifted["expires_at"]} == {None}
    assert lifted["rate_limit"] == 100_000


def test_a_key_is_switched_off_and_on(home: Path) -> None:
    key = make(home, "member")
    assert out(home, "keys", "update", key[:12], "--inactive")["is_active"] is False
    assert code(run(home, "members", "list", key=key)) == "invalid_key"
    assert out(home, "keys", "update", key[:12], "--active")["is_active"] is True
    assert out(home, "keys", "revoke", key[:12])["is_active"] is False


@pytest.mark.parametrize(
    ("flags", "exit_code"),
    [
        (("--expires-in", "soon"), 2),
        (("--expires-in", "-3d"), 2),
        (("--expires-in", "999999w"), 2),
        (("--expires-in", "0d"), 1),
        (("--expires-in", "2001-01-01"), 1),
        (("--credit-cap", "1.5"), 2),
        (("--credit-cap", "-1"), 1),
        (("--rate-limit", "0"), 1),
        (("--concurrent", "100000"), 1),
        (("--max-response-tokens", "299"), 1),
        (("--confirm-by", "nobody"), 2),
        (("--toolsets", "nope"), 1),
        (("--role", "root"), 2),
        (("--user", "nobody"), 1),
        (("--user", "nobody@example.com"), 1),
        (("--user", "a@b@c"), 1),
    ],
)
def test_bad_flags_make_no_key(home: Path, flags: tuple[str, ...], exit_code: int) -> None:
    result = run(home, "keys", "create", "--role", "member", "--name", "x", *flags)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert len(out(home, "keys", "list")) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2031-05-06T07:08:09Z", datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("2031-05-06T07:08:09+02:00", datetime(2031, 5, 6, 5, 8, 9, tzinfo=UTC)),
        ("2031-05-06", datetime(2031, 5, 6, tzinfo=UTC)),
    ],
)
def test_a_lifetime_may_be_a_time(text: str, expected: datetime) -> None:
    assert Lifetime().convert(text, None, None) == expected


def test_an_update_that_names_nothing_is_refused(home: Path) -> None:
    key = make(home, "member")
    assert code(run(home, "keys", "update", key[:12])) == "nothing_to_change"


def test_a_limited_admin_key_makes_no_free_one(home: Path) -> None:
    admin = make(home, "admin", "--rate-limit", "10", "--credit-cap", "20")
    made = out(home, "keys", "create", "--role", "member", "--name", "x", key=admin)
    assert (made["rate_limit"], made["credit_cap"]) == (10, 0)
    result = run(home, "keys", "create", "--role", "member", "--name", "x", "--rate-limit", "11", key=admin)
    assert code(result) == "limit_above_own"
    assert code(run(home, "keys", "update", admin[:12], "--rate-limit", "none", key=admin)) == "own_key"


def test_what_strangers_wrote_does_not_reach_the_terminal_raw(home: Path) -> None:
    made = out(home, "keys", "create", "--role", "viewer", "--name", "[bold]a\u202eb")
    for arguments in (("keys", "list"), ("keys", "get", made["id"]), ("keys", "revoke", made["id"])):
        shown = run(home, *arguments).stdout
        assert "[bold]a\\u202eb" in shown
        assert "\u202e" not in shown


# Members, invites, organization


def test_people_are_invited_changed_and_removed(home: Path) -> None:
    made = out(home, "invites", "create", "Ann@Example.com", "--role", "admin", "--expires-in-days", "14")
    assert made["invite_url"] is None
    assert {"id", "organization_id", "email", "role", "status", "expires_at", "created_at"} <= set(made)
    listed = out(home, "invites", "list", "--status", "pending")
    assert [i["email"] for i in listed] == ["ann@example.com"]
    assert "token" not in listed[0]
    accepted = out(home, "invites", "accept", made["token"], "--full-name", "Ann Lee")
    ann = accepted["api_key"]
    assert (accepted["role"], accepted["organization"]) == ("admin", "Local")
    (member,) = out(home, "members", "list", key=ann)
    assert set(member) == {"id", "user_id", "role", "joined_at", "email", "full_name"}
    assert (member["full_name"], member["id"]) == ("Ann Lee", accepted["member_id"])
    assert out(home, "organization", "show", key=ann)["member_count"] == 1

    extra = out(home, "keys", "create", "--role", "viewer", "--name", "hers", "--user", "ANN@example.com")
    assert (extra["user_email"], extra["user_id"]) == ("ann@example.com", member["user_id"])
    changed = out(home, "members", "set-role", "ann@example.com", "member")
    assert changed["role"] == "member"
    assert code(run(home, "keys", "list", key=ann)) == "role_required"
    assert out(home, "members", "remove", member["id"])["email"] == "ann@example.com"
    for key in (ann, extra["api_key"]):
        assert code(run(home, "members", "list", key=key)) == "invalid_key"
    assert code(run(home, "members", "remove", "ann@example.com")) == "member_not_found"
    assert code(run(home, "members", "set-role", "x", "viewer")) == "member_not_found"


def test_an_invite_is_a_link_where_the_server_has_an_address(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINTYPE_BASE_URL", "https://tools.example.com/")
    url = run(home, "invites", "create", "a@example.com").stdout.strip()
    assert url.startswith("https://tools.example.com/invites/invite_")
    assert out(home, "invites", "accept", url)["role"] == "member"
    made = out(home, "invites", "create", "b@example.com")
    assert made["invite_url"] == f"https://tools.example.com/invites/{made['token']}"


def test_without_an_address_it_is_a_token_and_the_command(home: Path) -> None:
    result = run(home, "invites", "create", "a@example.com")
    token = result.stdout.strip()
    assert f"tintype invites accept {token}" in result.stderr
    assert run(home, "invites", "accept", token).stdout.startswith("pk_live_")
    assert code(run(home, "invites", "accept", token)) == "invite_not_found"


def test_an_invite_is_revoked(home: Path) -> None:
    made = out(home, "invites", "create", "a@example.com")
    assert out(home, "invites", "revoke", made["id"])["status"] == "revoked"
    assert code(run(home, "invites", "accept", made["token"])) == "invite_not_found"
    assert code(run(home, "invites", "revoke", "x")) == "invite_not_found"
    assert "revoked the invite of" in run(home, "invites", "revoke", made["id"]).stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("create", "nobody"), 1),
        (("create", "a@example.com", "--expires-in-days", "0"), 1),
        (("create", "a@example.com", "--expires-in-days", "x"), 2),
        (("create", "a@example.com", "--role", "root"), 2),
        (("list", "--status", "lost"), 2),
        (("accept", "x", "--full-name", "\n"), 1),
    ],
)
def test_bad_invites_are_refused(home: Path, arguments: tuple[str, ...], exit_code: int) -> None:
    assert run(home, "invites", *arguments).exit_code == exit_code
    assert out(home, "invites", "list") == []


def test_the_organization_is_shown_and_renamed(home: Path) -> None:
    changed = out(home, "organization", "update", "--name", "Roads", "--billing-email", "b@example.com")
    assert (changed["name"], changed["billing_email"]) == ("Roads", "b@example.com")
    assert out(home, "organization", "update", "--billing-email", "none")["billing_email"] is None
    shown = run(home, "organization", "show").stdout
    assert "Roads" in shown
    assert "subscription_tier" in shown
    assert code(run(home, "organization", "update")) == "nothing_to_change"
    assert (
        code(run(home, "organization", "update", "--name", "x", key=make(home, "admin"))) == "role_required"
    )


@pytest.mark.parametrize("group", ["members", "invites", "keys"])
def test_tables_are_for_people(home: Path, group: str) -> None:
    token = run(home, "invites", "create", "a@example.com").stdout.strip()
    run(home, "invites", "accept", token)
    result = run(home, group, "list")
    assert result.exit_code == 0
    assert "a@example.com" in result.stdout
    assert "role" in result.stdout.splitlines()[0]


# The trail


def test_what_is_administered_stands_in_the_audit_trail(home: Path) -> None:
    viewer = make(home, "viewer", "--credit-cap", "5", "--expires-in", "2090-01-01")
    run(home, "keys", "create", "--role", "viewer", "--name", "x", key=viewer)
    run(home, "keys", "list", key="pk_live_nobody")
    token = run(home, "invites", "create", "a@example.com").stdout.strip()
    ann = out(home, "invites", "accept", token)["api_key"]
    run(home, "invites", "accept", token)
    run(home, "keys", "update", viewer[:12], "--credit-cap", "none", "--toolsets", "images")
    run(home, "login", "--api-key", ann)
    rows = trail(home)
    assert {(row["door"], row["agent"]) for row in rows} == {("cli", "tintype cli")}
    assert [(row["tool"], row["outcome"], row["role"]) for row in rows] == [
        ("keys.create", "ok", "owner"),
        ("keys.create", "role_required", "viewer"),
        ("keys.list", "invalid_key", None),
        ("invites.create", "ok", "owner"),
        ("invites.accept", "ok", "member"),
        ("invites.accept", "invite_not_found", None),
        ("keys.update", "ok", "owner"),
        ("login", "ok", "member"),
    ]
    arguments = [json.loads(row["arguments"]) for row in rows]
    assert arguments[0] == {
        "role": "viewer",
        "name": "a viewer",
        "credit_cap": 5,
        "expires_at": "2090-01-01 00:00:00+00:00",
    }
    assert arguments[3] == {"email": "a@example.com", "role": "member", "expires_in_days": 7}
    assert arguments[4] == {"email": "a@example.com"}
    assert arguments[6] == {"key": viewer[:12], "credit_cap": "none", "toolsets": ["images"]}
    for secret in (viewer, token, ann):
        assert secret not in str(rows)
