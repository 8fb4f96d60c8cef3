"""Pages of MCP Apps: how they are offered, what is in them, and, in a real browser, what they do."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from mcp import Client
from support.browser import Page, browser

from tintype_server.mcp import apps
from tintype_tools.registry import load_registry
from tintype_tools.snapshot import APPROVAL_VIEW, PREVIEW_VIEW, as_mcp_tool, load_snapshot, view_of
from tintype_tools.spec import Effect

from .conftest import ERAS, Desk

HOST = Path(__file__).parents[2] / "support" / "apps_host.html"
STRICTEST = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; media-src 'self' data:; connect-src 'none'"
)
"""What a host must allow a page that declares no domains, and no more."""


def view(desk: Desk, uri: str, **options: Any) -> Any:
    async def talk(client: Client) -> Any:
        (content,) = (await client.read_resource(uri)).contents
        return content

    return desk.ask(talk, **options)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("uri", [PREVIEW_VIEW, APPROVAL_VIEW])
def test_a_page_is_read_as_the_extension_wants_it(desk: Desk, uri: str, era: str) -> None:
    content = view(desk, uri, era=era, key=desk.keys["viewer"])
    assert (content.uri, content.mime_type) == (uri, "text/html;profile=mcp-app")
    assert content.meta["ui"] == {"csp": {}, "permissions": {}, "prefersBorder": True}
    assert content.text.startswith("<!doctype html>")


@pytest.mark.parametrize("era", ERAS)
def test_the_extension_is_announced_and_tools_name_their_page(desk: Desk, era: str) -> None:
    async def talk(client: Client) -> Any:
        return client.server_capabilities, (await client.list_tools()).tools

    capabilities, tools = desk.ask(talk, era=era, toolsets=frozenset({"images", "datasets"}))
    assert capabilities.extensions == ({"io.modelcontextprotocol/ui": {}} if era == "auto" else None)
    named = {tool.name: (tool.meta or {}).get("ui") for tool in tools}
    assert named["preview_image"] == {"resourceUri": PREVIEW_VIEW}
    assert named["delete_dataset"] == {"resourceUri": APPROVAL_VIEW}
    assert named["get_dataset"] is None


def test_whatever_may_ask_for_a_word_has_the_page_for_it() -> None:
    specs = {spec.name: spec for spec in load_registry()}
    for tool in load_snapshot()["tools"]:
        spec = specs[tool["name"]]
        if spec.effect is Effect.DESTROY or spec.takes_away or spec.name == "call_tool":
            assert view_of(tool) == APPROVAL_VIEW, spec.name
        elif tool["credit_cost"] < 10 and spec.name != "preview_image":
            assert view_of(tool) is None, spec.name
        assert as_mcp_tool(tool)["_meta"].get("ui", {}).get("resourceUri") in {view_of(tool), None}


@pytest.mark.parametrize("name", apps.PAGES.values())
def test_a_page_brings_all_it_needs_and_writes_no_text_as_markup(name: str) -> None:
    text = apps.html(name)
    assert not re.search(r"/\*(STYLE|HOST|SCRIPT|PALETTE)\*/\s*(\[\])?\s*[\n;]", text)
    addresses = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not addresses
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
    ):
        assert word not in text
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=\"[^\"]", text)
    assert len(text) < 40_000


# In a browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@contextmanager
def hosted(desk: Desk, **options: Any) -> Iterator[str]:
    """An address with the host's page, whose calls go to our server over MCP."""

    async def called(client: Client, params: Any) -> Any:
        result = await client.call_tool(params["name"], params["arguments"])
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, body: bytes, kind: str, **headers: str) -> None:
            self.send_response(200)
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/view":
                content = view(desk, parse_qs(parts.query)["uri"][0])
                self._answer(content.text.encode(), "text/html", Content_Security_Policy=STRICTEST)
            elif parts.path == "/":
                self._answer(HOST.read_bytes(), "text/html")
            else:
                self._answer(b"", "image/x-icon")

        def do_POST(self) -> None:
            params = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = desk.ask(lambda client: called(client, params), **options)
            self._answer(json.dumps(answer).encode(), "application/json")

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def show(page: Page, address: str, uri: str, tool: str, arguments: dict[str, Any], **more: Any) -> None:
    wanted = {
        "uri": uri,
        "tool": tool,
        "arguments": arguments,
        **{k: v for k, v in more.items() if k != "dark"},
    }
    page.open("about:blank")
    page.open(f"{address}#{quote(json.dumps(wanted))}", dark=more.get("dark", False))


