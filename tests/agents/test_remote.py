"""A toolkit over a server elsewhere: the same tools and refusals as here, and a network that fails."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.bad_server import BadServer, open_bad_server
from support.doors import free_port

from tintype_server import create_toolkit
from tintype_studio.errors import (
    ApprovalDenied,
    ConfirmationRequired,
    Forbidden,
    InvalidInput,
    NotFound,
    RateLimited,
    TintypeError,
    Unauthorized,
    Unavailable,
)
from tintype_tools.adapters import remote
from tintype_tools.toolkit import Toolkit


@pytest.fixture
def bad(place: Any) -> Iterator[BadServer]:
    with open_bad_server(place.url) as server:
        yield server


@pytest.fixture
def far(bad: BadServer, place: Any) -> Iterator[Toolkit]:
    with create_toolkit(base_url=bad.url, api_key=place.key) as toolkit:
        yield toolkit


def names_of(toolkit: Toolkit) -> list[str]:
    return [d["name"] for d in toolkit.dispatch("list_datasets")["datasets"]]


def call(toolkit: Toolkit, how: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call it blocking or async."""
    if how == "sync":
        return toolkit.call(tool, arguments).value
    return asyncio.run(toolkit.acall(tool, arguments)).value


# -------------------------------------------------------------------------------------------- like in process


def test_both_show_the_same_tools(place: Any) -> None:
    shown = []
    for where in ({"home": place.home}, {"base_url": place.url}):
        for options in ({}, {"toolsets": ["datasets", "images"]}, {"toolsets": ["all"], "read_only": True}):
            with create_toolkit(api_key=place.key, **where, **options) as toolkit:
                shown.append([t["name"] for t in toolkit.as_openai_tools()])
    assert shown[:3] == shown[3:]
    assert len(shown[0]) == 25
    assert "delete_dataset" in shown[1]
    assert "confirm_call" in shown[1]
    assert "delete_dataset" not in shown[2]


@pytest.mark.parametrize("options", [{"home": True}, {"base_url": True}], ids=["here", "remote"])
def test_narrowed_toolkits_refuse_what_they_do_not_show(place: Any, options: dict[str, Any]) -> None:
    where = {name: {"home": place.home, "base_url": place.url}[name] for name in options}
    with create_toolkit(api_key=place.key, read_only=True, **where) as toolkit:
        with pytest.raises(Forbidden) as raised:
            toolkit.dispatch("create_dataset", {"name": "never"})
        assert raised.value.code == "read_only"
    with create_toolkit(api_key=place.key, toolsets=["search"], **where) as toolkit:
        with pytest.raises(Forbidden) as raised:
            asyncio.run(toolkit.acall("list_datasets"))
        assert raised.value.code == "toolset_required"
    with create_toolkit(api_key=place.key, toolsets=["discovery"], **where) as toolkit:
        with pytest.raises(Forbidden) as raised:
            toolkit.dispatch("call_tool", {"tool": "list_datasets"})
        assert raised.value.code == "toolset_required"
    with pytest.raises(InvalidInput) as unknown:
        create_toolkit(api_key=place.key, toolsets=["cooking"], **where)
    assert unknown.value.code == "unknown_toolset"


@pytest.mark.parametrize("how", ["sync", "async"])
def test_the_server_is_told_how_narrow_a_toolkit_is(bad: BadServer, place: Any, how: str) -> None:
    with create_toolkit(
        base_url=bad.url, api_key=place.key, toolsets=["datasets"], read_only=True
    ) as toolkit:
        call(toolkit, how, "list_datasets", {})
    sent = bad.calls[-1]["headers"]
    assert sent["x-mcp-toolsets"] == "datasets,guardrails,results"
    assert sent["x-mcp-readonly"] == "true"
    with create_toolkit(base_url=bad.url, api_key=place.key) as toolkit:
        call(toolkit, how, "list_datasets", {})
    assert not [name for name in bad.calls[-1]["headers"] if name.startswith("x-mcp")]


