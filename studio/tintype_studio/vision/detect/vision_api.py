"""Detection by asking a vision model behind an API; opt-in, because the pictures leave the house.

Speaks the Messages API of Anthropic and the Chat Completions API of OpenAI, which many servers of one's own
speak as well (``ANTHROPIC_BASE_URL``, ``OPENAI_BASE_URL``). The model is asked for boxes as JSON; what it
answers is checked number by number, and asked for once more if it is not what was asked for.
"""

from __future__ import annotations

import base64
import copy
import io
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from typing import TYPE_CHECKING, Annotated, Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tintype_studio.errors import RateLimited, TintypeError, Unavailable
from tintype_studio.vision.detect.protocol import Detection, Readiness
from tintype_studio.vision.protocols import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

SETTING, MODEL_SETTING = "TINTYPE_VISION_API", "TINTYPE_VISION_MODEL"
LONGEST_SIDE = 1024
"""Pixels of the picture that is sent; more costs more and is reduced by the providers anyway."""
JPEG_QUALITY = 90
TIMEOUT_SECONDS = 60.0
"""Of one try, until the last byte of the answer is read."""
CHECK_SECONDS = 0.1
"""How often a call that waits for the provider asks whether it shall go on."""
TRIES = 3
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 20.0
MAX_TOKENS = 4096
MAX_ANSWER = 4 << 20
"""Bytes of an answer; a longer one is refused."""
CHUNK = 64 << 10
SAME_OBJECT = 0.5


@dataclass(frozen=True, slots=True)
class Provider:
    """Where an API is, and under which names the environment tells."""

    name: str
    key_variable: str
    base_variable: str
    base_url: str
    path: str
    model: str
    """Asked unless ``TINTYPE_VISION_MODEL`` names another."""


PROVIDERS = {
    "anthropic": Provider(
        "anthropic",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "https://api.anthropic.com",
        "/v1/messages",
        "claude-sonnet-4-5",
    ),
    "openai": Provider(
        "openai",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "https://api.openai.com/v1",
        "/chat/completions",
        "gpt-5.1",
    ),
}


class _Seen(BaseModel):
    """One object as the model tells it."""

    model_config = ConfigDict(extra="ignore")

    name: str
    x: Annotated[float, Field(allow_inf_nan=False)]
    y: Annotated[float, Field(allow_inf_nan=False)]
    w: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    h: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    objects: Annotated[list[_Seen], Field(max_length=1000)]


def readiness(api: str | None, model: str | None, env: Mapping[str, str] = os.environ) -> Readiness:
    """Whether the API is opted in to, and a key is there."""
    engine = "vision_api"
    if api is None:
        return Readiness(
            engine,
            False,
            "No vision model by API is opted in to.",
            f"Ask the operator to set {SETTING} to anthropic or openai and that provider's key; pictures "
            "are then sent there.",
        )
    provider = PROVIDERS[api]
    if not env.get(provider.key_variable, "").strip():
        return Readiness(
            engine,
            False,
            f"{SETTING} is {api}, but {provider.key_variable} is not set.",
            f"Ask the operator to set {provider.key_variable} in the server's environment.",
        )
    return Readiness(engine, True, f"{api}'s {model or provider.model} is asked; pictures are sent there.")


def prompt_for(names: Sequence[str], width: int, height: int) -> str:
    """What the model is asked."""
    listed = orjson.dumps(list(names)).decode()
    return (
        f"This picture is {width} pixels wide and {height} pixels high. Find every object of these classes: "
        f"{listed}. For each object give the tightest upright box around what can be seen of it: x and y of "
        "its top left corner, w and h, in pixels of this picture, x to the right and y down. confidence is "
        "your estimate, from 0 to 1, that the class is right and the box fits. Give each object once, "
        "nothing that is not of these classes, and use the class names exactly as written. Answer with "
        'JSON alone: {"objects": [{"name": "...", "x": 0, "y": 0, "w": 0, "h": 0, "confidence": 0.0}]}; '
        'without such objects: {"objects": []}.'
    )