def sent(page: Page, method: str) -> list[Any]:
    return page.value(f"seen.filter((message) => message.method === {json.dumps(method)})") or []


def state(page: Page) -> str:
    return str(page.value("document.getElementById('state').textContent", frame=True))


def ask_to_delete(desk: Desk, page: Page, address: str, name: str, **more: Any) -> None:
    if name not in [each["name"] for each in desk.call("list_datasets")["datasets"]]:
        desk.call("create_dataset", name=name)
    show(page, address, APPROVAL_VIEW, "delete_dataset", {"name": name}, **more)


def there(desk: Desk, name: str) -> bool:
    return name in [each["name"] for each in desk.call("list_datasets")["datasets"]]


BUTTONS = "document.getElementById('answer')?.hidden === false"


def test_the_user_approves_with_the_keyboard_and_the_model_hears_of_it(desk: Desk, page: Page) -> None:
    name = "<img src=x onerror=alert(1)> \u202eevil"[:24]
    with hosted(desk) as address:
        ask_to_delete(desk, page, address, name)
        page.until(BUTTONS, frame=True)
        assert "deleted" not in state(page)
        assert sent(page, "tools/call") == []  # nothing by itself
        assert there(desk, name)
        summary = page.value("document.getElementById('summary').textContent", frame=True)
        assert name in summary
        page.value("document.querySelector('iframe').focus()")
        page.press("Tab")
        assert page.value("document.activeElement.id", frame=True) == "no"  # no is the first
        page.press("Tab")
        page.press("Enter")
        page.until("document.getElementById('state').textContent.startsWith('Done')", frame=True)
        assert not there(desk, name)
        (called,) = sent(page, "tools/call")
        assert called["params"]["name"] == "confirm_call"
        (told,) = sent(page, "ui/update-model-context")
        assert "approved" in told["params"]["content"][0]["text"]
        assert not page.value(BUTTONS, frame=True)
        assert page.errors == []


def test_the_user_refuses_and_the_token_is_dead(desk: Desk, page: Page) -> None:
    with hosted(desk) as address:
        ask_to_delete(desk, page, address, "kept", dark=True)
        page.until(BUTTONS, frame=True)
        page.value("document.getElementById('no').click()", frame=True)
        page.until("document.getElementById('state').textContent.startsWith('Refused')", frame=True)
        (called,) = sent(page, "tools/call")
        (told,) = sent(page, "ui/update-model-context")
        assert "refused" in told["params"]["content"][0]["text"]

        async def insist(client: Client) -> Any:
            arguments = {k: v for k, v in called["params"]["arguments"].items() if k != "refuse"}
            return await client.call_tool("confirm_call", arguments)

        result = desk.ask(insist)
        assert result.is_error
        assert "confirmation_expired" in result.content[0].text
        assert there(desk, "kept")


def test_two_clicks_are_one_answer_and_a_host_that_says_no_is_shown(desk: Desk, page: Page) -> None:
    with hosted(desk) as address:
        ask_to_delete(desk, page, address, "kept", deaf=True)
        page.until(BUTTONS, frame=True)
        page.value("for (let n = 0; n < 5; n += 1) document.getElementById('yes').click()", frame=True)
        page.until("document.getElementById('state').textContent.includes('said no')", frame=True)
        assert len(sent(page, "tools/call")) == 1
        assert there(desk, "kept")


def test_where_only_another_person_may_approve_there_is_no_button(desk: Desk, page: Page) -> None:
    owner = desk.runtime.studio.keys.authenticate(desk.keys["owner"])
    key, _info = desk.runtime.studio.keys.create(owner, name="held", role="owner", confirm_by="human")
    with hosted(desk, key=key) as address:
        ask_to_delete(desk, page, address, "kept")
        page.until("document.getElementById('state').textContent.includes('approvals approve')", frame=True)
        assert not page.value(BUTTONS, frame=True)