@pytest.mark.parametrize("options", [{"read_only": True}, {"toolsets": ["datasets"]}], ids=str)
def test_a_narrowed_toolkit_calls_nothing_that_the_list_lacks(
    place: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = remote._Server.load

    def load_less(server: Any) -> None:
        load(server)
        del server.tools["create_dataset"]

    monkeypatch.setattr(remote._Server, "load", load_less)
    with create_toolkit(base_url=place.url, api_key=place.key, **options) as toolkit:
        with pytest.raises(NotFound) as raised:
            toolkit.dispatch("create_dataset", {"name": "never"})
        assert raised.value.code == "unknown_tool"
        with pytest.raises(NotFound):
            asyncio.run(toolkit.acall("create_dataset", {"name": "never"}))
    with create_toolkit(base_url=place.url, api_key=place.key) as toolkit:
        assert "never" not in names_of(toolkit)


@pytest.mark.parametrize("how", ["sync", "async"])
def test_refusals_are_the_same(toolkit: Toolkit, how: str) -> None:
    with pytest.raises(NotFound) as missing:
        call(toolkit, how, "get_dataset", {"name": "nowhere"})
    assert missing.value.code == "dataset_not_found"
    assert missing.value.fix
    with pytest.raises(InvalidInput) as wrong:
        call(toolkit, how, "get_dataset", {"nmae": "street"})
    assert wrong.value.code == "invalid_arguments"
    with pytest.raises(NotFound) as unknown:
        call(toolkit, how, "get/../dataset", {})
    assert unknown.value.code == "unknown_tool"


def test_pictures_arrive(toolkit: Toolkit, place: Any) -> None:
    outcome = toolkit.call("preview_image", {"image_uuid": place.image, "max_side": 100})
    [picture] = outcome.pictures
    assert (picture.width, picture.height) == (100, 75)
    assert picture.data[:2] == b"\xff\xd8" or picture.data[:4] == b"\x89PNG"
    assert "_pictures" not in outcome.value
    assert outcome.call_id


@pytest.mark.parametrize("how", ["sync", "async"])
def test_somebody_is_asked_before_a_deletion(place: Any, how: str) -> None:
    asked: list[ConfirmationRequired] = []
    words = [False, True]

    async def ask_async(question: ConfirmationRequired) -> bool:
        return ask(question)

    def ask(question: ConfirmationRequired) -> bool:
        asked.append(question)
        return words.pop(0)

    confirm = ask if how == "sync" else ask_async
    with create_toolkit(base_url=place.url, api_key=place.key, confirm=confirm) as toolkit:
        toolkit.dispatch("create_dataset", {"name": f"gone-{how}"})
        with pytest.raises(ApprovalDenied):
            call(toolkit, how, "delete_dataset", {"name": f"gone-{how}"})
        assert f"gone-{how}" in names_of(toolkit)
        call(toolkit, how, "delete_dataset", {"name": f"gone-{how}"})
        assert f"gone-{how}" not in names_of(toolkit)
    assert len(asked) == 2
    assert asked[0].details["affected"]


def test_a_question_without_anybody_to_ask_is_raised_with_its_token(place: Any) -> None:
    with create_toolkit(base_url=place.url, api_key=place.key) as toolkit:
        toolkit.dispatch("create_dataset", {"name": "token"})
        with pytest.raises(ConfirmationRequired) as raised:
            toolkit.dispatch("delete_dataset", {"name": "token"})
        assert toolkit.dispatch("delete_dataset", {"name": "token"}, dry_run=True)
        toolkit.dispatch("delete_dataset", {"name": "token"}, confirm_token=raised.value.token)
        assert "token" not in names_of(toolkit)


# ----------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("trouble", ["lost", "cut", "dropped"])
def test_a_lost_answer_is_asked_for_again_and_nothing_happens_twice(
    far: Toolkit, bad: BadServer, how: str, trouble: str
) -> None:
    bad.troubles = [trouble]
    made = call(far, how, "create_dataset", {"name": f"once-{how}-{trouble}"})
    assert made["name"] == f"once-{how}-{trouble}"
    first, second = bad.calls
    assert first["headers"]["idempotency-key"] == second["headers"]["idempotency-key"]
    assert names_of(far).count(f"once-{how}-{trouble}") == 1


def test_each_call_has_a_key_of_its_own_and_reads_have_none(far: Toolkit, bad: BadServer) -> None:
    names_of(far)
    assert "idempotency-key" not in bad.calls[0]["headers"]
    for number in range(2):
        far.dispatch("create_dataset", {"name": f"key-{number}"})
    assert bad.calls[1]["headers"]["idempotency-key"] != bad.calls[2]["headers"]["idempotency-key"]
    assert bad.calls[1]["headers"]["x-session-id"] == bad.calls[2]["headers"]["x-session-id"]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_busy_server_is_waited_for_as_long_as_it_says(far: Toolkit, bad: BadServer, how: str) -> None:
    bad.troubles = [(429, {"Retry-After": "1"}, "{}")]
    begun = time.monotonic()
    call(far, how, "list_datasets", {})
    assert 0.9 < time.monotonic() - begun < 5
    assert len(bad.calls) == 2


def test_a_server_that_wants_too_much_patience_is_quoted(far: Toolkit, bad: BadServer) -> None:
    shape = {"code": "rate_limited", "message": "Too many.", "fix": "Wait.", "retryable": True}
    body = json.dumps({"error": {**shape, "details": {"retry_after": 1200}}})
    bad.troubles = [(429, {"Retry-After": "1200"}, body)]
    with pytest.raises(RateLimited) as raised:
        far.dispatch("list_datasets")
    assert raised.value.as_dict() == {**shape, "details": {"retry_after": 1200}}
    assert len(bad.calls) == 1


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (200, "<html>"),
        (200, "[]"),
        (302, ""),
        (404, "no"),
        (500, '{"error": 3}'),
        (418, '{"error": {}}'),
    ],
)
def test_what_is_no_answer_of_ours_is_said_in_our_words(
    far: Toolkit, bad: BadServer, status: int, text: str
) -> None:
    bad.troubles = [(status, {"Content-Type": "text/html", "Location": "http://127.0.0.1:9/"}, text)]
    with pytest.raises(Unavailable) as raised:
        far.dispatch("list_datasets")
    assert raised.value.code == "unexpected_answer"