class VisionApiDetector:
    """A ``Detector`` that asks a provider. Thread-safe."""

    def __init__(self, provider: Provider, key: str, *, base_url: str, model: str) -> None:
        self._provider = provider
        self._key = key
        self._url = base_url.rstrip("/") + provider.path
        self._model = model
        self._check: Callable[[], None] = lambda: None

    def watched(self, check: Callable[[], None]) -> VisionApiDetector:
        """The same detector, calling ``check`` as long as it waits; what that raises ends the call."""
        made = copy.copy(self)
        made._check = check
        return made

    @classmethod
    def from_environment(
        cls, api: str, model: str | None, env: Mapping[str, str] = os.environ
    ) -> VisionApiDetector:
        """With the provider's own environment variables; Unavailable without a key, or with unusable ones."""
        ready = readiness(api, model, env)
        if not ready.ready:
            raise Unavailable(ready.why, code="key_missing", fix=ready.fix, retryable=False)
        provider = PROVIDERS[api]
        base_url = env.get(provider.base_variable, "").strip() or provider.base_url
        if not base_url.startswith(("https://", "http://")):
            raise Unavailable(
                f"{provider.base_variable} is no web address.",
                code="invalid_setting",
                fix=f"Ask the operator to correct or unset {provider.base_variable}.",
                retryable=False,
            )
        key = env[provider.key_variable].strip()
        if not (key.isascii() and key.isprintable()):
            raise Unavailable(
                f"{provider.key_variable} holds characters that no key has, such as a line break.",
                code="invalid_setting",
                fix=f"Ask the operator to set {provider.key_variable} again, as one line.",
                retryable=False,
            )
        return cls(provider, key, base_url=base_url, model=model or provider.model)

    @property
    def name(self) -> str:
        """``anthropic:model`` or ``openai:model``."""
        return f"{self._provider.name}:{self._model}"

    def detect(
        self, image: Image, names: Sequence[str], *, threshold: float, max_detections: int
    ) -> list[Detection]:
        """See ``Detector``. Scores are the model's own word. Raises Unavailable or RateLimited."""
        from tintype_studio.vision.graph_cut import require_rgb

        require_rgb(image)
        names = list(dict.fromkeys(names))
        data, scale, width, height = _encoded(image)
        prompt = prompt_for(names, width, height)
        answer = self._asked(prompt, data)
        found = []
        for seen in answer.objects:
            if seen.name not in names or seen.confidence < threshold:
                continue
            box = _inside(seen, scale, image.shape[1], image.shape[0])
            if box is not None:
                found.append(Detection(seen.name, box, round(seen.confidence, 4)))
        found.sort(key=lambda detection: -detection.score)
        return _each_once(found)[:max_detections]

    def _asked(self, prompt: str, data: str) -> _Answer:
        """A checked answer; one that cannot be read is asked for again."""
        wrong = ""
        for _ in range(2):
            text = self._post(self._body(prompt + wrong, data))
            try:
                return _Answer.model_validate_json(_json_in(text))
            except (ValidationError, ValueError):
                wrong = " Your last answer could not be read. Answer with the JSON object alone."
        raise Unavailable(
            f"{self._provider.name}'s {self._model} does not answer with boxes as JSON.",
            code="engine_failed",
            fix=f"Ask the operator to name one that sees pictures and follows formats ({MODEL_SETTING}).",
            retryable=False,
        )

    def _body(self, prompt: str, data: str) -> dict[str, Any]:
        if self._provider.name == "anthropic":
            source = {"type": "base64", "media_type": "image/jpeg", "data": data}
            content: list[dict[str, Any]] = [
                {"type": "image", "source": source},
                {"type": "text", "text": prompt},
            ]
            return {
                "model": self._model,
                "max_tokens": MAX_TOKENS,
                "messages": [{"role": "user", "content": content}],
            }
        content = [
            {"type": "text", "text": prompt},
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}},
        ]
        return {
            "model": self._model,
            "max_completion_tokens": MAX_TOKENS,
            "response_format": {"type": "json_object"},
            "messages": [{"role": "user", "content": content}],
        }

    def _headers(self) -> dict[str, str]:
        if self._provider.name == "anthropic":
            return {"x-api-key": self._key, "anthropic-version": "2023-06-01"}
        return {"authorization": f"Bearer {self._key}"}

    def _post(self, body: dict[str, Any]) -> str:
        """The text of the answer, tried ``TRIES`` times where that may help."""
        request = Request(  # noqa: S310  the operator's own address, checked when the detector was made
            self._url,
            data=orjson.dumps(body),
            headers={"content-type": "application/json", **self._headers()},
            method="POST",
        )
        error: TintypeError = self._unreachable()
        for attempt in range(TRIES):
            seconds = FIRST_WAIT_SECONDS * 4**attempt
            try:
                content = _Exchange(request).reply(self._check)
            except HTTPError as refused:
                refused.close()
                error, seconds = self._refused(refused.code, refused.headers.get("retry-after"), seconds)
                if not error.retryable:
                    raise error from None
            except (OSError, HTTPException):
                error = self._unreachable()
            except ValueError:
                # What http.client says of a header it will not send quotes the header, and with it the key.
                raise self._unusable() from None
            else:
                return self._text(content)
            if attempt + 1 < TRIES:
                _pause(min(seconds, LONGEST_WAIT_SECONDS), self._check)
        raise error

    def _text(self, content: bytes) -> str:
        if len(content) > MAX_ANSWER:
            raise self._foreign()
        try:
            answer = orjson.loads(content)
            if self._provider.name == "anthropic":
                return "".join(part["text"] for part in answer["content"] if part.get("type") == "text")
            return str(answer["choices"][0]["message"]["content"])
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise self._foreign() from error

    def _refused(self, status: int, retry_after: str | None, wait: float) -> tuple[TintypeError, float]:
        who = self._provider.name
        if status in {401, 403}:
            return Unavailable(
                f"{who} does not accept the key in {self._provider.key_variable}.",
                code="key_refused",
                fix=f"Ask the operator to check {self._provider.key_variable}.",
                retryable=False,
            ), wait
        if status == 429:
            seconds = float(retry_after) if retry_after and retry_after.isdecimal() else wait
            return RateLimited(
                f"{who} is asked too often.",
                code="provider_rate_limited",
                details={"retry_after": math.ceil(seconds)},
            ), seconds
        if status in {408, 500, 502, 503, 504, 529}:
            return self._unreachable(), wait
        if 300 <= status < 400:
            return Unavailable(
                f"{who} sends the request on to another address (HTTP {status}); the key is not taken there.",
                code="engine_failed",
                fix=f"Ask the operator to set {self._provider.base_variable} to the API's final address.",
                retryable=False,
            ), wait
        return Unavailable(
            f"{who} refused the request (HTTP {status}).",
            code="engine_failed",
            fix=f"Ask the operator whether the model named by {MODEL_SETTING} exists and takes pictures.",
            retryable=False,
        ), wait

    def _unreachable(self) -> TintypeError:
        return Unavailable(
            f"{self._provider.name} cannot be reached now.",
            code="provider_unreachable",
            fix="Try again later, or label with your own eyes: preview_image, then save_annotations.",
        )

    def _foreign(self) -> TintypeError:
        return Unavailable(
            f"What {self._provider.base_variable} names does not speak {self._provider.name}'s API.",
            code="engine_failed",
            fix=f"Ask the operator to check {self._provider.base_variable}.",
            retryable=False,
        )

    def _unusable(self) -> TintypeError:
        provider = self._provider
        return Unavailable(
            f"No request to {provider.name} can be made with this key and address.",
            code="invalid_setting",
            fix=f"Ask the operator to check {provider.key_variable} and {provider.base_variable}.",
            retryable=False,
        )


