"""Rules of the house, as tests: imports point down, files stay small, public things are documented."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {"studio/tintype_studio": 1, "tools/tintype_tools": 2, "server/tintype_server": 3}
RANK = {path.split("/")[1]: rank for path, rank in FLOORS.items()}
SOURCES = sorted(p for floor in FLOORS for p in (ROOT / floor).rglob("*.py"))
TRANSPORTS = {"mcp", "fastapi", "starlette", "uvicorn", "click", "httpx", "httpx2"}
CALLS_OUT = {
    "studio/tintype_studio/connectors/web.py": {"httpx"},
    "tools/tintype_tools/adapters/answered.py": {"httpx"},
    "tools/tintype_tools/adapters/remote.py": {"httpx"},
}
"""Who is a client of somebody else's server, and serves nobody."""
LONGEST_FILE = 500


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name.split(".")[0] for name in found}


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_imports_only_point_down(path: Path) -> None:
    floor = next(rank for prefix, rank in FLOORS.items() if path.is_relative_to(ROOT / prefix))
    imported = _imports(path)
    assert all(RANK[name] <= floor for name in imported & set(RANK))
    if floor < 3:
        assert not imported & TRANSPORTS - CALLS_OUT.get(_name(path), set())


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_no_file_holds_two_things(path: Path) -> None:
    if "migrations/versions" in str(path):
        return
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_modules_and_public_things_say_what_they_are(path: Path) -> None:
    if "migrations/versions" in str(path):
        return
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module has no docstring"
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("tintype_server.mcp.stdio", {"mcp", "sqlalchemy", "pydantic", "numpy", "asyncio"}),
        ("tintype_server.cli.group", {"mcp", "sqlalchemy", "numpy", "rich", "fastapi"}),
        ("tintype_tools.snapshot", {"sqlalchemy", "numpy", "pydantic"}),
        ("tintype_server.opening", {"numpy", "PIL", "cv2", "mcp", "alembic"}),
    ],
)
def test_start_up_paths_stay_light(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not heavy & {name.split(".")[0] for name in loaded.split()}


def test_every_setting_guard_and_command_is_documented() -> None:
    from tintype_server.cli.main import COMMANDS
    from tintype_server.dispatch.dispatcher import GUARDS

    text = "".join(p.read_text() for p in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    settings = ast.parse((ROOT / "server/tintype_server/settings.py").read_text())
    fields = [
        node.target.id
        for cls in settings.body
        if isinstance(cls, ast.ClassDef)
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    missing = [f"TINTYPE_{f.upper()}" for f in fields if f"TINTYPE_{f.upper()}" not in text]
    missing += [f"tintype {c}" for c in COMMANDS if f"tintype {c}" not in text]
    missing += [g.__name__ for g in GUARDS if f"**{g.__name__}**" not in text]
    assert not missing


def test_every_tool_and_error_code_class_is_documented() -> None:
    from tintype_studio import errors
    from tintype_tools.snapshot import load_snapshot

    text = "".join(p.read_text() for p in (ROOT / "docs").rglob("*.md"))
    missing = [t["name"] for t in load_snapshot()["tools"] if f"`{t['name']}`" not in text]
    missing += [
        e.default_code
        for e in vars(errors).values()
        if isinstance(e, type) and issubclass(e, errors.TintypeError) and f"`{e.default_code}`" not in text
    ]
    assert not missing
