"""The command line: tidy errors, exit codes, keys, registry, and tools as commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tintype_server.cli.group import root
from tintype_server.cli.main import COMMANDS
from tintype_tools.snapshot import load_snapshot


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(home: Path, *arguments: str, key: str | None = None, text: str | None = None) -> Result:
    flags = ["--home", str(home)] + (["--api-key", key] if key else [])
    return CliRunner().invoke(root, [*flags, *arguments], input=text)


def test_help_names_every_command(home: Path) -> None:
    shown = run(home, "--help").stdout
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(home: Path, name: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tintype_server", name, "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "TINTYPE_HOME": str(home)},
        check=True,
    )
    assert "usage" in result.stdout.lower() + result.stderr.lower()


def test_a_tools_options_come_from_its_schema(home: Path) -> None:
    made = run(home, "call", "create_dataset", "--name", "road", "--description", "d")
    assert json.loads(made.stdout)["name"] == "road"
    got = run(home, "call", "get_dataset", "--name", "road", "--include-images", "--images-limit", "5")
    assert json.loads(got.stdout)["images"] == []


def test_structured_options_are_json(home: Path) -> None:
    run(home, "call", "create_dataset", "--name", "road")
    result = run(
        home, "call", "set_dataset_classes", "--dataset-name", "road", "--classes", '[{"name": "sign"}]'
    )
    assert json.loads(result.stdout)["classes"] == [{"name": "sign"}]


def test_arguments_may_come_from_stdin(home: Path) -> None:
    result = run(home, "call", "create_dataset", "--args", "-", text='{"name": "piped"}')
    assert json.loads(result.stdout)["name"] == "piped"


def test_a_refusal_is_two_lines_and_exit_code_1(home: Path) -> None:
    result = run(home, "call", "get_dataset", "--name", "nowhere")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[0] == "error: No dataset is named 'nowhere'. (dataset_not_found)"
    assert result.stderr.splitlines()[1].startswith("fix: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("call", "get_dataset", "--nam", "x"),
        ("call", "set_dataset_classes", "--classes", "{"),
        ("call", "create_dataset", "--args", "[]"),
        ("nonsense",),
        ("serve", "--host", "0.0.0.0"),
    ],
)
def test_a_usage_error_is_exit_code_2(home: Path, arguments: tuple[str, ...]) -> None:
    assert run(home, *arguments).exit_code == 2


def test_keys_are_made_listed_and_revoked(home: Path) -> None:
    made = json.loads(run(home, "keys", "create", "--role", "viewer", "--name", "look", "--json").stdout)
    assert made["api_key"].startswith("pk_live_")
    assert made["prefix"] == made["api_key"][:12]
    assert run(home, "call", "list_datasets", key=made["api_key"]).exit_code == 0
    assert run(home, "keys", "list", key=made["api_key"]).exit_code == 1
    listed = json.loads(run(home, "keys", "list", "--json").stdout)
    assert [k["name"] for k in listed] == ["local owner", "look"]
    assert "api_key" not in listed[1]
    assert run(home, "keys", "revoke", made["prefix"]).exit_code == 0
    assert "invalid_key" in run(home, "call", "list_datasets", key=made["api_key"]).stderr


def test_a_key_makes_no_key_above_itself(home: Path) -> None:
    admin = run(home, "keys", "create", "--role", "admin", "--name", "a").stdout.strip()
    result = run(home, "keys", "create", "--role", "owner", "--name", "o", key=admin)
    assert (result.exit_code, "forbidden" in result.stderr) == (1, True)


def test_the_order_of_keys_is_flag_environment_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = run(home, "keys", "create", "--role", "viewer", "--name", "v").stdout.strip()
    monkeypatch.setenv("TINTYPE_API_KEY", viewer)
    assert run(home, "call", "create_dataset", "--name", "x").exit_code == 1
    owner = next(
        line.split('"')[1]
        for line in (home / "config.toml").read_text().splitlines()
        if line.startswith("api_key")
    )
    assert run(home, "call", "create_dataset", "--name", "x", key=owner).exit_code == 0
    monkeypatch.delenv("TINTYPE_API_KEY")
    assert run(home, "call", "create_dataset", "--name", "y").exit_code == 0


def test_the_registry_is_checked_for_drift(home: Path) -> None:
    result = run(home, "registry", "check")
    assert (result.exit_code, result.stdout) == (0, "registry.json is up to date\n")


def test_tools_are_listed_for_people_and_programs(home: Path) -> None:
    listed = json.loads(run(home, "tools", "--json").stdout)
    assert [t["name"] for t in listed] == [t["name"] for t in load_snapshot()["tools"]]
    assert "list_datasets" in run(home, "tools").stdout


def test_a_wrong_setting_is_a_tidy_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINTYPE_MAX_RESPONSE_TOKENS", "lots")
    result = run(home, "call", "list_datasets")
    assert (result.exit_code, "whole number" in result.stderr) == (1, True)