def test_a_passing_gateway_error_is_sat_out(far: Toolkit, bad: BadServer) -> None:
    bad.troubles = [(502, {}, "<html>bad gateway</html>"), (503, {"Retry-After": "0"}, "")]
    assert "street" in names_of(far)


def test_a_server_that_has_gone_is_named(
    far: Toolkit, bad: BadServer, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ATTEMPTS", 2)
    bad.troubles = ["dropped", "dropped"]
    with pytest.raises(Unavailable) as raised:
        far.dispatch("list_datasets")
    assert raised.value.code == "server_unreachable"
    with pytest.raises(Unavailable, match="cannot be reached"):
        create_toolkit(base_url=f"http://127.0.0.1:{free_port()}", api_key=place.key)


def test_cancelling_the_task_ends_the_wait(far: Toolkit, bad: BadServer) -> None:
    bad.troubles = [(429, {"Retry-After": "30"}, "{}")]

    async def main() -> None:
        task = asyncio.create_task(far.acall("list_datasets"))
        while not bad.calls:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    begun = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - begun < 5


def test_many_at_once_and_over_several_event_loops(far: Toolkit) -> None:
    async def main() -> list[int]:
        outcomes = await asyncio.gather(*(far.acall("list_datasets") for _ in range(8)))
        return [len(o.value["datasets"]) for o in outcomes]

    assert len(set(asyncio.run(main()) + asyncio.run(main()))) == 1


@pytest.mark.parametrize("address", ["", "127.0.0.1:8000", "ftp://x", "http://", "file:///etc"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        create_toolkit(base_url=address, api_key="k")
    assert raised.value.code == "invalid_base_url"


def test_the_api_address_will_do_and_a_wrong_key_is_told_at_once(place: Any) -> None:
    with create_toolkit(base_url=f"{place.url}/api/v1/developer/", api_key=place.key) as toolkit:
        assert "street" in names_of(toolkit)
    for key in ("pk_live_wrong", None):
        with pytest.raises(Unauthorized):
            create_toolkit(base_url=place.url, api_key=key)


def test_a_stranger_is_told_from_a_server_of_ours(bad: BadServer) -> None:
    for page in ("<html>", "[]", '{"tools": 3}', '{"tools": [{}]}'):
        bad.stranger = page
        with pytest.raises(TintypeError) as raised:
            create_toolkit(base_url=bad.url, api_key="k")
        assert raised.value.code == "unexpected_answer"
