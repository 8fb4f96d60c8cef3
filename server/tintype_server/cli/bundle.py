"""The MCP bundle (``.mcpb``) that Claude Desktop installs with a double click.

It holds Tintype's own code and says what that needs; the host brings ``uv``, which fetches Python and the
packages on the first start. The format is the manifest's version 0.4, the first with servers of type ``uv``.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tintype_studio.errors import Unavailable

MANIFEST_VERSION = "0.4"
PACKAGES = ("tintype_server", "tintype_tools", "tintype_studio")
OLDEST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
FOLDER = "folder"
ICON = "icon.png"
README = """# Tintype

An agent tool server for computer vision, as an MCP bundle. `uv` runs it; its first start fetches what
pyproject.toml names.
"""


def write_bundle(output: Path) -> Path:
    """Write the bundle to a file; an older one is replaced. The same code makes the same bytes.

    Raises ``InvalidInput`` (``invalid_path``) where its folder cannot be made, and ``Unavailable``
    (``write_failed``).
    """
    from tintype_server.cli.files import make_folder

    make_folder(output.parent)
    try:
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".tintype-") as scratch:
            part = Path(scratch) / "part"
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in sorted(_files().items()):
                    entry = zipfile.ZipInfo(name, OLDEST_ZIP_DATE)
                    entry.external_attr = 0o644 << 16
                    archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
            part.replace(output)
    except OSError as error:
        raise Unavailable(
            f"The bundle could not be written: {error.strerror or type(error).__name__}.",
            code="write_failed",
            fix="Name another file with --output.",
            retryable=False,
        ) from error
    return output


def manifest() -> dict[str, Any]:
    """What the host reads: who made it, how it is started, what it asks its user."""
    from tintype_server.mcp.identity import TITLE
    from tintype_tools.snapshot import visible_tools

    about = _project()
    starts = ["run", "--project", "${__dirname}", "--no-dev", "tintype", "mcp"]
    return {
        "manifest_version": MANIFEST_VERSION,
        "name": about["name"],
        "display_name": TITLE,
        "version": about["version"],
        "description": about["description"],
        "author": {"name": about["authors"][0]["name"]},
        "license": about["license"],
        "icon": ICON,
        "keywords": about["keywords"],
        "server": {
            "type": "uv",
            "entry_point": "src/tintype_server/__main__.py",
            "mcp_config": {"command": "uv", "args": [*starts, "--root", f"${{user_config.{FOLDER}}}"]},
        },
        "tools": [
            {"name": tool["name"], "description": tool["description"]}
            for tool in visible_tools("owner", None)
        ],
        "tools_generated": True,
        "prompts_generated": True,
        "user_config": {
            FOLDER: {
                "type": "directory",
                "title": "Folder",
                "description": "The only folder whose files the tools may read and write.",
                "required": True,
                "default": "${HOME}/Pictures",
            }
        },
        "compatibility": {
            "platforms": ["darwin", "win32", "linux"],
            "runtimes": {"python": about["requires-python"]},
        },
    }


def _files() -> dict[str, bytes]:
    from tintype_server.cli.skill import NAME, skill_path
    from tintype_tools.snapshot import snapshot_path

    files = {
        "manifest.json": json.dumps(manifest(), indent=2, ensure_ascii=False).encode() + b"\n",
        "pyproject.toml": _pyproject().encode(),
        "README.md": README.encode(),
        ICON: (_folder("tintype_server") / "mcp" / "views" / ICON).read_bytes(),
        "src/tintype_tools/registry.json": snapshot_path().read_bytes(),
    }
    folders = {f"src/{package}": _folder(package) for package in PACKAGES}
    folders[f"src/tintype_server/skills/{NAME}"] = skill_path()
    for name, folder in folders.items():
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                files[f"{name}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return files


def _folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _pyproject() -> str:
    # A JSON string or array of strings is TOML as well.
    about = _project()
    kept = ("name", "version", "description", "license", "keywords", "requires-python", "dependencies")
    lines = [
        "[build-system]",
        'requires = ["hatchling>=1.27"]',
        'build-backend = "hatchling.build"',
        "",
        "[project]",
        *(f"{key} = {json.dumps(about[key])}" for key in kept),
        f"authors = [{{ name = {json.dumps(about['authors'][0]['name'])} }}]",
        "",
        "[project.scripts]",
        'tintype = "tintype_server.cli.main:main"',
        "",
        "[tool.hatch.build]",
        'dev-mode-dirs = ["src"]',
        "",
        "[tool.hatch.build.targets.wheel]",
        f"packages = {json.dumps([f'src/{package}' for package in PACKAGES])}",
    ]
    return "\n".join(lines) + "\n"


def _project() -> dict[str, Any]:
    """The package's own data, as pyproject.toml's table ``project`` has them."""
    import tomllib
    from importlib.metadata import metadata

    checkout = _folder("tintype_server").parents[1] / "pyproject.toml"
    if checkout.is_file():
        # An editable installation knows only what the file said when it was installed.
        found: dict[str, Any] = tomllib.loads(checkout.read_text())["project"]
        if found.get("name") == "tintype":
            return found
    told = metadata("tintype")
    return {
        "name": told["Name"],
        "version": told["Version"],
        "description": told["Summary"],
        "authors": [{"name": told["Author"]}],
        "license": told["License-Expression"],
        "keywords": told["Keywords"].split(","),
        "requires-python": told["Requires-Python"],
        "dependencies": [line for line in told.get_all("Requires-Dist") or [] if "extra ==" not in line],
    }
