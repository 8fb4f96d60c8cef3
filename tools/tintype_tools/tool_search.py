"""Which tools fit a wish, by words: BM25 over names, titles, descriptions and arguments.

No model and no index on disk: a registry is small enough to be weighed anew for every query, and words are
what a model that searches for tools has. ``benchmarks/bench_tools_choice.py`` measures it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

SATURATION, LENGTH = 1.2, 0.75
"""BM25's k1 and b, at their usual values."""

WEIGHTS = {"name": 4.0, "title": 2.0, "description": 1.5, "arguments": 0.5}
"""How much a word counts by where it stands."""

NAMED = 1000.0
"""What it counts that a query has a tool's whole name: more than any words."""

_WORD = re.compile(r"[^\W_]+")
_NAME = re.compile(r"[a-z]+(?:_[a-z]+)+")
_COMPOUND = re.compile(r"\w+(?:[-_./]\w+)+")
_EXAMPLE = re.compile(r"such as \S+|'[^']*'")

STOP_WORDS = frozenset(
    _WORD.findall(
        "a about all also an and any are as at be been but by can could did do does doing for from "
        "get give go had has have here how i if in into is it its just let many me much my need no "
        "not now of off ok on one only or our out over please shall should show so some something "
        "tell than that the their them then there these they thing this those to too under up us use "
        "very want was we were what when where which who why will with would yes you your"
    )
)
"""Words that say nothing of the task, 'use when' included."""

SAME = (
    "image picture photo photograph shot jpg png",
    "annotation annotate label",
    "outline contour segment",
    "dataset collection",
    "delete remove erase discard drop wipe clear throw rid",
    "create new fresh",
    "change edit correct modify",
    "upload push",
    "download fetch",
    "import migrate",
    "model network detector classifier",
    "export zip pack",
    "credit money price cost charge afford expensive",
    "key token",
    "member team colleague people person",
    "organization company account",
    "tier plan",
    "invite invitation",
    "cancel stop abort interrupt kill",
    "undo revert restore rollback",
    "video clip footage mp4 mkv",
    "frame still",
    "folder directory subdirectory",
    "draft suggestion suggest proposal propose",
    "reject rubbish",
    "accept approve",
    "agree consent proceed",
    "job task background",
    "duplicate identical",
    "similarity similar lookalike",
    "train fit teach",
    "link url address presigned",
    "recycle trash",
    "damage corrupt intact broken",
    "measure accuracy metric",
)
"""Words that people use for the same thing, the registry's own first."""


def rank(query: str, tools: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Names of the tools that share a word with a query, and their scores, best first.

    ``tools`` are entries of the snapshot: ``name``, ``description`` and ``input_schema``, and ``title`` if
    there is one. Equal scores come in the order of names.
    """
    names = frozenset(tool["name"] for tool in tools)
    bags = {tool["name"]: _bag(tool, names) for tool in tools}
    if not bags:
        return []
    spread = Counter(term for bag in bags.values() for term in bag)
    named = set(_NAME.findall(query))
    wanted = dict.fromkeys(_terms(_COMPOUND.sub(lambda m: _unless_name(m[0], spread), query)))
    usual = sum(map(_size, bags.values())) / len(bags)
    scores = {}
    for name, bag in bags.items():
        norm = SATURATION * (1 - LENGTH + LENGTH * _size(bag) / usual)
        scores[name] = sum(
            math.log(1 + (len(bags) - spread[term] + 0.5) / (spread[term] + 0.5))
            * bag[term]
            * (SATURATION + 1)
            / (bag[term] + norm)
            for term in wanted
            if term in bag
        ) + NAMED * (name in named)
    return sorted(((n, s) for n, s in scores.items() if s > 0), key=lambda found: (-found[1], found[0]))


def _unless_name(compound: str, known: Mapping[str, int]) -> str:
    """A compound of words that tools use, or nothing: 'road-signs' names a dataset, 'pre-label' a task."""
    return compound if all(term in known for term in _terms(compound)) else " "


def _size(bag: Mapping[str, float]) -> float:
    return sum(bag.values())


def _bag(tool: Mapping[str, Any], names: frozenset[str]) -> dict[str, float]:
    bag: dict[str, float] = {}
    for part, text in _parts(tool, names):
        for term in _terms(text):
            bag[term] = bag.get(term, 0.0) + WEIGHTS[part]
    return bag


def _parts(tool: Mapping[str, Any], names: frozenset[str]) -> Iterator[tuple[str, str]]:
    yield "name", tool["name"]
    yield "title", tool.get("title", "")
    # A tool that points at another one ("undo_call brings it back") does not do what that one does.
    yield "description", _NAME.sub(lambda m: "" if m[0] in names else m[0], tool["description"])
    for name, schema in tool["input_schema"].get("properties", {}).items():
        choices = " ".join(map(str, schema.get("enum", ())))
        told = _EXAMPLE.sub("", schema.get("description", ""))
        yield "arguments", f"{name} {told} {choices}"


@lru_cache(maxsize=4096)
def _terms(text: str) -> tuple[str, ...]:
    words = (w for w in _WORD.findall(text.casefold().replace("'s", "")) if w not in STOP_WORDS)
    return tuple(_MEANT.get(stem, stem) for stem in map(_stem, words))


def _stem(word: str) -> str:
    """A word without its commonest English endings, so that labelled, labels and labelling meet."""
    if len(word) <= 3 or not word.isalpha():
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ations", "ation", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiosz":
        word = word[:-1]
    if len(word) > 4 and word.endswith("ate"):
        word = word[:-3]
    if len(word) > 4 and word.endswith("at"):
        word = word[:-2]
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


_MEANT = {_stem(word): _stem(line.split()[0]) for line in SAME for word in line.split()}
