"""A vision model by API, against a server on this machine that speaks the providers' shapes."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tintype_studio.errors import Cancelled, InvalidImage, RateLimited, Unavailable
from tintype_studio.vision.detect import chain, vision_api
from tintype_studio.vision.detect.chain import Detectors, DetectorSettings, EngineSpec
from tintype_studio.vision.detect.protocol import Detector
from tintype_studio.vision.detect.text_prompts import plain_errors
from tintype_studio.vision.detect.vision_api import VisionApiDetector, readiness

WANTED = {"threshold": 0.3, "max_detections": 10}
PICTURE = np.zeros((300, 400, 3), np.uint8)


class Stub:
    """Answers as it is told; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.replies: list[tuple[int, Any]] = []
        self.more_headers: dict[str, str] = {}
        self.before_reply = threading.Event()
        self.before_reply.set()
        self.trickle: tuple[int, float] | None = None
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
                stub.asked.append({"path": self.path, **body})
                stub.headers.append({k.lower(): v for k, v in self.headers.items()})
                status, reply = stub.replies.pop(0) if len(stub.replies) > 1 else stub.replies[0]
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                stub.before_reply.wait(20)
                self.send_response(status)
                for key, value in stub.more_headers.items():
                    self.send_header(key, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self._send(data)

            do_GET = do_POST

            def _send(self, data: bytes) -> None:
                size, seconds = stub.trickle or (len(data) or 1, 0)
                for start in range(0, len(data), size):
                    self.wfile.write(data[start : start + size])
                    time.sleep(seconds)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def say(self, text: str, *, api: str = "anthropic") -> None:
        """Answer once more with a text, in the provider's shape."""
        reply = (
            {"content": [{"type": "text", "text": text}]}
            if api == "anthropic"
            else {"choices": [{"message": {"content": text}}]}
        )
        self.replies.append((200, reply))


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setattr(vision_api, "FIRST_WAIT_SECONDS", 0.01)
    opened = Stub()
    yield opened
    opened.before_reply.set()
    opened.server.shutdown()
    opened.server.server_close()


@pytest.fixture
def detector(stub: Stub) -> Callable[[str], VisionApiDetector]:
    def make(api: str = "anthropic") -> VisionApiDetector:
        env = {f"{api.upper()}_API_KEY": " key-1 ", f"{api.upper()}_BASE_URL": f"{stub.url}/"}
        return VisionApiDetector.from_environment(api, "sees-1", env)

    return make


def objects(*rows: tuple[str, float, float, float, float, float]) -> str:
    keys = ("name", "x", "y", "w", "h", "confidence")
    return json.dumps({"objects": [dict(zip(keys, row, strict=True)) for row in rows]})


@pytest.mark.parametrize("api", ["anthropic", "openai"])
def test_boxes_come_back_in_pixels_of_the_image(stub, detector, api):
    stub.say(objects(("cat", 10, 20, 30, 40, 0.9), ("dog", 100, 100, 50, 60, 0.4)), api=api)
    made = detector(api)
    assert isinstance(made, Detector)
    found = made.detect(PICTURE, ["cat", "dog"], **WANTED)
    assert made.name == f"{api}:sees-1"
    assert [(d.name, d.score) for d in found] == [("cat", 0.9), ("dog", 0.4)]
    box = found[0].box
    assert (box.x, box.y, box.w, box.h) == (10, 20, 30, 40)
    (asked,) = stub.asked
    assert asked["model"] == "sees-1"
    assert asked["path"] == ("/v1/messages" if api == "anthropic" else "/chat/completions")
    (headers,) = stub.headers
    assert headers["x-api-key" if api == "anthropic" else "authorization"].endswith("key-1")


def test_the_picture_that_is_sent_is_the_one_that_is_spoken_of(stub, detector):
    stub.say(objects(("cat", 512, 0, 100, 50, 0.9)))
    large = np.zeros((1000, 4096, 3), np.uint8)
    (found,) = detector().detect(large, ["cat"], **WANTED)
    assert (found.box.x, found.box.w) == (2048, 400)
    image, text = stub.asked[0]["messages"][0]["content"]
    with Image.open(io.BytesIO(base64.b64decode(image["source"]["data"]))) as sent:
        assert sent.size == (1024, 250)
    assert "1024 pixels wide and 250 pixels high" in text["text"]
    assert '["cat"]' in text["text"]


def test_what_was_not_asked_for_or_is_no_box_inside_is_left_out(stub, detector):
    stub.say(
        objects(
            ("cow", 1, 1, 20, 20, 0.9),
            ("cat", 500, 10, 20, 20, 0.9),
            ("cat", 390, 290, 100, 100, 0.8),
            ("cat", 10, 10, 20, 20, 0.1),
            ("cat", 50, 50, 20, 20, 0.7),
            ("cat", 51, 50, 20, 20, 0.6),
        )
    )
    found = detector().detect(PICTURE, ["cat"], **WANTED)
    assert [(d.score, d.box.x, d.box.w) for d in found] == [(0.8, 390, 10), (0.7, 50, 20)]
    assert len(detector().detect(PICTURE, ["cat"], threshold=0.3, max_detections=1)) == 1


@pytest.mark.parametrize("wrapped", ["```json\n{}\n```", "Here you are: {} Enjoy."])
def test_an_answer_in_a_fence_or_a_sentence_is_read(stub, detector, wrapped):
    stub.say(wrapped.replace("{}", objects(("cat", 1, 1, 20, 20, 0.9))))
    assert len(detector().detect(PICTURE, ["cat"], **WANTED)) == 1


@pytest.mark.parametrize(
    "bad",
    [
        "I see a cat.",
        '{"objects": [{"name": "cat", "x": 1, "y": 1, "w": 0, "h": 5, "confidence": 0.9}]}',
        '{"objects": [{"name": "cat", "x": 1, "y": 1, "w": 5, "h": 5, "confidence": 90}]}',
        '{"objects": [{"name": "cat", "x": NaN, "y": 1, "w": 5, "h": 5, "confidence": 0.9}]}',
        '{"objects": "many"}',
        "{broken",
    ],
)
def test_an_answer_that_cannot_be_read_is_asked_for_once_more(stub, detector, bad):
    stub.say(bad)
    stub.say(objects(("cat", 1, 1, 20, 20, 0.9)))
    assert len(detector().detect(PICTURE, ["cat"], **WANTED)) == 1
    assert "could not be read" in stub.asked[1]["messages"][0]["content"][1]["text"]


def test_a_model_that_never_answers_in_form_is_an_error(stub, detector):
    stub.say("no")
    with pytest.raises(Unavailable) as refused:
        detector().detect(PICTURE, ["cat"], **WANTED)
    assert refused.value.code == "engine_failed"
    assert len(stub.asked) == 2


@pytest.mark.parametrize(
    ("status", "code", "tries"),
    [
        (401, "key_refused", 1),
        (403, "key_refused", 1),
        (400, "engine_failed", 1),
        (404, "engine_failed", 1),
        (500, "provider_unreachable", 3),
        (529, "provider_unreachable", 3),
    ],
)
def test_refusals_are_told_apart_and_only_what_may_pass_is_tried_again(stub, detector, status, code, tries):
    stub.replies.append((status, {"error": {"message": "secret key-1"}}))
    with pytest.raises(Unavailable) as refused:
        detector().detect(PICTURE, ["cat"], **WANTED)
    assert refused.value.code == code
    assert "key-1" not in refused.value.message + refused.value.fix
    assert len(stub.asked) == tries


def test_being_asked_too_often_is_said_with_the_time_to_wait(stub, detector):
    stub.more_headers = {"retry-after": "0"}
    stub.replies.append((429, {}))
    with pytest.raises(RateLimited) as refused:
        detector().detect(PICTURE, ["cat"], **WANTED)
    assert refused.value.details["retry_after"] == 0
    assert len(stub.asked) == 3


def test_it_goes_on_when_the_server_comes_back(stub, detector):
    stub.replies += [(503, {}), (429, {})]
    stub.say(objects(("cat", 1, 1, 20, 20, 0.9)))
    assert len(detector().detect(PICTURE, ["cat"], **WANTED)) == 1


@pytest.mark.parametrize("reply", [b"<html>", {"content": None}, {"choices": []}, [], b""])
def test_a_server_that_speaks_something_else(stub, detector, reply):
    stub.replies.append((200, reply))
    with pytest.raises(Unavailable) as refused:
        detector().detect(PICTURE, ["cat"], **WANTED)
    assert refused.value.code == "engine_failed"


def test_nobody_at_the_address(stub, detector):
    made = detector()
    stub.server.shutdown()
    stub.server.server_close()
    with pytest.raises(Unavailable) as refused:
        made.detect(PICTURE, ["cat"], **WANTED)
    assert refused.value.code == "provider_unreachable"


@pytest.mark.parametrize("address", ["file:///etc/passwd", "localhost:1234", "ftp://x"])
def test_an_address_that_is_none(address):
    env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": address}
    with pytest.raises(Unavailable) as refused:
        VisionApiDetector.from_environment("openai", None, env)
    assert refused.value.code == "invalid_setting"


def test_no_image(detector, stub):
    with pytest.raises(InvalidImage):
        detector().detect(np.zeros((3, 3), np.uint8), ["cat"], **WANTED)
    assert stub.asked == []


def test_readiness():
    assert not readiness(None, None, {}).ready
    missing = readiness("openai", None, {"OPENAI_API_KEY": " "})
    assert not missing.ready
    assert "OPENAI_API_KEY" in missing.fix
    assert readiness("anthropic", "m", {"ANTHROPIC_API_KEY": "k"}).ready
    with pytest.raises(Unavailable) as refused:
        VisionApiDetector.from_environment("openai", None, {})
    assert refused.value.code == "key_missing"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_does_not_follow_to_another_address(stub, detector, status):
    other = Stub()
    other.say(objects(("cat", 1, 1, 20, 20, 0.9)))
    stub.more_headers = {"location": f"{other.url}/v1/messages"}
    stub.replies.append((status, {}))
    try:
        with pytest.raises(Unavailable) as refused:
            detector().detect(PICTURE, ["cat"], **WANTED)
    finally:
        other.server.shutdown()
        other.server.server_close()
    assert other.headers == []
    assert refused.value.code == "engine_failed"
    assert "ANTHROPIC_BASE_URL" in refused.value.fix
    assert len(stub.asked) == 1


@pytest.mark.parametrize("key", ["sk-12\n34", "sk-12\r\n34", "sk-12\x0034", "sk-ключ"])
def test_a_key_that_no_header_takes_is_refused_and_told_nowhere(key):
    env = {"OPENAI_API_KEY": f" {key}\n"}
    with pytest.raises(Unavailable) as refused:
        VisionApiDetector.from_environment("openai", None, env)
    assert refused.value.code == "invalid_setting"
    assert "OPENAI_API_KEY" in refused.value.fix
    assert "sk-" not in refused.value.message + refused.value.fix


@pytest.mark.parametrize("key", ["sk-12\n34", "sk-ключ"])
def test_what_the_http_library_says_of_a_key_is_not_logged(stub, caplog, key):
    made = VisionApiDetector(vision_api.PROVIDERS["openai"], key, base_url=stub.url, model="m")
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable) as refused, plain_errors():
        made.detect(PICTURE, ["cat"], **WANTED)
    assert refused.value.code == "invalid_setting"
    assert refused.value.__suppress_context__
    assert "sk-" not in caplog.text
    assert stub.asked == []