def test_without_a_way_to_answer_or_after_the_time_there_is_no_button(desk: Desk, page: Page) -> None:
    details = {
        "summary": "delete \u202eevil",
        "credits": 1,
        "undoable": False,
        "approval_id": "a",
        "confirm_token": "t",
    }
    for more, said in (
        ({"capabilities": {}, "expires_at": "2999-01-01T00:00:00+00:00"}, "conversation"),
        ({"expires_at": "2020-01-01T00:00:00+00:00"}, "lapsed"),
    ):
        error = {"code": "confirmation_required", "details": details | {"expires_at": more.pop("expires_at")}}
        result = {"isError": True, "content": [{"type": "text", "text": json.dumps({"error": error})}]}
        with hosted(desk) as address:
            show(page, address, APPROVAL_VIEW, "x", {}, result=result, **more)
            page.until(f"document.getElementById('state').textContent.includes('{said}')", frame=True)
            assert not page.value(BUTTONS, frame=True)
            shown = page.value("document.getElementById('summary').textContent", frame=True)
            assert shown == "delete \ufffdevil"  # no name turns the words around


def test_an_answer_that_asks_nothing_is_one_line(desk: Desk, page: Page) -> None:
    with hosted(desk) as address:
        show(page, address, APPROVAL_VIEW, "delete_dataset", {"name": "missing"})
        page.until("document.getElementById('state').textContent.includes('missing')", frame=True)
        show(page, address, APPROVAL_VIEW, "call_tool", {"tool": "list_datasets", "arguments": "{}"})
        page.until("document.getElementById('state').textContent === 'Done.'", frame=True)
        assert (
            page.until("seen.findLast((m) => m.method === 'ui/notifications/size-changed')?.params.height")
            < 80
        )


def test_the_picture_is_shown_and_its_annotations_on_request(desk: Desk, page: Page) -> None:
    with hosted(desk) as address:
        show(page, address, PREVIEW_VIEW, "preview_image", {"image_uuid": desk.image, "max_side": 320})
        page.until("document.getElementById('picture')?.naturalWidth === 320", frame=True)
        assert sent(page, "tools/call") == []
        page.until("document.getElementById('load').hidden === false", frame=True)
        page.value("document.getElementById('load').click()", frame=True)
        page.until("document.querySelectorAll('.shape').length === 1", frame=True)
        box = page.value(
            "Object.values(document.querySelector('.shape').attributes).map((a) => a.value)", frame=True
        )
        assert {"10", "300", "200"} <= set(box)
        assert page.value("document.querySelector('ol').textContent", frame=True) == "lampbbox"
        names = [each["params"]["name"] for each in sent(page, "tools/call")]
        assert names == ["preview_image", "get_annotations"]
        hidden = "getComputedStyle(document.querySelector('.shape')).display === 'none'"
        page.value("document.querySelector('iframe').focus()")
        page.value("document.querySelector('fieldset input').focus()", frame=True)
        page.press("Space")
        page.until(hidden, frame=True)
        page.press("Space")
        page.until(f"!({hidden})", frame=True)
        assert page.errors == []


def test_a_picture_that_cannot_be_shown_says_why(desk: Desk, page: Page) -> None:
    with hosted(desk) as address:
        show(page, address, PREVIEW_VIEW, "preview_image", {"image_uuid": "nothing"})
        page.until("document.getElementById('problem').hidden === false", frame=True)
        assert page.value("document.getElementById('stage').hidden", frame=True)


def test_a_stranger_s_window_is_not_heard(desk: Desk, page: Page) -> None:
    with hosted(desk) as address:
        ask_to_delete(desk, page, address, "kept")
        page.until(BUTTONS, frame=True)
        forged = {"jsonrpc": "2.0", "method": "ui/notifications/tool-cancelled", "params": {}}
        page.value(
            "(async () => { const other = document.createElement('iframe'); document.body.append(other);"
            f"other.contentWindow.eval(`parent.frames[0].postMessage({json.dumps(forged)}, '*')`);"
            "await new Promise((done) => setTimeout(done, 50)); })()"
        )
        assert page.value(BUTTONS, frame=True)
        assert state(page) == "Nothing has been done yet."
