"""How often the right tool is found for a user's request, by the words of its name and descriptions.

    python benchmarks/bench_tools_choice.py [--misses] [--quick]

No model: the retriever is the one of ``search_tools``. Beside it, the same one with names alone, one that
compares letters, and, if ``make sdk`` installed it, the published SDK's descriptions of the tools it has.
Everything takes seconds, so ``--quick`` leaves nothing out. ``--misses`` lists every wrong first choice.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _common import print_result
from tool_choice import (
    Ranker,
    Request,
    Score,
    Tool,
    confusions,
    load_requests,
    load_tools,
    measure,
    names_only,
    rank_by_letters,
)

from tintype_tools.snapshot import as_anthropic_tool
from tintype_tools.tool_search import rank

SDK = Path(__file__).parents[1] / ".sdk" / "pictograph-1.0.0" / "bin" / "python"
SDK_TOOLS = """
import json
from pictograph.agents._registry import REGISTRY
tools = REGISTRY.values() if isinstance(REGISTRY, dict) else REGISTRY
print(json.dumps([
    {"name": t.name, "description": t.description, "input_schema": t.args_schema.model_json_schema()}
    for t in tools
]))
"""
BUDGET = 6_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the same: it is quick")
    parser.add_argument("--misses", action="store_true", help="list every request whose first tool was wrong")
    show_misses = parser.parse_args().misses
    requests, tools = load_requests(), load_tools()
    core = [tool for tool in tools if tool["core"]]
    whole = measure(requests, tools, rank)
    scores = {
        "all tools": whole,
        "all tools, held out": measure([r for r in requests if r.held_out], tools, rank),
        "all tools, not held out": measure([r for r in requests if not r.held_out], tools, rank),
        "core list": measure(requests, core, rank),
        "core list, held out": measure([r for r in requests if r.held_out], core, rank),
        "all tools, by letters": measure(requests, tools, rank_by_letters),
        "peer: names only": measure(requests, names_only(tools), rank),
        "peer: names only, by letters": measure(requests, names_only(tools), rank_by_letters),
    }
    theirs = _sdk_tools()
    if theirs:
        scores |= _beside_sdk(requests, tools, theirs)
    _print_categories(requests, tools)
    _print_confusions(whole, show_misses)
    tokens = {
        name: _tokens(listed) for name, listed in (("core", core), ("all", tools), ("sdk", theirs)) if listed
    }
    for name, listed in tokens.items():
        print(f"tokens of the list, {name}: {listed:.0f}" + (f" of {BUDGET}" if name == "core" else ""))
    print()
    rows = [[name, str(s.count), f"{s.first:.3f}", f"{s.among_three:.3f}"] for name, s in scores.items()]
    print_result(
        "tools_choice",
        ["retriever and tools", "requests", "first", "first three"],
        rows,
        first=whole.first,
        among_three=whole.among_three,
        held_out_among_three=scores["all tools, held out"].among_three,
        core_among_three=scores["core list"].among_three,
        over_names=whole.among_three / scores["peer: names only"].among_three,
        core_tokens=tokens["core"],
    )
    if tokens["core"] >= BUDGET:
        raise SystemExit(f"the default list costs {tokens['core']:.0f} tokens; {BUDGET} are its limit")


def _tokens(tools: Sequence[Tool]) -> float:
    """What clients hand to the model, at four characters for a token, as the registry's test counts."""
    return len(json.dumps([as_anthropic_tool(dict(tool)) for tool in tools])) / 4


def _sdk_tools() -> list[dict[str, Any]]:
    if not SDK.exists():
        return []
    told = subprocess.run([SDK, "-c", SDK_TOOLS], check=True, capture_output=True, text=True).stdout
    found: list[dict[str, Any]] = json.loads(told)
    return found


def _beside_sdk(
    requests: Sequence[Request], tools: Sequence[Tool], theirs: Sequence[Tool]
) -> dict[str, Score]:
    names = {tool["name"] for tool in theirs}
    ours = [tool for tool in tools if tool["name"] in names]
    # Their sentences, written by others, as requests for our tools: nobody here chose those words.
    # The tools that they point at by name are no words.
    told = [
        Request(text=re.sub(r"[a-z]+(_[a-z]+)+", "", tool["description"]), tool=tool["name"], arguments={})
        for tool in theirs
    ]
    made = {}
    rankers: tuple[tuple[str, Ranker], ...] = (("", rank), (", by letters", rank_by_letters))
    for tag, ranker in rankers:
        made[f"the SDK's tools, ours{tag}"] = measure(requests, ours, ranker)
        made[f"the SDK's tools, peer: its own words{tag}"] = measure(requests, theirs, ranker)
    made["all tools, asked with the SDK's words"] = measure(told, tools, rank)
    return made


def _print_categories(requests: Sequence[Request], tools: Sequence[Tool]) -> None:
    category = {tool["name"]: tool["category"] for tool in tools}
    print("category: requests, right tool first, among the first three")
    for name in sorted(set(category.values())):
        score = measure([r for r in requests if category[r.tool] == name], tools, rank)
        print(f"  {name}: {score.count}, {score.first:.2f}, {score.among_three:.2f}")
    print()


def _print_confusions(score: Score, everything: bool) -> None:
    print("confusions: right tool <- tool that came first")
    for right, wrong, times in confusions(score.misses):
        print(f"  {right} <- {wrong}" + (f" ({times} times)" if times > 1 else ""))
    print()
    if everything:
        # Not the held-out ones: who reads them cannot write descriptions that these measure.
        for miss in score.misses:
            if not miss.request.held_out:
                print(f"  {miss.request.tool} <- {', '.join(miss.found)}: {miss.request.text}")
        print()


if __name__ == "__main__":
    main()