def test_an_answer_in_drops_ends_with_the_time_for_the_whole(stub, detector, monkeypatch):
    monkeypatch.setattr(vision_api, "TIMEOUT_SECONDS", 0.4)
    monkeypatch.setattr(vision_api, "TRIES", 1)
    stub.say(objects(("cat", 1, 1, 20, 20, 0.9)))
    stub.trickle = (10, 0.2)
    started = time.monotonic()
    with pytest.raises(Unavailable) as refused:
        detector().detect(PICTURE, ["cat"], **WANTED)
    assert refused.value.code == "provider_unreachable"
    assert time.monotonic() - started < 2


def test_an_answer_without_end_is_not_read_to_it(stub, detector, monkeypatch):
    monkeypatch.setattr(vision_api, "MAX_ANSWER", 1000)
    stub.say(objects(("cat", 1, 1, 20, 20, 0.9)))
    assert len(detector().detect(PICTURE, ["cat"], **WANTED)) == 1
    longer = json.dumps({"content": [{"type": "text", "text": '{"objects": []}'}]}) + " " * 1000
    stub.replies = [(200, longer.encode())]
    with pytest.raises(Unavailable) as refused:
        detector().detect(PICTURE, ["cat"], **WANTED)
    assert refused.value.code == "engine_failed"


