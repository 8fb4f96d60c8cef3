"""Every block of code in the README and the documentation runs, or is compared with what it shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent

import pytest
from judges import judge
from support import dragoneye, edgefirst
from support.doc_blocks import PAGES, ROOT, Block, Place, blocks_of, name_of, open_place
from support.doc_data import check_excerpt, check_json, check_text, check_yaml
from support.doc_shell import run_shell

from tintype_server import create_toolkit

ELSEWHERE = {
    ("README.md", "python"): "server/test_readme.py",
    ("README.md", "json"): "server/test_readme.py",
    ("docs/agents.md", "python"): "agents/test_docs.py",
}
"""Blocks that another test runs: nothing runs twice."""
EXCERPTS = {"docs/jobs.md": "shows the form of a kind of jobs, with gaps that an author fills"}
"""Pages whose Python is no whole program, and why."""
DATA = {"json": check_json, "yaml": check_yaml, "text": check_text}
SITE = {"{toctree}"}
"""What the site's generator reads; the strict build judges it."""
SAYS = {
    "docs/recipes.md": (
        r"^50 of \d+ credits at most$",
        r"^3 images imported \[\]",
        r"^2 labelled, 1 drafts$",
        r"^1 taken over, 0 left",
        r"^7 images, 13 annotations",
        r"^test-1 with 0 images",
        r"^undone: \{.*1.*\}$",
        r"^1 moved$",
    ),
    "docs/discovery.md": (
        r"^create_dataset\tmember\t0$",
        r"night$",
        r"^Names are case-sensitive|list_datasets",
        r"^move_images$",
        r"^\['find_duplicates'",
        r"^200 \{'datasets'",
    ),
}
"""What programs of a page must have printed, so that one that does nothing is noticed."""
MODEL = Path(__file__).parent / "judges" / "clients" / "ai_model.mjs"
WITH_BLOCKS = [page for page in PAGES if blocks_of(page)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with open_place(tmp_path_factory.mktemp("docs")) as opened:
        yield opened


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_the_code_of_the_page_runs(page: Path, place: Place) -> None:
    place.begin_page()
    told = ""
    for block in blocks_of(page):
        if (block.page, block.language) in ELSEWHERE or block.language in SITE:
            continue
        print(block.place)  # pytest shows how far it came
        told += run_block(block, place)
    for words in SAYS.get(name_of(page), ()):
        assert re.search(words, told, re.MULTILINE), f"{words}\n{told}"


def run_block(block: Block, place: Place) -> str:
    """Run or check it; what it printed."""
    if block.language in DATA:
        DATA[block.language](block)
        return ""
    if block.language == "bash":
        return run_shell(block, place)
    if block.language == "js":
        return run_js(block, place)
    assert block.language == "python", f"{block.place}: nothing here knows how to check {block.language!r}"
    if block.page in EXCERPTS:
        check_excerpt(block)
        return ""
    if block.page == "docs/dragoneye.md":
        return in_dragoneye(block, place)
    if block.page == "docs/edgefirst.md":
        return in_edgefirst(block, place)
    if "langchain" in block.code:
        return in_langchain(block, place)
    told = place.run_python(block)
    if '"wait": False' in block.code:
        end_trainings(place)  # else it would go on after its program, and slow down what follows
    return told


def in_dragoneye(block: Block, place: Place) -> str:
    """With Dragoneye's SDK, which has an environment of its own: the page's code up to here, in a coroutine.

    There is no open-vocabulary detector here, so the call that asks for one is refused by the server.
    """
    python = [each for each in blocks_of(ROOT / block.page) if each.language == "python"]
    body = "".join(each.code for each in python if each.line <= block.line) + "print(found)\n"
    code = f"import asyncio\n\n\nasync def main():\n{indent(body, '    ')}\n\nasyncio.run(main())\n"
    done = run_script(dragoneye.installed() / "bin" / "python", code, place)
    if "open_vocabulary" in block.code:
        assert re.search(r"ClientResponseError: (422|503).*/dragoneye/predict", done.stderr), done.stderr
    else:
        assert done.returncode == 0, f"{block.place}\n{done.stderr}"
    return done.stdout


def in_edgefirst(block: Block, place: Place) -> str:
    """With the EdgeFirst client, in an environment of its own; with the imports of the blocks before."""
    python = [each for each in blocks_of(ROOT / block.page) if each.language == "python"]
    before = "".join(each.code for each in python if each.line < block.line)
    imports = re.findall(r"^(?:from|import) .*$", before, re.MULTILINE)
    code = "\n".join([*imports, block.code])
    interpreter = edgefirst.installed(edgefirst.VERSIONS[0]) / "bin" / "python"
    done = run_script(interpreter, code, place, **edgefirst.offline())
    assert done.returncode == 0, f"{block.place}\n{done.stderr}"
    return done.stdout


def in_langchain(block: Block, place: Place) -> str:
    """LangChain has an environment of its own, with an MCP client that is not ours."""
    done = run_script(judge.langchain(), block.code, place)
    assert done.returncode == 0, f"{block.place}\n{done.stderr}"
    return done.stdout


def run_script(interpreter: Path, code: str, place: Place, **env: str) -> subprocess.CompletedProcess[str]:
    """Where the user stands, with the user's environment."""
    script = place.folder / "block.py"
    script.write_text(place.filled(code))
    return subprocess.run(
        [interpreter, script],
        cwd=place.folder,
        env=place.environment | env,
        capture_output=True,
        text=True,
        timeout=60,
    )


def run_js(block: Block, place: Place) -> str:
    """With a model of ours in place of the provider's: it lists the datasets, then repeats what it heard."""
    at = judge.ai_sdk()
    script = at / f"block-{os.getpid()}.mjs"
    variables = f"Object.assign(process.env, {json.dumps(place.variables)});"
    script.write_text(f"{MODEL.read_text()}\n{variables}\n{place.filled(block.code)}")
    try:
        done = judge.run_node(script, place=at, timeout=60)
    finally:
        script.unlink()
    assert done.returncode == 0, f"{block.place}\n{done.stderr}"
    assert "road-signs" in done.stdout, done.stdout
    return done.stdout


def end_trainings(place: Place) -> None:
    """What a page has begun and left."""
    with chdir(place.folder), create_toolkit(home=place.home, confirm=lambda _: True) as toolkit:
        for run in toolkit.dispatch("list_training_runs")["training_runs"]:
            if run["status"] in {"queued", "running"}:
                toolkit.dispatch("cancel_training", {"run_id": run["id"]})


def test_what_is_run_elsewhere_is_run_there() -> None:
    for (page, language), test in ELSEWHERE.items():
        assert (ROOT / "tests" / test).exists()
        assert any(block.language == language for block in blocks_of(ROOT / page))
    for page in EXCERPTS:
        assert any(block.language == "python" for block in blocks_of(ROOT / page))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_code_hides_in_an_indented_block(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if part.strip("\n")]
    assert [part for part in paragraphs if part.strip("\n").startswith("    ")] == []


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    """Broken links and anchors, and pages that no menu has, are errors; nothing comes from elsewhere."""
    if find_spec("sphinx") is None:
        pytest.skip("the extra `docs` is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-nWq", "--keep-going", "docs", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    pages = {page: page.read_text() for page in (tmp_path / "site").rglob("*.html")}
    for text in pages.values():
        assert not re.findall(r"<(?:script|img|iframe)[^>]*src=\"(?:https?:)?//", text)
        assert not re.findall(r"<link[^>]*rel=\"stylesheet\"[^>]*href=\"(?:https?:)?//", text)
    assert "0001-dispatcher.html" in pages[tmp_path / "site" / "decisions" / "README.html"]
    assert "Tags and search" in pages[tmp_path / "site" / "image-search.html"]
