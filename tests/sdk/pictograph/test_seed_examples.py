"""The index of the seed documentation's examples has every Python block, and is right about its calls."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from support.seed_index import INDEX, Kind, arguments_of, calls_of, document, python_blocks

HERE = Path(__file__).parent


def sources() -> dict[str, str]:
    """The tests of ``test_seed_examples_*.py`` with the scripts that they name, by name."""
    found: dict[str, str] = {}
    for file in sorted(HERE.glob("test_seed_examples_*.py")):
        text = file.read_text()
        tree = ast.parse(text)
        scripts = {
            target.id: ast.get_source_segment(text, node) or ""
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                parts = [ast.get_source_segment(text, node) or "", *(scripts.get(n, "") for n in names)]
                assert node.name not in found, f"two tests are called {node.name}"
                found[node.name] = "\n".join(parts)
    return found


SOURCES = sources()


@pytest.fixture(scope="module")
def examples() -> dict[str, list[str]]:
    file = document()
    if file is None:
        pytest.skip("the seed documentation is not here; set TEST_SEEDS to its folder")
    return python_blocks(file.read_text())


def test_the_index_and_the_tests_know_each_other() -> None:
    named = {test for blocks in INDEX.values() for block in blocks for test in block.tests}
    assert named == set(SOURCES)


def test_what_does_not_run_has_a_reason() -> None:
    for blocks in INDEX.values():
        for block in blocks:
            assert bool(block.why) == (block.kind is not Kind.RUNS)
            assert bool(block.tests) == (block.kind is not Kind.NO_CALL)


def test_every_python_block_is_in_the_index(examples: dict[str, list[str]]) -> None:
    assert {page: len(blocks) for page, blocks in INDEX.items()} == {
        page: len(blocks) for page, blocks in examples.items()
    }


def test_the_tests_make_the_calls_of_their_blocks(examples: dict[str, list[str]]) -> None:
    """With the methods and the names of the arguments that the documentation has."""
    absent = []
    for page, blocks in INDEX.items():
        for number, (block, example) in enumerate(zip(blocks, examples[page], strict=True), 1):
            source = "\n".join(SOURCES[test] for test in block.tests)
            calls = [call for call in calls_of(example) if f"client.{call}(" not in source]
            passed = [] if block.kind is Kind.NO_CALL else arguments_of(page, example)
            arguments = [name for name in passed if not re.search(rf"""\b{name}(=|["']:)""", source)]
            absent += [(page, number, each) for each in (*calls, *arguments)]
    assert absent == []
