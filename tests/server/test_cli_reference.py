"""The documented command line is the real one: the seed's commands are all there, and our page is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from support.cli import context, leaf, parse

from tintype_server.cli.group import root

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"

SEED = {
    "init": ["--output", "-o", "--force", "-f"],
    "login": ["--api-key"],
    "datasets list": ["--limit", "-n", "--json", "--api-key"],
    "datasets get": ["--include-images", "-I", "--images-limit", "--api-key"],
    "datasets create": ["--description", "-d", "--api-key"],
    "datasets delete": ["--yes", "-y", "--api-key"],
    "datasets download": ["--output", "-o", "--mode", "--workers", "-w", "--api-key"],
    "images upload": ["--folder", "-f", "--api-key"],
    "images download": ["--output", "-o", "--api-key"],
    "images delete": ["--yes", "-y", "--api-key"],
    "annotations get": ["--api-key"],
    "annotations save": ["--file", "-f", "--api-key"],
    "annotations delete": ["--yes", "-y", "--api-key"],
    "train start": [
        "--pipeline",
        "-p",
        "--gpu",
        "--name",
        "--config",
        "--no-wait",
        "--timeout",
        "--api-key",
    ],
    "train status": ["--api-key"],
    "train cancel": ["--yes", "-y", "--api-key"],
    "train logs": ["--api-key"],
    "models list": ["--limit", "-n", "--json", "--api-key"],
    "models download": ["--output", "-o", "--api-key"],
    "credits balance": ["--json", "--api-key"],
    "credits history": ["--limit", "-n", "--offset", "--json", "--api-key"],
    "credits estimate": ["--quantity", "-q", "--api-key"],
    "agents install-skill": ["--target", "--output"],
    "agents export-tools": ["--output", "-o"],
    "agents list-tools": [],
}
"""Every command of the seed's CLI reference and of its CLI's help, with its options."""

SEED_LINES = """
login
datasets list --api-key pk_live_x
init
datasets list --json
datasets get road-signs --include-images
datasets create new-dataset -d "Description"
datasets delete road-signs --yes
datasets download road-signs -o ./dump --workers 10
images upload road-signs ./photo.jpg --folder /cars
images download ID -o ./out.jpg
images delete ID --yes
annotations get ID
annotations save ID --file ./anns.json
annotations delete ID --yes
train start road-signs --pipeline yolox --gpu a10g
train start road-signs --pipeline detectron2 --gpu a100 --config '{"epochs": 50}'
train start road-signs --pipeline detectron2 --no-wait
train status ID
train cancel ID --yes
train logs ID
models list
models download ID -o ./yolox.onnx
credits balance
credits balance --json
credits history --limit 100
credits estimate training_a10g_per_minute -q 30
agents list-tools
agents export-tools -o tools.json
agents install-skill --target claude-code
agents install-skill --target claude-ai
agents install-skill --target both
"""
"""The lines of the seed's reference, with the arguments that its rendering has swallowed."""

RESOURCES = {"datasets", "images", "annotations", "exports", "train", "models", "credits", "agents"}


def leaves(
    command: click.Command, ctx: click.Context, front: str = ""
) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield front, command
        return
    for name in command.list_commands(ctx):
        inner = command.get_command(ctx, name)
        assert inner is not None
        yield from leaves(inner, ctx, f"{front} {name}".strip())


def options_of(command: click.Command) -> set[str]:
    return {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}


@pytest.mark.parametrize("name", SEED)
def test_every_command_of_the_seed_is_there_with_its_options(name: str) -> None:
    command, rest, _ = leaf(name.split(), context())
    assert rest == []
    assert not set(SEED[name]) - options_of(command)


@pytest.mark.parametrize("line", SEED_LINES.strip().splitlines())
def test_every_line_of_the_seed_parses(line: str) -> None:
    parse(line)


def test_every_command_of_a_resource_speaks_json() -> None:
    for name, command in leaves(root, context()):
        if name.split()[0] in RESOURCES | {"init"}:
            assert "--json" in options_of(command), name


def documented_lines() -> list[str]:
    found = []
    for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.S):
        for line in block.splitlines():
            words = line.split(" | ")[0].split(" > ")[0]
            assert words.startswith("tintype "), line
            found.append(words.removeprefix("tintype "))
    return found


@pytest.mark.parametrize("line", documented_lines())
def test_every_line_of_our_page_parses(line: str) -> None:
    parse(line)


def test_our_page_has_every_command_and_the_common_options() -> None:
    lines, text = documented_lines(), PAGE.read_text()
    for name, _command in leaves(root, context()):
        if name.split()[0] in RESOURCES | {"init", "login", "config"}:
            assert any(line.startswith(name) for line in lines), name
        else:
            assert f"tintype {name.split()[0]}" in text or name.split()[0] in {"demo", "mcp", "registry"}, (
                name
            )
    common = ("--dry-run", "--yes", "--idempotency-key", "--session", "--wait", "--timeout", "--json")
    assert all(f"`{flag}" in text for flag in common)


def test_a_line_that_is_wrong_does_not_parse() -> None:
    with pytest.raises(click.UsageError):
        parse("datasets list --nope")
