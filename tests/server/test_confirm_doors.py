"""Confirmation through real doors: elicitation in both eras, tokens, and a person's word alone."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult
from support.doors import DOORS, Refused, Site, serve, stop

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.studio import Studio
from tintype_tools.snapshot import NAMESPACE

MCP_DOORS = tuple(name for name in DOORS if name.startswith(("stdio", "http", "sse")))
PROTOCOL = "2026-07-28"
MCP_META = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL,
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
}
YES = {"confirm": {"action": "accept", "content": {"yes": True}}}

_numbers = itertools.count()


@dataclass
class World:
    """The workspace behind the doors, and a dataset of its own for the test."""

    site: Site
    studio: Studio
    owner: Principal
    dataset: str

    def key(self, **limits: Any) -> str:
        return self.studio.keys.create(self.owner, name=self.dataset, role=Role.ADMIN, **limits)[0]

    @property
    def there(self) -> bool:
        return self.studio.datasets.find(self.owner, self.dataset) is not None

    def recreate(self) -> None:
        self.studio.datasets.delete(self.owner, self.dataset)
        self.studio.datasets.create(self.owner, name=self.dataset)


@pytest.fixture(scope="module")
def studio(site: Site) -> Iterator[Studio]:
    opened = open_studio(Settings(home=site.home))
    yield opened
    opened.close()


@pytest.fixture
def world(site: Site, studio: Studio) -> World:
    owner = studio.keys.authenticate(site.owner)
    name = f"asked-{next(_numbers)}"
    studio.datasets.create(owner, name=name)
    return World(site, studio, owner, name)


# Elicitation


class Host:
    """An MCP client with a person at its side, or none."""

    def __init__(self, site: Site, client: Client) -> None:
        self._portal, self.client = site.portal, client

    def delete(self, name: str) -> dict[str, Any]:
        """The answer, or the visible error."""
        result = self._portal.call(lambda: self.client.call_tool("delete_dataset", {"name": name}))
        value: dict[str, Any] = json.loads(result.content[0].text)
        return value["error"] if result.is_error else value


@contextmanager
def host(
    site: Site, door: str, key: str, answer: Callable[[Any, Any], Awaitable[ElicitResult]] | None
) -> Iterator[Host]:
    kind, _, era = door.partition("-")
    headers = {"X-API-Key": key}
    server: Any
    if kind == "stdio":
        flags = ["-m", "tintype_server", "mcp", "--home", str(site.home), "--api-key", key]
        server = StdioServerParameters(command=sys.executable, args=flags, cwd=str(site.folder))
    elif kind == "http":
        server = streamable_http_client(f"{site.url}/mcp", http_client=httpx2.AsyncClient(headers=headers))
    else:
        server = sse_client(f"{site.url}/sse", headers=headers)
    mode: Any = "legacy" if era == "2025" else "auto"
    client = Client(server, mode=mode, elicitation_callback=answer)
    with site.portal.wrap_async_context_manager(client) as opened:
        yield Host(site, opened)


@pytest.mark.parametrize("door", MCP_DOORS)
def test_the_person_at_the_client_decides(world: World, door: str) -> None:
    """Accepts without a yes, declines, cancels; then says yes. Each call is one question."""
    noes = [
        ElicitResult(action="accept", content={"yes": False}),
        ElicitResult(action="accept", content={}),
        ElicitResult(action="accept"),
        ElicitResult(action="accept", content={"yes": "true"}),
        ElicitResult(action="accept", content={"yes": 1}),
        ElicitResult(action="decline", content={"yes": True}),
        ElicitResult(action="cancel", content={"yes": True}),
    ]
    replies = [*noes, ElicitResult(action="accept", content={"yes": True})]
    questions: list[Any] = []

    async def person(_context: Any, params: Any) -> ElicitResult:
        questions.append(params)
        return replies[len(questions) - 1]

    with host(world.site, door, world.key(), person) as client:
        for number, _ in enumerate(noes, 1):
            refused = client.delete(world.dataset)
            assert refused["code"] == "approval_denied"
            assert (len(questions), world.there) == (number, True)
        assert client.delete(world.dataset)["deleted"] is True
    assert not world.there
    assert len(questions) == len(replies)
    assert all(f"'{world.dataset}'" in question.message for question in questions)
    assert questions[0].requested_schema["required"] == ["yes"]


@pytest.mark.parametrize("door", MCP_DOORS)
def test_a_client_that_cannot_ask_gets_the_token(world: World, door: str) -> None:
    with host(world.site, door, world.key(), None) as client:
        refused = client.delete(world.dataset)
        assert refused["code"] == "confirmation_required"
        assert world.there
        details = refused["details"]
        call = {"approval_id": details["approval_id"], "confirm_token": details["confirm_token"]}
        result = world.site.portal.call(lambda: client.client.call_tool("confirm_call", call))
        assert json.loads(result.content[0].text)["status"] == "done"
    assert not world.there


@pytest.mark.parametrize("door", MCP_DOORS)
def test_a_namesake_made_while_the_person_thinks_is_not_meant(world: World, door: str) -> None:
    async def slow_person(_context: Any, _params: Any) -> ElicitResult:
        world.recreate()
        return ElicitResult(action="accept", content={"yes": True})

    with host(world.site, door, world.key(), slow_person) as client:
        assert client.delete(world.dataset)["code"] == "confirmation_mismatch"
    assert world.there


@pytest.mark.parametrize("door", ["stdio-2026", "stdio-2025"])
def test_a_person_whose_client_breaks_confirms_nothing(world: World, door: str) -> None:
    async def broken(_context: Any, _params: Any) -> ElicitResult:
        raise RuntimeError("no screen")

    with host(world.site, door, world.key(), broken) as client:
        if door == "stdio-2025":  # the server hears of it, and tells the agent what to do
            assert client.delete(world.dataset)["code"] == "confirmation_required"
        else:  # the client does not come back
            with pytest.raises(ExceptionGroup):
                client.delete(world.dataset)
    assert world.there


# What a client of the newer era carries between question and answer


class Raw:
    """Hand-made requests of 2026-07-28 over HTTP."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key

    def call(
        self, tool: str, arguments: dict[str, Any], *, state: Any = None, answers: Any = None
    ) -> dict[str, Any]:
        """The result or the error of the JSON-RPC answer."""
        params: dict[str, Any] = {"name": tool, "arguments": arguments, "_meta": MCP_META}
        params |= {"requestState": state} if state is not None else {}
        params |= {"inputResponses": answers} if answers is not None else {}
        headers = {
            "X-API-Key": self._key,
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": PROTOCOL,
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        text = httpx.post(f"{self._url}/mcp", json=body, headers=headers, timeout=60).text
        lines = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
        message = json.loads(lines[-1] if lines else text)
        found: dict[str, Any] = message.get("result", message.get("error"))
        return found

    def question(self, name: str) -> str:
        """Ask to delete a dataset; the sealed state of the question."""
        asked = self.call("delete_dataset", {"name": name})
        assert asked["resultType"] == "input_required"
        assert asked["inputRequests"]["confirm"]["method"] == "elicitation/create"
        state: str = asked["requestState"]
        return state


@pytest.fixture
def raw(world: World) -> Raw:
    return Raw(world.site.url, world.key())


def done(answer: dict[str, Any]) -> bool:
    return (
        not answer.get("isError") and "content" in answer and '"deleted":true' in answer["content"][0]["text"]
    )


def code(answer: dict[str, Any]) -> str | int:
    """Of a tool's refusal, or of a protocol error."""
    if answer.get("isError"):
        return str(json.loads(answer["content"][0]["text"])["error"]["code"])
    return int(answer["code"])


def test_a_sealed_question_is_answered_once(world: World, raw: Raw) -> None:
    state = raw.question(world.dataset)
    assert "cft_" not in state
    assert world.dataset not in state
    arguments = {"name": world.dataset}
    assert done(raw.call("delete_dataset", arguments, state=state, answers=YES))
    world.studio.datasets.create(world.owner, name=world.dataset)
    again = raw.call("delete_dataset", arguments, state=state, answers=YES)
    assert code(again) == "confirmation_used"
    assert world.there


FORGED: dict[str, Callable[[str], Any]] = {
    "made up": lambda _state: "x",
    "empty": lambda _state: "",
    "a token in the clear": lambda _state: "cft_" + "A" * 32,
    "cut": lambda state: state[:-2],
    "longer": lambda state: state + "AA",
    "another letter": lambda state: state[:40] + ("A" if state[40] != "A" else "B") + state[41:],
    "another version": lambda state: state.replace("v1.", "v2.", 1),
    "huge": lambda state: state * 5000,
    "no text": lambda _state: {"state": 1},
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_state_changes_nothing(world: World, raw: Raw, forgery: str) -> None:
    state = raw.question(world.dataset)
    answer = raw.call("delete_dataset", {"name": world.dataset}, state=FORGED[forgery](state), answers=YES)
    assert code(answer) == -32602
    assert world.there
    assert "Traceback" not in str(answer)
    assert done(raw.call("delete_dataset", {"name": world.dataset}, state=state, answers=YES))


def test_a_state_is_for_its_own_call_and_caller(world: World, raw: Raw) -> None:
    """Another tool, other arguments, another key; the answer is refused before anything is looked at."""
    other = f"{world.dataset} other"
    world.studio.datasets.create(world.owner, name=other)
    state = raw.question(world.dataset)
    thief = Raw(world.site.url, world.key())
    for answer in (
        raw.call("delete_dataset", {"name": other}, state=state, answers=YES),
        raw.call("purge_deleted", {}, state=state, answers=YES),
        raw.call("delete_dataset", {"name": world.dataset, "x": 1}, state=state, answers=YES),
        thief.call("delete_dataset", {"name": world.dataset}, state=state, answers=YES),
    ):
        assert code(answer) == -32602
    assert world.there
    assert world.studio.datasets.find(world.owner, other) is not None


@pytest.mark.parametrize(
    "answers",
    [
        None,
        {},
        {"confirm": {"action": "accept"}},
        {"confirm": {"action": "accept", "content": {"yes": "yes"}}},
        {"confirm": {"action": "decline", "content": {"yes": True}}},
        {"other": YES["confirm"]},
    ],
    ids=["nothing", "empty", "no content", "a word", "declined", "another question"],
)
def test_a_state_without_a_yes_is_a_no(world: World, raw: Raw, answers: Any) -> None:
    state = raw.question(world.dataset)
    answer = raw.call("delete_dataset", {"name": world.dataset}, state=state, answers=answers)
    assert code(answer) == "approval_denied"
    assert world.there
    pending = [a.call_id for a in world.studio.approvals.list(world.owner) if world.dataset in a.summary]
    assert pending == []


def test_a_yes_without_a_state_is_asked_about(world: World, raw: Raw) -> None:
    asked = raw.call("delete_dataset", {"name": world.dataset}, answers=YES)
    assert asked["resultType"] == "input_required"
    assert world.there


def test_a_question_of_one_process_is_answered_to_another(world: World, raw: Raw, tmp_path: Path) -> None:
    process, url = serve(world.site.home)
    other, foreign_url = serve(tmp_path / "elsewhere")
    try:
        key = saved_api_key(tmp_path / "elsewhere")
        assert key is not None
        foreign = Raw(foreign_url, key)
        arguments = {"name": world.dataset}
        foreign.call("create_dataset", arguments)
        state = raw.question(world.dataset)
        assert code(foreign.call("delete_dataset", arguments, state=state, answers=YES)) == -32602
        assert not foreign.call("get_dataset", arguments).get("isError")
        same_key = Raw(url, raw._key)
        assert done(same_key.call("delete_dataset", arguments, state=state, answers=YES))
    finally:
        stop(process)
        stop(other)
    assert not world.there


# Only a person's word


@pytest.mark.parametrize("door_name", [name for name in DOORS if name not in MCP_DOORS])
def test_a_key_that_needs_a_person_gets_no_token(world: World, door_name: str) -> None:
    """Not by --yes either. What these doors tell leads to the queue, and that leads on."""
    door = world.site.door(door_name, key=world.key(confirm_by="human"))
    with pytest.raises(Refused) as refused:
        door.call("delete_dataset", {"name": world.dataset}, confirm=door_name == "cli")
    shape = refused.value.shape
    if door_name == "toolkit":  # its own person was asked, and said no
        assert shape["code"] == "approval_denied"
        (waiting,) = [a for a in world.studio.approvals.list(world.owner) if world.dataset in a.summary]
        approval_id = waiting.id
    else:
        assert shape["code"] == "confirmation_required"
        assert "confirm_token" not in shape["details"]
        assert "tintype approvals approve" in shape["fix"]
        approval_id = shape["details"]["approval_id"]
    assert "cft_" not in str(shape)
    assert world.there
    assert door.call("confirm_call", {"approval_id": approval_id}).value["status"] == "pending"
    world.studio.approvals.decide(world.owner, approval_id, approve=True)
    assert door.call("confirm_call", {"approval_id": approval_id}).value["status"] == "done"
    assert not world.there


@pytest.mark.parametrize("door_name", MCP_DOORS)
def test_an_agent_that_needs_a_person_waits_for_the_queue(world: World, door_name: str) -> None:
    with host(world.site, door_name, world.key(confirm_by="human"), None) as client:
        refused = client.delete(world.dataset)
        assert refused["code"] == "confirmation_required"
        assert "cft_" not in str(refused)
        waiting = {"approval_id": refused["details"]["approval_id"], "wait_seconds": 40}
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(
                world.site.portal.call, lambda: client.client.call_tool("confirm_call", waiting)
            )
            world.studio.approvals.decide(world.owner, waiting["approval_id"], approve=True)
            value = json.loads(call.result(60).content[0].text)
    assert (value["status"], value["result"]["deleted"], world.there) == ("done", True, False)


@pytest.mark.parametrize("door_name", MCP_DOORS)
def test_a_form_is_a_persons_word_on_their_own_machine_only(world: World, door_name: str) -> None:
    """Over the network, whoever holds the key could fill it in."""
    questions: list[Any] = []

    async def person(_context: Any, params: Any) -> ElicitResult:
        questions.append(params)
        return ElicitResult(action="accept", content={"yes": True})

    with host(world.site, door_name, world.key(confirm_by="human"), person) as client:
        answer = client.delete(world.dataset)
    local = door_name.startswith("stdio")
    assert (len(questions), world.there) == (int(local), not local)
    assert answer.get("code") == (None if local else "confirmation_required")
    assert "cft_" not in str(answer)


def test_a_server_that_needs_a_person_gives_no_token(world: World) -> None:
    process, url = serve(world.site.home, env={"TINTYPE_CONFIRM_BY": "human"})
    try:
        headers = {"X-API-Key": world.key()}
        address = f"{url}/api/v1/developer/_dispatch/delete_dataset"
        response = httpx.post(address, json={"name": world.dataset}, headers=headers)
    finally:
        stop(process)
    assert response.status_code == 428
    assert "cft_" not in response.text
    assert world.there


@pytest.mark.parametrize("door_name", ["dispatch", "toolkit", "cli"])
def test_a_yes_at_a_door_without_forms_lets_one_call_through(world: World, door_name: str) -> None:
    door = world.site.door(door_name, key=world.key())
    with pytest.raises(Refused):
        door.call("delete_dataset", {"name": world.dataset})
    assert world.there
    assert door.call("delete_dataset", {"name": world.dataset}, confirm=True).value["deleted"] is True
    assert not world.there


def test_a_token_goes_in_the_meta_of_a_call(world: World) -> None:
    with host(world.site, "http-2026", world.key(), None) as client:
        token = client.delete(world.dataset)["details"]["confirm_token"]
        for wrong in (1, ["x"], True):
            meta: Any = {f"{NAMESPACE}/confirmToken": wrong}
            result = world.site.portal.call(
                lambda m=meta: client.client.call_tool("delete_dataset", {"name": world.dataset}, meta=m)
            )
            assert json.loads(result.content[0].text)["error"]["code"] == "invalid_meta"
        assert world.there
        meta = {f"{NAMESPACE}/confirmToken": token}
        result = world.site.portal.call(
            lambda: client.client.call_tool("delete_dataset", {"name": world.dataset}, meta=meta)
        )
        assert not result.is_error
    assert not world.there
