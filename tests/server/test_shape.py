"""The response cap: whatever is cut can be read on, item by item, until nothing is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tintype_server.dispatch.guards.shape import shape
from tintype_server.dispatch.running import SMALLEST_BUDGET, RunningCall
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_tools.call import Outcome, Picture, Request


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path_factory.mktemp("shape")))
    yield opened
    opened.close()


def running(runtime: Runtime, budget: int) -> RunningCall:
    request = Request(
        tool="get_annotations",
        arguments={},
        api_key=runtime.local_api_key(),
        door="toolkit",
        files=everything(runtime.settings),
        max_response_tokens=budget,
    )
    call = RunningCall(request, runtime.studio, runtime.registry, runtime.settings, runtime.dispatch)
    call.principal = runtime.studio.keys.authenticate(request.api_key)
    call.spec = runtime.registry.get(request.tool)
    return call


def shaped(runtime: Runtime, value: dict[str, Any], budget: int) -> dict[str, Any]:
    call = running(runtime, budget)
    return shape(call, lambda _call: Outcome(call.id, value)).value


def read_rest(runtime: Runtime, cursor: str, budget: int) -> tuple[list[Any], list[dict[str, Any]]]:
    request = Request(
        tool="read_more",
        arguments={"cursor": cursor},
        api_key=runtime.local_api_key(),
        door="toolkit",
        files=everything(runtime.settings),
        max_response_tokens=budget,
    )
    value = runtime.dispatch(request).value
    cuts = value.get("_truncated", {}).get("cuts", [])
    if cuts and cuts[0]["path"] == "":  # this answer itself came as pieces of text: put it together
        pieces: list[str] = []
        _extend(runtime, pieces, cuts[0]["cursor"], budget)
        return json.loads("".join(pieces))["items"], []
    return value["items"], cuts


def at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def restored(runtime: Runtime, value: dict[str, Any], budget: int) -> Any:
    """Undo every cut by reading on. Inner cuts come first, so that outer lists are extended last."""
    cuts = value.pop("_truncated", {"cuts": []})["cuts"]
    for cut in sorted(cuts, key=lambda c: -c["path"].count(".")):
        if cut["path"] == "":
            pieces: list[str] = []
            _extend(runtime, pieces, cut["cursor"], budget)
            return json.loads("".join(pieces))
        _undo(runtime, value, cut["path"], cut, budget)
    return value


def _undo(runtime: Runtime, root: Any, path: str, cut: dict[str, Any], budget: int) -> None:
    parent_path, _, last = path.rpartition(".")
    parent = at(root, parent_path) if parent_path else root
    key: Any = int(last) if isinstance(parent, list) else last
    if cut["of"] == "pieces":
        pieces: list[str] = []
        _extend(runtime, pieces, cut["cursor"], budget)
        parent[key] += "".join(pieces)
    else:
        del parent[key][cut["shown"] :]
        _extend(runtime, parent[key], cut["cursor"], budget)


def _extend(runtime: Runtime, target: list[Any], cursor: str | None, budget: int) -> None:
    steps = 0
    while cursor:
        items, cuts = read_rest(runtime, cursor, budget)
        assert items, "reading on must move on"
        cursor = None
        for cut in sorted(cuts, key=lambda c: -c["path"].count(".")):
            if cut["path"] == "items":
                cursor = cut["cursor"]
                del items[cut["shown"] :]
            else:
                _undo(runtime, items, cut["path"].removeprefix("items."), cut, budget)
        target += items
        steps += 1
        assert steps < 5000


texts = st.text(st.characters(codec="utf-8"), max_size=40) | st.integers(400, 900).map(lambda n: "ab" * n)
leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(texts, inner, max_size=6),
    max_leaves=300,
)


@given(value=st.dictionaries(st.text("abcdefgh", min_size=1, max_size=5), values, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_is_lost(runtime: Runtime, value: dict[str, Any]) -> None:
    cut = shaped(runtime, value, SMALLEST_BUDGET)
    has_dotted_keys = "." in json.dumps(value)
    if "_truncated" in cut and not has_dotted_keys:
        assert restored(runtime, cut, SMALLEST_BUDGET) == value


@pytest.mark.parametrize(
    "value",
    [
        {"text": "é" * 100_000, "n": 1},
        {"nested": [[n] * 3 for n in range(2000)], "more": {str(n): list(range(9)) for n in range(2000)}},
        {"keys": {f"{n:05}" * 4: n for n in range(8000)}},
        {"a": ["x" * 5000, "y" * 5000], "b": "z" * 900},
        {"items": ["w" * 30_000]},
    ],
    ids=["a long text", "thousands of lists", "thousands of keys", "long items", "one long item"],
)
def test_the_cap_is_a_cap_whatever_the_answer_is_made_of(runtime: Runtime, value: dict[str, Any]) -> None:
    cut = shaped(runtime, value, 1000)
    assert len(json.dumps(cut, separators=(",", ":"), ensure_ascii=False).encode()) <= 1000 * 4
    assert restored(runtime, cut, 1000) == value


@pytest.mark.parametrize("count", [10, 300, 5000])
def test_long_lists_fit_the_budget_and_come_back_whole(runtime: Runtime, count: int) -> None:
    value = {"name": "d", "images": [{"id": str(n), "filename": f"{n:06}.jpg"} for n in range(count)]}
    cut = shaped(runtime, value, 2000)
    assert len(json.dumps(cut, separators=(",", ":"))) <= 2000 * 4
    assert restored(runtime, cut, 2000) == value


def test_one_item_that_is_too_large_is_cut_inside(runtime: Runtime) -> None:
    ring = [{"x": n, "y": n} for n in range(5000)]
    value = {"annotations": [{"id": "a", "polygon": {"paths": [ring]}}, {"id": "b"}], "count": 2}
    cut = shaped(runtime, value, 1000)
    paths = {c["path"] for c in cut["_truncated"]["cuts"]}
    assert paths == {"annotations", "annotations.0.polygon.paths.0"}
    assert len(json.dumps(cut, separators=(",", ":"))) <= 1000 * 4 * 1.2
    assert restored(runtime, cut, 1000) == value


def test_what_fits_is_left_alone(runtime: Runtime) -> None:
    value = {"items": list(range(100))}
    assert shaped(runtime, value, 5000) is value


def test_no_cap_means_no_cap(runtime: Runtime) -> None:
    value = {"items": list(range(100_000))}
    assert shaped(runtime, value, 0) is value


def test_pictures_take_their_share_of_the_budget(runtime: Runtime) -> None:
    call = running(runtime, 3000)
    value = {"items": [f"item {n}" for n in range(500)]}
    picture = Picture(b"", "image/png", 1000, 1500)
    outcome = shape(call, lambda _call: Outcome(call.id, value, (picture,)))
    assert "_truncated" in outcome.value
    assert outcome.pictures == (picture,)


def test_a_handle_is_only_for_its_key_and_lasts_an_hour(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from tintype_studio import clock
    from tintype_studio.errors import NotFound

    cursor = shaped(runtime, {"items": list(range(9000))}, 500)["_truncated"]["cuts"][0]["cursor"]
    later = clock.now() + timedelta(minutes=61)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(NotFound):
        read_rest(runtime, cursor, 500)


def as_call(runtime: Runtime, tool: str, arguments: dict[str, Any], **given: Any) -> dict[str, Any]:
    key, files = runtime.local_api_key(), everything(runtime.settings)
    request = Request(tool=tool, arguments=arguments, api_key=key, door="toolkit", files=files, **given)
    return runtime.dispatch(request).value


def test_a_call_inside_a_call_is_cut_once_with_the_outer_one(runtime: Runtime) -> None:
    """The preview of a call whose answer is over the budget: cut as what it is, and readable to the end."""
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    name = "😀" * 118
    runtime.studio.datasets.create(owner, name=name)
    inner = {"tool": "delete_dataset", "arguments": json.dumps({"name": name})}
    whole = as_call(runtime, "preview_call", inner)
    assert len(orjson.dumps(whole)) > SMALLEST_BUDGET * 4, "the preview is not long enough for this test"
    cut = as_call(runtime, "preview_call", inner, max_response_tokens=SMALLEST_BUDGET)
    assert "_truncated" in cut
    assert restored(runtime, cut, SMALLEST_BUDGET) == whole


def test_a_call_inside_a_call_is_left_whole(runtime: Runtime) -> None:
    """As ``confirm_call`` needs it: what it answers is cut once, by the outer call."""
    call = running(runtime, SMALLEST_BUDGET)
    call.request = replace(call.request, nested=True)
    value = {"items": list(range(9_000))}
    assert shape(call, lambda _call: Outcome(call.id, value)).value is value
