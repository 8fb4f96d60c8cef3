"""A real browser without a head, driven over its debugging pipe; skips where none is installed."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"),
    # A frame in the process of its page can be asked through the page.
    *("--disable-site-isolation-trials", "--disable-features=IsolateSandboxedIframes,SitePerProcess"),
    *("--remote-debugging-pipe", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
)
SECONDS = 20.0


class Moved(Exception):
    """The frame that was asked is on its way to another document."""


class Page:
    """One page; its frames answer too."""

    def __init__(self, write_fd: int, read_fd: int) -> None:
        self._out, self._in = os.fdopen(write_fd, "wb"), os.fdopen(read_fd, "rb")
        self._ids = itertools.count(1)
        self._session: str | None = None
        self.errors: list[str] = []
        """What scripts threw or the console showed as an error, refusals of a security policy among it."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Give an order and wait for its answer."""
        number = next(self._ids)
        order: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            order["sessionId"] = self._session
        self._out.write(json.dumps(order).encode() + b"\0")
        self._out.flush()
        while True:
            message = self._read()
            if message.get("id") == number:
                if "error" in message:
                    raise Moved(message["error"])
                result: dict[str, Any] = message["result"]
                return result

    def open(self, url: str, *, width: int = 720, height: int = 720, dark: bool = False) -> None:
        """Go to a page."""
        self.errors.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Page.navigate", url=url)

    def value(self, expression: str, *, frame: bool = False) -> Any:
        """What an expression of the page, or of its first frame, comes to."""
        where: dict[str, Any] = {}
        if frame:
            tree = self.send("Page.getFrameTree")["frameTree"]
            children = tree.get("childFrames", [])
            if not children:
                return None
            world = self.send("Page.createIsolatedWorld", frameId=children[0]["frame"]["id"])
            where = {"contextId": world["executionContextId"]}
        told = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, **where
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, expression: str, *, frame: bool = False) -> Any:
        """The expression's value, once it is true."""
        end = time.monotonic() + SECONDS
        problem: Exception | None = None
        while time.monotonic() < end:
            try:
                found = self.value(expression, frame=frame)
            except (Moved, AssertionError) as error:  # the document is not there yet
                found, problem = None, error
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"never true: {expression}; errors: {self.errors}; {problem}")

    def press(self, key: str) -> None:
        """Press and let go a key: Tab, Enter, Space."""
        code = {"Tab": 9, "Enter": 13, "Space": 32}[key]
        text = {"Enter": "\r", "Space": " "}.get(key, "")
        named = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
        self.send("Input.dispatchKeyEvent", type="keyUp", **named)

    def picture(self, path: Path) -> None:
        """A screenshot as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End the browser."""
        self._session = None
        with suppress(OSError, Moved, ValueError):
            self.send("Browser.close")
        self._out.close()
        self._in.close()

    def _read(self) -> dict[str, Any]:
        raw = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            if not byte:
                raise OSError("the browser is gone")
            raw += byte
        message: dict[str, Any] = json.loads(raw)
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("text", ""))
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif message.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(str(params["args"]))
        return message


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A page in a browser of its own, which reaches this machine only."""
    path = os.environ.get("TINTYPE_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no browser here: apt-get install chromium, or name one in TINTYPE_BROWSER")
    to_browser, from_page = os.pipe()
    from_browser, to_page = os.pipe()

    def hold() -> None:  # the browser reads 3 and writes 4
        high = [os.dup(fd) for fd in (to_browser, to_page)]
        spare = [os.dup2(fd, 100 + n) for n, fd in enumerate(high)]
        for target, fd in zip((3, 4), spare, strict=True):
            os.dup2(fd, target)

    process = subprocess.Popen(
        [path, *FLAGS, f"--user-data-dir={profile}"],
        preexec_fn=hold,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(to_page)
    page = Page(from_page, from_browser)
    try:
        yield page
    finally:
        page.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
