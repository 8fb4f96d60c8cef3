"""First start: one local organization, one owner key, whoever comes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio.errors import Unauthorized, Unavailable
from tintype_studio.identity.bootstrap import LOCAL_ALLOWANCE, save_credentials, saved_api_key
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import api_keys, organizations
from tintype_studio.studio import Studio, Workspace

STARTS = """
import sys
from pathlib import Path
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

home = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
studio = Studio(Workspace(home))
principal = studio.keys.authenticate(saved_api_key(home))
print(principal.organization_uuid, principal.key_uuid, flush=True)
studio.close()
"""


def count(studio: Studio, table: sa.Table) -> int:
    with studio.database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def test_the_first_start_makes_an_organization_whose_owner_key_works(studio: Studio) -> None:
    owner = studio.keys.authenticate(saved_api_key(studio.home))
    assert owner.role == Role.OWNER
    assert (count(studio, organizations), count(studio, api_keys)) == (1, 1)
    assert studio.ledger.balance(owner).credits_remaining == LOCAL_ALLOWANCE


def test_what_holds_secrets_is_readable_by_its_user_only(studio: Studio, home: Path) -> None:
    assert (home / "config.toml").stat().st_mode & 0o777 == 0o600
    assert (home / "secret.key").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700


def test_the_second_start_changes_nothing(studio: Studio, open_studio: Any, home: Path) -> None:
    before = (home / "config.toml").read_text()
    again = open_studio()
    assert (home / "config.toml").read_text() == before
    assert (count(again, organizations), count(again, api_keys)) == (1, 1)


def test_the_key_is_in_no_file_but_the_config(studio: Studio, home: Path) -> None:
    key = saved_api_key(home)
    assert key is not None
    studio.close()
    holders = [p.name for p in home.rglob("*") if p.is_file() and key.encode() in p.read_bytes()]
    assert holders == ["config.toml"]


@pytest.mark.parametrize("round_", range(3))
def test_processes_that_start_at_once_share_one_organization_and_one_working_key(
    home: Path, spawn: Any, round_: int
) -> None:
    children = [spawn(STARTS) for _ in range(4)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = [child.communicate(timeout=30)[0].split() for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert len({tuple(answer) for answer in answers}) == 1
    studio = Studio(Workspace(home))
    assert (count(studio, organizations), count(studio, api_keys)) == (1, 1)
    studio.close()


def test_a_key_file_left_by_a_start_that_died_before_its_commit_is_replaced(home: Path) -> None:
    home.mkdir()
    save_credentials(home, "pk_live_nobody_knows_me")
    studio = Studio(Workspace(home))
    assert studio.keys.authenticate(saved_api_key(home)).role == Role.OWNER
    with pytest.raises(Unauthorized):
        studio.keys.authenticate("pk_live_nobody_knows_me")
    studio.close()


def test_a_home_without_a_key_file_has_no_saved_key(tmp_path: Path) -> None:
    assert saved_api_key(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"api_key", b'[default]\napi_key = "pk', b"\x00"],
    ids=["not-utf8", "no-value", "unclosed", "nul"],
)
def test_a_damaged_key_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.toml").write_bytes(content)
    with pytest.raises(Unavailable) as caught:
        saved_api_key(tmp_path)
    assert (caught.value.code, caught.value.retryable) == ("config_damaged", False)
    assert str(tmp_path) not in caught.value.message


def test_a_key_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(Unavailable, match="cannot be read"):
        saved_api_key(tmp_path)


@pytest.mark.parametrize("content", ["", "default = 5", "[default]\napi_key = 5", "[other]\napi_key = 'x'"])
def test_a_key_file_without_a_key_has_no_saved_key(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.toml").write_text(content)
    assert saved_api_key(tmp_path) is None
