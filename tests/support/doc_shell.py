"""Shell blocks of the documentation, line by line.

Commands of ours really run. What would stay (``serve``), ask a person, or train for minutes is read by the
command line's own parser instead; what installs is compared with what the tests themselves install.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from contextlib import chdir
from unittest import mock

import click
from click.testing import CliRunner
from judges import judge
from support import agents
from support.doc_blocks import DATASET, ROOT, Block, Place, make_dataset

from tintype_server.cli.group import root
from tintype_server.mcp import stdio
from tintype_server.settings import Settings

STAYS = {("serve",), ("worker",), ("mcp",), ("demo",)}
ASKS = {("login",): "asks for a key at the terminal"}
TOO_LATE = {
    ("train", "cancel"): "the run of these tests is over; tests/server/test_training_tools.py cancels one"
}
TRAINS = ("train", "start")
ASSIGNMENT = re.compile(r"^[A-Z_][A-Z0-9_]*=")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def logical_lines(code: str) -> list[str]:
    """Lines without comments, joined where they go on."""
    joined = re.sub(r"\\\n\s*", " ", code)
    return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def run_shell(block: Block, place: Place) -> str:
    """Run a block; what its commands printed."""
    if f"datasets create {DATASET}" in block.code:
        _run(f"tintype datasets delete {DATASET} --yes", place)
    elif DATASET in block.code or "_ID" in block.code:
        make_dataset(place)
    place.stale = place.stale or " delete " in block.code
    return "".join(_line(line, place, block.place) for line in logical_lines(block.code))


def _line(line: str, place: Place, where: str) -> str:
    line = place.filled(line)
    words = shlex.split(line, comments=True)
    settings = [words.pop(0) for _ in list(words) if ASSIGNMENT.match(words[0])] if words[1:] else []
    try:
        match words:
            case [*_, "install", "-q", "-c", _, _] | ["pip" | "npm", "install", *_]:
                return _check_install(line)
            case ["python3", "-m", "venv", *_]:
                return _check_install(line)
            case ["source", ".venv/bin/activate"]:
                return ""
            case ["python", script, *_]:
                assert (ROOT / script) in agents.EXAMPLES.glob("*.py"), script  # tests/agents run them
                return ""
            case ["claude", "mcp", "add", _, "--", "tintype", *rest]:
                parse(rest)
                return ""
            case ["tintype", *rest]:
                return _tintype(line, rest, settings, place)
    except (AssertionError, click.ClickException) as error:
        raise AssertionError(f"{where}: {line}\n{error}") from error
    return _run(line, place)


def _tintype(line: str, words: list[str], settings: list[str], place: Place) -> str:
    command = tuple(word for word in words if not word.startswith("-"))[:2]
    if settings:
        with mock.patch.dict(os.environ, dict(pair.split("=", 1) for pair in settings)):
            Settings.from_env()
    if command[:1] in STAYS or command[:1] in ASKS or command in TOO_LATE or "--follow" in words:
        parse(words)
        return ""
    if command == TRAINS:
        words = [*words, "--dry-run"]  # looks up and prices all that the training would need
        line = f"{line.split('#', maxsplit=1)[0]} --dry-run"
    if any(sign in line.split(" #")[0] for sign in "|><$"):
        return _run(line, place)
    with chdir(place.folder):
        done = CliRunner().invoke(root, words, env={**place.environment, "COLUMNS": "200"})
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    _remember(words, done.output, place)
    return done.output


def _remember(words: list[str], output: str, place: Place) -> None:
    """A key and an invite that a page goes on with."""
    if key := re.search(r"pk_live_[\w-]+", output):
        place.stand_ins["pk_live_abcd"] = key[0][:12]
    if invite := re.search(r"invite_[\w-]+", output):
        place.stand_ins["invite_…"] = invite[0]


def parse(words: list[str]) -> None:
    """Refuse commands, options and values that the command line would refuse, and run nothing."""
    group: click.Command = root
    context = root.make_context("tintype", list(words))
    while isinstance(group, click.Group):
        rest = [*context._protected_args, *context.args]
        name, found, rest = group.resolve_command(context, rest)
        assert found is not None, name
        if found.name == "mcp":
            parse_mcp(rest)
            return
        context, group = found.make_context(name, rest, parent=context), found


def parse_mcp(arguments: list[str]) -> None:
    """The same for ``tintype mcp``, which has a parser of its own."""
    try:
        stdio._parse(arguments)
    except SystemExit as refused:
        raise AssertionError(f"tintype mcp {shlex.join(arguments)}") from refused


def _run(line: str, place: Place) -> str:
    """Let bash run a line, and keep what it exported."""
    kept = place.folder / ".exported"
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{line}\nenv -0 > {shlex.quote(str(kept))}"],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    now = dict(pair.split("=", 1) for pair in kept.read_text().split("\0") if "=" in pair)
    kept.unlink()
    place.variables |= {k: v for k, v in now.items() if k.isupper() and v != place.environment.get(k)}
    place.variables = {k: v for k, v in place.variables.items() if k not in {"SHLVL", "PWD", "OLDPWD"}}
    return done.stdout


def _check_install(line: str) -> str:
    """What is to be installed is what we are made of, or what the tests install themselves."""
    ours = [*agents.PACKAGES, judge.LANGCHAIN, *judge.AI_SDK, *judge.NPM]
    known = {re.sub(r"(?<=.)[@=].*", "", package) for package in ours}
    for command in line.split("&&"):
        words = shlex.split(command, comments=True)
        if "install" not in words:
            assert words[0] in {"python3", "source", ".venv/bin/tintype", ".venv/bin/pytest"}, command
            continue
        rest = iter(words[words.index("install") + 1 :])
        for word in rest:
            if word == "-c":
                assert (ROOT / next(rest)).exists(), command
            elif re.fullmatch(r"\.(\[[\w,]+\])?", word):
                extras = set(word[2:-1].split(",")) - {""}
                assert extras <= set(PROJECT["optional-dependencies"]), command
            elif not word.startswith("-"):
                assert word in known, f"{word}: nothing in the tests installs it"
    return ""
