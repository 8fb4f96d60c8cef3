"""Requests of users and the tools that they call for: how often a retriever finds these by what is told.

A retriever is no model. It knows only words, so what it misses a model may well understand; but where it
takes one tool for another, their descriptions share words, and that is worth a look.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tintype_tools.export import build_snapshot
from tintype_tools.registry import load_registry

REQUESTS = Path(__file__).with_name("requests.jsonl")

Tool = Mapping[str, Any]
Ranker = Callable[[str, Sequence[Tool]], list[tuple[str, float]]]


@dataclass(frozen=True)
class Request:
    """A user's words, and what to call.

    ``alternatives`` are tools that fit as well. ``arguments`` are those that the words determine; ``open``
    names the required ones that they do not: an id that an earlier answer told. ``source`` is the seed whose
    use case it is, if it is one's. Held-out requests are looked at by nobody who changes words.
    """

    text: str
    tool: str
    arguments: dict[str, Any]
    alternatives: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    source: str | None = None
    held_out: bool = False

    @property
    def right(self) -> frozenset[str]:
        """Every tool that is a right choice."""
        return frozenset({self.tool, *self.alternatives})


@dataclass(frozen=True)
class Miss:
    """A request whose first tool was a wrong one."""

    request: Request
    found: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """Shares of requests whose right tool came first, and among the first three."""

    count: int
    first: float
    among_three: float
    misses: tuple[Miss, ...]


def load_requests() -> list[Request]:
    """All of ``requests.jsonl``."""
    made = []
    for line in REQUESTS.read_text().splitlines():
        row = json.loads(line)
        made.append(
            Request(
                text=row["request"],
                tool=row["tool"],
                arguments=row["arguments"],
                alternatives=tuple(row.get("or", ())),
                open=tuple(row.get("open", ())),
                source=row.get("source"),
                held_out=row.get("held_out", False),
            )
        )
    return made


def load_tools() -> list[dict[str, Any]]:
    """Every tool as a snapshot entry, from the code: the committed snapshot may be older."""
    tools: list[dict[str, Any]] = build_snapshot(load_registry())["tools"]
    return tools


def names_only(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """The same tools, of which nothing is told but the name."""
    return [{"name": tool["name"], "description": "", "input_schema": {"properties": {}}} for tool in tools]


def measure(requests: Iterable[Request], tools: Sequence[Tool], rank: Ranker) -> Score:
    """Ask for every request that one of the tools answers."""
    names = {tool["name"] for tool in tools}
    count = first = among_three = 0
    misses = []
    for request in requests:
        if request.tool not in names:
            continue
        found = tuple(name for name, _ in rank(request.text, tools)[:3])
        count += 1
        among_three += not request.right.isdisjoint(found)
        if request.right.isdisjoint(found[:1]):
            misses.append(Miss(request, found))
        else:
            first += 1
    return Score(count, first / max(count, 1), among_three / max(count, 1), tuple(misses))


def confusions(misses: Iterable[Miss]) -> list[tuple[str, str, int]]:
    """``(right tool, tool that came first, times)``, the commonest first."""
    pairs = Counter((miss.request.tool, miss.found[0] if miss.found else "(none)") for miss in misses)
    return [
        (right, wrong, times) for (right, wrong), times in sorted(pairs.items(), key=lambda p: (-p[1], p[0]))
    ]


def rank_by_letters(query: str, tools: Sequence[Tool]) -> list[tuple[str, float]]:
    """A second opinion without stems, idle words or synonyms: cosine of weighted runs of 3 to 5 letters.

    It keeps the words from being chosen for the other retriever alone.
    """
    bags = {tool["name"]: _letters(_told(tool)) for tool in tools}
    spread = Counter(run for bag in bags.values() for run in bag)
    asked = {run: count for run, count in _letters(query).items() if run in spread}

    def weight(run: str, count: int) -> float:
        return (1 + math.log(count)) * math.log(1 + len(bags) / spread[run])

    scores = {}
    for name, bag in bags.items():
        norm = math.sqrt(sum(weight(run, count) ** 2 for run, count in bag.items())) or 1.0
        scores[name] = (
            sum(weight(run, count) * weight(run, bag[run]) for run, count in asked.items() if run in bag)
            / norm
        )
    return sorted(((n, s) for n, s in scores.items() if s > 0), key=lambda found: (-found[1], found[0]))


def _told(tool: Tool) -> str:
    arguments = tool["input_schema"]["properties"].items()
    told = " ".join(f"{name} {schema.get('description', '')}" for name, schema in arguments)
    return f"{tool['name']} {tool.get('title', '')} {tool['description']} {told}"


@lru_cache(maxsize=1024)
def _letters(text: str) -> Counter[str]:
    words = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
    return Counter(
        f" {word} "[at : at + length]
        for word in words
        for length in (3, 4, 5)
        for at in range(len(word) + 3 - length)
    )
