"""Requests to a provider.

The key is a header of requests to the provider's own origin, and of no other; no address carries it. What a
provider answers is read up to a limit and never repeated in an error.
"""

from __future__ import annotations

import email.utils
import errno
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin

import orjson

from tintype_studio import clock
from tintype_studio.connectors.addresses import Judge
from tintype_studio.errors import InvalidInput, NotFound, RateLimited, TintypeError, TooLarge, Unavailable

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
"""Between two pieces of an answer."""
JSON_SECONDS = 60.0
IMAGE_SECONDS = 300.0
ARCHIVE_SECONDS = 4 * 3600.0
"""Of a whole answer."""
MAX_JSON_BYTES = 64 << 20
MAX_REDIRECTS = 5
UNPACKED_AT_A_TIME = 1 << 18
"""Bytes."""
CONNECTIONS = 16
TRIES = 4
"""Of a question to the API; images are tried again by the job."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""A provider that asks for more is told to be busy."""
T = TypeVar("T")

NOT_NOW = (RateLimited, Unavailable)
_MOVED = {301, 302, 303, 307, 308}


class Web:
    """Requests to one provider with one key. Thread-safe; close it."""

    def __init__(
        self,
        title: str,
        base_url: str,
        headers: Mapping[str, str],
        *,
        check: Callable[[], None] = lambda: None,
        pause: Callable[[float], None] = time.sleep,
        longest_pause: float = LONGEST_PAUSE_SECONDS,
        tries: int = TRIES,
    ) -> None:
        """``headers`` carry the key. ``check`` and ``pause`` may raise to stop the work."""
        import httpx

        self.title = title
        self.base_url = base_url.rstrip("/")
        self._judge = Judge(self.base_url)
        self._headers = dict(headers)
        self._check = check
        self._pause = pause
        self._longest_pause = longest_pause
        self._tries = tries
        self._client = httpx.Client(
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            headers={"User-Agent": "tintype", "Accept-Encoding": "gzip"},
            follow_redirects=False,
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def get(self, path: str, **query: str) -> Any:
        """The JSON at a path of the API."""
        return self._ask("GET", path, query, None)[1]

    def get_with_status(self, path: str, **query: str) -> tuple[int, Any]:
        """The same with the status, for an API that tells by it what is not ready."""
        return self._ask("GET", path, query, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """What the API answers to ``body``; sent again only when it was not taken: it may make something."""
        return self._again(lambda: self._asked_once("POST", path, {}, body), (RateLimited,))[1]

    def image(self, url: str, limit: int) -> bytes:
        """The bytes at an address that the provider told, up to ``limit``."""
        data = bytearray()
        for piece in self._pieces(url, limit, IMAGE_SECONDS):
            data += piece
        return bytes(data)

    def archive(self, url: str, target: Path, limit: int, told: Callable[[int], None]) -> None:
        """Write what is at an address into a file; ``told`` gets the bytes so far."""

        def write() -> None:
            size = 0
            with target.open("wb") as file:
                for piece in self._pieces(url, limit, ARCHIVE_SECONDS):
                    file.write(piece)
                    size += len(piece)
                    told(size)

        try:
            self._again(write)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise Unavailable(
                "The server's disk is full.",
                code="disk_full",
                fix="Ask the operator to free disk space, then import again; what was imported stays.",
            ) from None

    # --- The API ----------------------------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None
    ) -> tuple[int, Any]:
        return self._again(lambda: self._asked_once(method, path, query, body))

    def _again(self, work: Callable[[], T], reasons: tuple[type[TintypeError], ...] = NOT_NOW) -> T:
        """Do something, again after a while when the provider cannot now, for one of these reasons."""
        pause = FIRST_PAUSE_SECONDS
        for left in reversed(range(self._tries)):
            try:
                return work()
            except reasons as error:
                wanted = error.details.get("retry_after", pause)
                if not left or not error.retryable or wanted > self._longest_pause:
                    raise
                self._pause(wanted)
                pause *= 3
        raise AssertionError

    def _asked_once(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None
    ) -> tuple[int, Any]:
        import httpx

        url = f"{self.base_url}/{path.lstrip('/')}"
        if query:
            url = str(httpx.URL(url, params=query))
        data = bytearray()
        with self._opened(method, url, body) as response:
            for piece in self._body(response, MAX_JSON_BYTES, JSON_SECONDS):
                data += piece
            status = response.status_code
        try:
            return status, orjson.loads(data)
        except orjson.JSONDecodeError:
            raise self.nonsense() from None

    # --- Any address ------------------------------------------------------------------------------------

    def _pieces(self, url: str, limit: int, seconds: float) -> Iterator[bytes]:
        # Addresses of an API's own files are often told without the host.
        with self._opened("GET", urljoin(f"{self.base_url}/", url), None) as response:
            yield from self._body(response, limit, seconds)

    def _body(self, response: httpx.Response, limit: int, seconds: float) -> Iterator[bytes]:
        """The answer as it comes in, unpacked, up to a size and for so long."""
        until, size = time.monotonic() + seconds, 0
        for piece in self._unpacked(response):
            self._check()
            size += len(piece)
            if size > limit:
                raise TooLarge(
                    f"{self.title} sent more than {limit >> 20:,} MiB.",
                    code="file_too_large",
                    fix="Make it smaller at the provider, or leave it out.",
                )
            if time.monotonic() > until:
                raise self._unreachable("was too slow")
            yield piece

    def _unpacked(self, response: httpx.Response) -> Iterator[bytes]:
        """What an answer holds, in pieces of a bounded size.

        The HTTP library unpacks as many layers as an answer names, each whole before anybody can count: some
        kilobytes become gigabytes. Here it is one layer, unpacked bit by bit. The pieces of the net are
        passed on as they come, empty ones too: whoever trickles shall not escape the limit of time.
        """
        named = response.headers.get_list("content-encoding", split_commas=True)
        packings = [name for each in named if (name := each.strip().lower()) not in {"", "identity"}]
        if not packings:
            yield from response.iter_raw()
            return
        if packings not in (["gzip"], ["x-gzip"]):
            raise self.nonsense()
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            for packed in response.iter_raw():
                yield unpacker.decompress(packed, UNPACKED_AT_A_TIME)
                while unpacker.unconsumed_tail and not unpacker.eof:
                    yield unpacker.decompress(unpacker.unconsumed_tail, UNPACKED_AT_A_TIME)
        except zlib.error:
            raise self.nonsense() from None
        if not unpacker.eof:
            raise self.nonsense()

    @contextmanager
    def _opened(self, method: str, url: str, body: dict[str, Any] | None) -> Iterator[httpx.Response]:
        """The answer of 2xx at the end of the redirects."""
        import httpx

        try:
            for _ in range(MAX_REDIRECTS + 1):
                self._check()
                origin = self._judge.require(url)
                headers = self._headers if origin == self._judge.home else {}
                with self._client.stream(method, url, json=body, headers=headers) as response:
                    stream = response.extensions.get("network_stream")
                    peer = None if stream is None else stream.get_extra_info("server_addr")
                    self._judge.require_peer(origin, peer)
                    if response.status_code in _MOVED and method == "GET" and "location" in response.headers:
                        url = urljoin(url, response.headers["location"])
                        continue
                    if not response.is_success:
                        raise self._refusal(response, own=origin == self._judge.home)
                    yield response
                    return
            raise self.nonsense()
        except httpx.TimeoutException:
            raise self._unreachable("did not answer in time") from None
        except httpx.TransportError:
            raise self._unreachable("cannot be reached") from None
        except (httpx.InvalidURL, httpx.DecodingError, ValueError):
            raise self.nonsense() from None

    def _refusal(self, response: httpx.Response, *, own: bool) -> TintypeError:
        status = response.status_code
        if status in {401, 403} and own:
            return self.key_refused()
        if status == 429:
            pause = _retry_after(response.headers.get("retry-after"))
            return RateLimited(
                f"{self.title} takes no more requests for now.",
                code="connector_busy",
                fix="Call again later; what was imported stays.",
                details={} if pause is None else {"retry_after": pause},
            )
        if status >= 500:
            pause = _retry_after(response.headers.get("retry-after"))
            return self._unreachable("fails", {} if pause is None else {"retry_after": pause})
        if status in {400, 422}:
            return InvalidInput(
                f"{self.title} refused the request.",
                code="connector_refused",
                fix=f"Check in {self.title} that the dataset can be exported; then call again.",
            )
        if status in {401, 403, 404, 410}:
            return NotFound(
                f"{self.title} does not have what was asked for.",
                code="connector_not_found",
                fix="Call validate_connector to see the datasets that the key can read.",
            )
        return self.nonsense()

    def key_refused(self) -> InvalidInput:
        """The provider does not know the key, or it may not read."""
        return InvalidInput(
            f"{self.title} refused the key.",
            code="connector_key_refused",
            fix=f"Send a valid API key of {self.title} in api_key; it must be able to read datasets.",
        )

    def nonsense(self) -> Unavailable:
        """The provider answered something that its API does not."""
        return Unavailable(
            f"{self.title} answered something that its API does not.",
            code="connector_answer",
            fix="Check the provider's address in the settings; a proxy's page may have come instead.",
            retryable=False,
        )

    def _unreachable(self, how: str, details: dict[str, Any] | None = None) -> Unavailable:
        return Unavailable(
            f"{self.title} {how}.",
            code="connector_unavailable",
            fix="Call again later; what was imported stays.",
            details=details,
        )


def _retry_after(value: str | None) -> float | None:
    """Seconds, of a number or a date."""
    if not value:
        return None
    with suppress(ValueError):
        return min(max(0.0, float(value)), 86_400.0)
    with suppress(ValueError, TypeError):
        at = email.utils.parsedate_to_datetime(value)
        return min(max(0.0, (at - clock.now()).total_seconds()), 86_400.0)
    return None
