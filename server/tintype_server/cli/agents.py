"""``tintype agents``: the tools as data, the skill for Claude, the bundle for Claude Desktop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tintype_server.cli.resource import as_json_option
from tintype_server.settings import Settings
from tintype_tools.snapshot import as_anthropic_tool, as_openai_tool, as_registry_entry, load_snapshot

SHAPES = {"json-schema": as_registry_entry, "anthropic": as_anthropic_tool, "openai": as_openai_tool}
DESCRIPTION_WIDTH = 80


@click.group("agents")
def command() -> None:
    """The tools as data, the skill, the bundle for Claude Desktop. No command here needs a key."""


@command.command("list-tools")
@as_json_option
def list_tools(as_json: bool) -> None:
    """List the tools that agents get. With --json: as `export-tools` writes them."""
    from tintype_server.cli.tables import print_json, print_table

    tools = load_snapshot()["tools"]
    if as_json:
        print_json([as_registry_entry(tool) for tool in tools])
        return
    print_table(
        ("name", "role", "credits", "idempotent", "description"),
        [
            (
                tool["name"],
                tool["required_role"],
                tool["credit_cost"],
                "yes" if tool["idempotent"] else "no",
                _short(tool["description"]),
            )
            for tool in tools
        ],
    )


@command.command("export-tools")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File to write; default: stdout.")
@click.option(
    "--format",
    "shape",
    type=click.Choice(list(SHAPES)),
    default="json-schema",
    show_default=True,
    help="As tools.json has them, or as a provider's SDK takes them.",
)
@click.option("--toolset", "toolsets", multiple=True, help="Only this toolset; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="It is JSON in any case.")
@click.pass_obj
def export_tools(
    settings: Settings, output: Path | None, shape: str, toolsets: tuple[str, ...], as_json: bool
) -> None:
    """Write the registry as a JSON array of tools."""
    import json

    from tintype_server.cli.files import make_folder, save_file
    from tintype_server.cli.tables import print_json
    from tintype_server.runtime import everything
    from tintype_server.settings import parse_toolsets

    wanted = set(parse_toolsets(",".join(toolsets))) if toolsets else None
    tools: list[dict[str, Any]] = [
        SHAPES[shape](tool)
        for tool in load_snapshot()["tools"]
        if wanted is None or tool["toolset"] in wanted
    ]
    if output is None:
        print_json(tools)
        return
    make_folder(output.parent)
    text = json.dumps(tools, indent=2, ensure_ascii=False).encode() + b"\n"
    save_file(everything(settings), output, [text], None, overwrite=True)
    click.echo(f"wrote {len(tools)} tools to {output}", err=True)


@command.command("install-skill")
@click.option(
    "--target",
    type=click.Choice(["claude-code", "claude-ai", "both"]),
    default="claude-code",
    show_default=True,
    help="claude-code: a folder that Claude Code finds; claude-ai: a ZIP to upload at claude.ai.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to put it in. Default: ~/.claude/skills for the folder, here for the ZIP.",
)
@as_json_option
def install_skill(target: str, output: Path | None, as_json: bool) -> None:
    """Install the skill `tintype-cv`; one that is there is replaced."""
    from tintype_server.cli.showing import finish
    from tintype_server.cli.skill import NAME, install_folder, install_zip

    told: dict[str, Any] = {"installed": True, "skill": NAME}
    if target in {"claude-code", "both"}:
        told["claude_code_path"] = str(install_folder(output or Path.home() / ".claude" / "skills"))
    if target in {"claude-ai", "both"}:
        told["claude_ai_zip"] = str(install_zip(output or Path.cwd()))
    finish(None, told, as_json=as_json)


@command.command("bundle")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    default="tintype.mcpb",
    show_default=True,
    help="File to write; one that is there is replaced.",
)
@as_json_option
def bundle(output: Path, as_json: bool) -> None:
    """Write the MCP bundle, which Claude Desktop installs with a double click."""
    from tintype_server.cli.bundle import manifest, write_bundle
    from tintype_server.cli.showing import finish

    path = write_bundle(output)
    told = {"bundle": str(path), "version": manifest()["version"], "size_bytes": path.stat().st_size}
    finish(None, told, as_json=as_json)


def _short(text: str) -> str:
    return text if len(text) <= DESCRIPTION_WIDTH else text[: DESCRIPTION_WIDTH - 1].rstrip() + "…"
