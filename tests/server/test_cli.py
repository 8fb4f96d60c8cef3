"""The command line: tidy errors, exit codes, keys, registry, and tools as commands."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from support.pictures import scene

from tintype_server.cli.group import root
from tintype_server.cli.main import COMMANDS
from tintype_studio.errors import NotFound
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


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "mcp"])
def test_every_command_has_help(home: Path, name: str) -> None:
    result = run(home, name, "--help")
    assert (result.exit_code, result.stdout.startswith("Usage: ")) == (0, True)


@pytest.mark.parametrize("name", ["mcp", "datasets"])
def test_help_is_there_in_a_process_of_its_own(home: Path, name: str) -> None:
    """``mcp`` starts on another road than the rest."""
    result = command_alone(home, name, "--help")
    assert result.returncode == 0
    assert "usage" in result.stdout.lower() + result.stderr.lower()


def command_alone(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that stands first, without ``--home`` before it."""
    return subprocess.run(
        [sys.executable, "-m", "tintype_server", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "TINTYPE_HOME": str(home)},
        check=False,
    )


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


def test_the_last_owner_key_stays(home: Path) -> None:
    (owner,) = json.loads(run(home, "keys", "list", "--json").stdout)
    result = run(home, "keys", "revoke", owner["id"])
    assert (result.exit_code, "last_owner_key" in result.stderr) == (1, True)
    assert run(home, "call", "list_datasets").exit_code == 0


@pytest.mark.parametrize("toolsets", ["dataset", "datasets,nope", ","])
def test_a_key_for_an_unknown_toolset_is_not_made(home: Path, toolsets: str) -> None:
    result = run(home, "keys", "create", "--role", "viewer", "--name", "v", "--toolsets", toolsets)
    assert_refused(result, "unknown_toolset")
    assert len(json.loads(run(home, "keys", "list", "--json").stdout)) == 1


def test_a_key_for_known_toolsets_is_made(home: Path) -> None:
    key = run(
        home, "keys", "create", "--role", "member", "--name", "v", "--toolsets", "datasets, results"
    ).stdout.strip()
    assert run(home, "call", "create_dataset", "--name", "x", key=key).exit_code == 0
    assert_refused(run(home, "call", "get_credit_balance", key=key), "toolset_required")


@pytest.mark.parametrize("name", ["[bold]x", "a [b", ":car:"])
def test_key_names_are_shown_as_they_are(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run(home, "keys", "create", "--role", "viewer", "--name", name)
    assert name in run(home, "keys", "list").stdout


def assert_refused(result: Result, code: str) -> None:
    """Exit code 1 and two lines, of which the first ends with the code."""
    assert result.exit_code == 1, result.stderr
    assert result.stdout == ""
    error, fix = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert error.endswith(f"({code})")
    assert fix.startswith("fix: ")


@pytest.mark.parametrize("below", ["", "further/down"])
def test_a_home_that_is_a_file_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "home").write_text("x")
    assert_refused(run(tmp_path / "home" / below, "call", "list_datasets"), "home_unusable")
    assert (tmp_path / "home").read_text() == "x"


@pytest.mark.parametrize("started_before", [True, False])
def test_a_home_that_cannot_be_written_is_refused(home: Path, started_before: bool) -> None:
    if started_before:
        run(home, "call", "list_datasets")
    home.mkdir(exist_ok=True)
    (home / "run").mkdir(exist_ok=True)
    for folder in (home, home / "run"):
        folder.chmod(0o500)
    as_user = []
    if os.geteuid() == 0:
        if not (setpriv := shutil.which("setpriv")):
            pytest.skip("root may write everywhere")
        as_user = [setpriv, "--bounding-set=-dac_override,-dac_read_search"]
    try:
        result = command(home, "call", "list_datasets", before=as_user)
    finally:
        for folder in (home, home / "run"):
            folder.chmod(0o700)
    assert (result.returncode, result.stdout) == (1, "")
    error, fix = result.stderr.splitlines()
    assert error == "error: The workspace's folder cannot be used: Permission denied. (home_unusable)"
    assert fix.startswith("fix: ")