class _Exchange:
    """One request and its reply, in a thread of its own.

    A socket's timeout bounds each read and not their sum, and a read cannot be interrupted; so the caller
    waits beside it, with its eye on the clock and on whether it shall go on. A thread that is left behind
    ends with its next bytes, or with the socket's timeout.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._content: Future[bytes] = Future()
        self._given_up = threading.Event()

    def reply(self, check: Callable[[], None]) -> bytes:
        """Its bytes, of which none are read beyond a few over ``MAX_ANSWER``.

        Raises TimeoutError after ``TIMEOUT_SECONDS``, and what ``urlopen`` and ``check`` raise.
        """
        until = time.monotonic() + TIMEOUT_SECONDS
        threading.Thread(target=self._run, name="tintype-vision-api", daemon=True).start()
        try:
            while not self._content.done():
                check()
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the whole reply took too long")
                wait([self._content], min(left, CHECK_SECONDS))
            return self._content.result()
        finally:
            self._given_up.set()

    def _run(self) -> None:
        try:
            self._content.set_result(self._read())
        except Exception as error:
            self._content.set_exception(error)

    def _read(self) -> bytes:
        content = bytearray()
        with _opener().open(self._request, timeout=TIMEOUT_SECONDS) as reply:
            while len(content) <= MAX_ANSWER and not self._given_up.is_set():
                chunk = reply.read1(CHUNK)
                if not chunk:
                    break
                content += chunk
        return bytes(content)


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: the one who is redirected to would get the key and the picture."""

    def redirect_request(self, *_request: object) -> None:
        return None


@cache
def _opener() -> OpenerDirector:
    return build_opener(_NoRedirects)


def _pause(seconds: float, check: Callable[[], None]) -> None:
    until = time.monotonic() + seconds
    check()
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, CHECK_SECONDS))
        check()


def _encoded(image: Image) -> tuple[str, float, int, int]:
    """The picture as base64 JPEG, image pixels per picture pixel, and the picture's size."""
    from PIL import Image as PILImage

    picture = PILImage.fromarray(image)
    scale = max(1.0, max(picture.size) / LONGEST_SIDE)
    size = (max(1, round(picture.width / scale)), max(1, round(picture.height / scale)))
    out = io.BytesIO()
    picture.resize(size, PILImage.Resampling.LANCZOS).save(out, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(out.getvalue()).decode(), picture.width / size[0], *size


def _json_in(text: str) -> str:
    """The JSON object in an answer, which some models wrap in a code fence or a sentence."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise ValueError("no JSON object")
    return text[start : end + 1]


def _inside(seen: _Seen, scale: float, width: int, height: int) -> Box | None:
    """The part of the box inside the image; None if too little of it is there to be meant so."""
    left, top = max(0.0, seen.x * scale), max(0.0, seen.y * scale)
    right = min(float(width), (seen.x + seen.w) * scale)
    bottom = min(float(height), (seen.y + seen.h) * scale)
    if right - left < 1 or bottom - top < 1:
        return None
    return Box(round(left, 1), round(top, 1), round(right - left, 1), round(bottom - top, 1))


def _each_once(found: list[Detection]) -> list[Detection]:
    """Without the weaker of two boxes of one name that cover the same."""
    kept: list[Detection] = []
    for detection in found:
        if all(d.name != detection.name or _overlap(d.box, detection.box) < SAME_OBJECT for d in kept):
            kept.append(detection)
    return kept


def _overlap(a: Box, b: Box) -> float:
    width = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    height = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.w * a.h + b.w * b.h - shared)
