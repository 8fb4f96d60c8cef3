"""Every effect that a tool can tell of has words, and they make sentences."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tintype_tools
from tintype_studio.history.changes import Kind
from tintype_studio.units import size_in_words
from tintype_tools.call import Affected
from tintype_tools.wording import DEEDS, DETAILS, deed_in_words

ROOT = Path(tintype_tools.__file__).parent
MAKERS = {"Affected", "tried"}
"""What takes a kind as its first argument."""


def _trees() -> Iterator[ast.Module]:
    for path in ROOT.rglob("*.py"):
        yield ast.parse(path.read_text())


def _kinds_of_tools() -> set[str]:
    return {
        node.args[0].value
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in MAKERS
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def _details_of_tools() -> set[str]:
    """Keys of the dictionaries that are called ``detail`` where an ``Affected`` is made."""
    found: set[str] = set()
    for tree in _trees():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef) or "Affected" not in ast.dump(function):
                continue
            for node in ast.walk(function):
                named = (isinstance(node, ast.keyword) and node.arg == "detail") or (
                    isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "detail"
                )
                if named and isinstance(node.value, ast.Dict):
                    found |= {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
    return found


def test_the_search_finds_what_tools_tell_of() -> None:
    assert {"export.deleted", "member.removed", "annotations.saved"} <= _kinds_of_tools()
    assert {"size", "max_minutes", "existing"} <= _details_of_tools()


def test_every_kind_has_words_and_no_words_are_for_nothing() -> None:
    assert set(DEEDS) == {*Kind, *_kinds_of_tools()}


def test_every_detail_of_a_tool_has_words() -> None:
    assert _details_of_tools() <= set(DETAILS)


@pytest.mark.parametrize("kind", [*DEEDS, "things.painted"])
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("name", [None, "ann"])
@pytest.mark.parametrize("dataset", [None, "signs"])
def test_all_words_make_a_plain_phrase(kind: str, count: int, name: str | None, dataset: str | None) -> None:
    text = deed_in_words(Affected(kind, count, dataset, name, {"size": 208, "after": 0, "brand_new": 3}))
    assert text.endswith(" (208 bytes, 0 after, brand new: 3)")
    assert not set("{}_.:") & set(text.removesuffix(" (208 bytes, 0 after, brand new: 3)"))
    assert "  " not in text


@pytest.mark.parametrize(
    ("affected", "phrase"),
    [
        (
            Affected("annotations.saved", 1, "signs", "/a.jpg", {"before": 1, "after": 0}),
            "change the annotations of the image '/a.jpg' of the dataset 'signs' (1 before, 0 after)",
        ),
        (
            Affected("export.deleted", 1, "signs", "one", {"size": 1437}),
            "delete the export 'one' of the dataset 'signs' with its ZIP file (1.4 kB)",
        ),
        (
            Affected("dataset.deleted", 1, "signs", "signs", {"images": 3, "annotations": 1}),
            "delete the dataset 'signs' (3 images, 1 annotation)",
        ),
        (Affected("images.deleted", 2000, "signs"), "delete 2,000 images of the dataset 'signs'"),
        (Affected("dataset.created", 1, "signs"), "create the dataset 'signs'"),
    ],
)
def test_what_people_read(affected: Affected, phrase: str) -> None:
    assert deed_in_words(affected) == phrase


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (3 * 10**9, "3.0 GB"),
    ],
)
def test_sizes(size: int, words: str) -> None:
    assert size_in_words(size) == words
