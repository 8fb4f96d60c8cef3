"""``tintype users``: made, listed, changed, removed; the password is told once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.cli import Cli

from tintype_server.edgefirst.tokens import Tokens
from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.errors import Unauthorized


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    for name in [name for name in os.environ if name.startswith("TINTYPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "250")
    return Cli(tmp_path / "home")


def opens(cli: Cli, username: str, password: str) -> bool:
    studio = open_studio(Settings(home=cli.home))
    try:
        studio.logins.open(username, password)
    except Unauthorized:
        return False
    finally:
        studio.close()
    return True


def test_a_login_from_its_making_to_its_end(cli: Cli) -> None:
    made = cli.json("users", "add", "ann", "--role", "member")
    assert (made["username"], made["role"], made["is_active"]) == ("ann", "member", True)
    assert opens(cli, "ann", made["password"])
    (listed,) = cli.json("users", "list")
    assert "password" not in listed
    assert listed["last_used_at"] is not None
    assert "ann" in cli.ok("users", "list")
    changed = cli.json("users", "passwd", "ann")
    assert not opens(cli, "ann", made["password"])
    assert opens(cli, "ann", changed["password"])
    assert cli.json("users", "remove", "ann")["is_active"] is False
    assert not opens(cli, "ann", changed["password"])
    assert cli.json("users", "list") == []


def test_a_password_of_one_s_own(cli: Cli) -> None:
    result = cli.run(
        "users", "add", "ann", "--role", "viewer", "--password-stdin", text="correct horse\nmore"
    )
    assert result.stdout == "correct horse\n"
    assert "not shown again" in result.stderr
    assert opens(cli, "ann", "correct horse")
    cli.ok("users", "passwd", "ann", "--password-stdin", text="another horse\n")
    assert opens(cli, "ann", "another horse")


def test_refusals(cli: Cli) -> None:
    cli.ok("users", "add", "ann", "--role", "viewer")
    cli.refused("username_taken", "users", "add", "ann", "--role", "viewer")
    cli.refused("invalid_name", "users", "add", "a/b", "--role", "viewer")
    for verb in ("remove", "passwd"):
        cli.refused("login_not_found", "users", verb, "bob")
    assert cli.run("users", "add", "bob", "--role", "king").exit_code == 2


def test_a_token_for_a_key(cli: Cli) -> None:
    token = cli.json("users", "token")["token"]
    assert cli.ok("users", "token", "--username", "bob").strip().count(".") == 2
    studio = open_studio(Settings(home=cli.home))
    opened = Tokens(studio).check(token)
    assert studio.keys.authenticate(opened.key).role == "owner"
    studio.close()


def test_passwords_are_not_on_record(cli: Cli) -> None:
    cli.ok("users", "add", "ann", "--role", "viewer", "--password-stdin", text="correct horse\n")
    trail = cli.ok("audit", "--json")
    assert "users.add" in trail
    assert "correct horse" not in trail
    assert json.loads(trail.splitlines()[0])