def command(home: Path, *arguments: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-m", "tintype_server", "--home", str(home), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("limit", [0, 10, 5_000, 100_000])
def test_a_first_start_on_a_full_disk_is_refused_and_works_later(home: Path, limit: int) -> None:
    """A limit on file sizes stands for the full disk: the kernel refuses the write in the same place."""
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from tintype_server.cli.main import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "--home", str(home), "call", "list_datasets"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    error, fix = result.stderr.splitlines()
    assert error.endswith("(storage_failed)")
    assert fix.startswith("fix: ")
    assert run(home, "call", "list_datasets").exit_code == 0


@pytest.mark.parametrize("content", [b"\xff\xfe", b"api_key", b'[default]\napi_key = "pk'])
def test_a_damaged_key_file_is_refused(home: Path, content: bytes) -> None:
    run(home, "call", "list_datasets")
    key = (home / "config.toml").read_text().split('"')[1]
    (home / "config.toml").write_bytes(content)
    for arguments in (("call", "list_datasets"), ("keys", "list")):
        assert_refused(run(home, *arguments), "config_damaged")
    assert run(home, "call", "list_datasets", key=key).exit_code == 0


def test_a_damaged_secret_is_refused(home: Path) -> None:
    run(home, "call", "list_datasets")
    (home / "secret.key").write_text("garbage")
    assert_refused(run(home, "call", "list_datasets"), "secret_damaged")


def test_a_damaged_database_is_refused(home: Path) -> None:
    home.mkdir()
    (home / "tintype.db").write_bytes(b"garbage" * 1000)
    assert_refused(run(home, "call", "list_datasets"), "database_unusable")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("DATABASE_URL", "nonsense", "invalid_setting"),
        ("DATABASE_URL", "nosuchdatabase://x", "invalid_setting"),
        ("DATABASE_URL", "sqlite:////nowhere/at/all.db", "database_unusable"),
        ("BLOB_URL", "nosuchstore://x", "invalid_setting"),
        ("BLOB_URL", "://", "invalid_setting"),
    ],
)
def test_a_wrong_url_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, code: str
) -> None:
    monkeypatch.setenv(f"TINTYPE_{name}", value)
    assert_refused(run(home, "call", "list_datasets"), code)


def test_errors_at_the_start_are_json_if_asked(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("x")
    result = run(tmp_path / "home", "--json-errors", "call", "list_datasets")
    assert result.exit_code == 1
    assert json.loads(result.stderr)["error"]["code"] == "home_unusable"


def test_the_stdio_door_tells_why_it_cannot_start(home: Path) -> None:
    run(home, "call", "list_datasets")
    (home / "config.toml").write_text("garbage")
    hello = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n'
    result = subprocess.run(
        [sys.executable, "-m", "tintype_server", "mcp", "--home", str(home)],
        input=hello,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "config.toml" in json.loads(result.stdout.splitlines()[0])["error"]["message"]
    assert "Traceback" not in result.stderr


@pytest.fixture
def shown(home: Path, tmp_path: Path) -> tuple[str, ...]:
    """Arguments that preview a picture."""
    (tmp_path / "a.png").write_bytes(scene())
    run(home, "call", "create_dataset", "--name", "d")
    upload = ("--dataset-name", "d", "--file-path", str(tmp_path / "a.png"))
    image = json.loads(run(home, "call", "upload_image", *upload).stdout)
    return ("call", "preview_image", "--image-uuid", image["id"])


def test_a_picture_is_saved(home: Path, tmp_path: Path, shown: tuple[str, ...]) -> None:
    result = run(home, *shown, "--picture", str(tmp_path / "out.bin"))
    assert result.exit_code == 0, result.stderr
    assert Image.open(tmp_path / "out.bin").size[0] > 0
    for name, format in (("out.png", "PNG"), ("out.webp", "WEBP"), ("out.jpg", "JPEG")):
        assert run(home, *shown, "--picture", str(tmp_path / name)).exit_code == 0
        assert Image.open(tmp_path / name).format == format


def test_a_picture_that_cannot_be_saved_is_refused_before_the_call(
    home: Path, tmp_path: Path, shown: tuple[str, ...]
) -> None:
    assert_refused(run(home, *shown, "--picture", str(tmp_path / "no" / "x.png")), "picture_not_written")
    (tmp_path / "loop.png").symlink_to("loop.png")
    result = run(home, *shown, "--picture", str(tmp_path / "loop.png"))
    assert (result.exit_code, "(picture_not_written)" in result.stderr) == (1, True)
    assert "Traceback" not in result.stderr


@click.command()
@click.pass_obj
def broken(_settings: object) -> None:
    raise ExceptionGroup("wrapped", [ExceptionGroup("twice", [ZeroDivisionError("line one\nline two")])])


@click.command()
def refusing() -> None:
    raise ExceptionGroup("wrapped", [OSError("noise"), ExceptionGroup("twice", [NotFound("Not here.")])])


def test_an_unexpected_error_is_two_lines(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tintype_server.cli.group.load_command", lambda _name: broken)
    result = run(home, "tools")
    assert_refused(result, "internal")
    assert "ZeroDivisionError: line one line two" in result.stderr
    as_json = json.loads(run(home, "--json-errors", "tools").stderr)["error"]
    assert (as_json["code"], as_json["retryable"]) == ("internal", False)


def test_its_traceback_is_there_for_those_who_ask(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tintype_server.cli.group.load_command", lambda _name: broken)
    logger = logging.getLogger("tintype")
    monkeypatch.setattr(logger, "level", logger.level)
    assert run(home, "--debug", "tools").exit_code == 1
    assert "Traceback" in caplog.text


def test_a_refusal_inside_a_group_of_errors_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tintype_server.cli.group.load_command", lambda _name: refusing)
    assert_refused(run(home, "tools"), "not_found")


@pytest.mark.parametrize("text", ["[" * 100_000, "\ud800"], ids=["deep", "no-json"])
def test_arguments_that_cannot_be_read_are_a_usage_error(home: Path, text: str) -> None:
    assert run(home, "call", "create_dataset", "--args", text).exit_code == 2