@pytest.mark.parametrize("where", ["before the reply", "within the reply", "between tries"])
def test_waiting_for_the_provider_can_be_given_up(stub, detector, monkeypatch, where):
    if where == "before the reply":
        stub.say("{}")
        stub.before_reply.clear()
    elif where == "within the reply":
        stub.say(objects(("cat", 1, 1, 20, 20, 0.9)))
        stub.trickle = (10, 0.5)
    else:
        monkeypatch.setattr(vision_api, "FIRST_WAIT_SECONDS", 10.0)
        stub.replies.append((503, {}))
    until = time.monotonic() + 0.5

    def check() -> None:
        if time.monotonic() > until:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        detector().watched(check).detect(PICTURE, ["cat"], **WANTED)
    assert time.monotonic() - until < 2
    assert len(stub.asked) == 1


def test_a_call_hands_down_its_check_and_none_stays_with_the_engine(stub, monkeypatch):
    monkeypatch.setattr(chain, "_engines", OrderedDict())
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", stub.url)
    stub.say(objects(("cat", 1, 1, 20, 20, 0.9)))
    detectors = Detectors(*([None] * 5))  # type: ignore[arg-type]
    spec = EngineSpec("vision_api", DetectorSettings(api="anthropic", api_model="sees-1"))
    calls: list[int] = []
    detectors.open(spec, lambda: calls.append(1)).detect(PICTURE, ["cat"], **WANTED)
    counted = len(calls)
    assert counted > 0
    detectors.open(spec).detect(PICTURE, ["cat"], **WANTED)
    assert len(calls) == counted
