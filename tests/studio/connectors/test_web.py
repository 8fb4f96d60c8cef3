"""Requests to a provider: redirects, limits, and where the key goes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.providers import KEY, Provider, answer, open_provider

from tintype_studio.connectors import web
from tintype_studio.connectors.web import Web, _retry_after
from tintype_studio.errors import TintypeError


@pytest.fixture
def asked(provider: Provider) -> Iterator[Web]:
    opened = Web("V7", provider.url, {"Authorization": f"ApiKey {KEY}"}, tries=2)
    yield opened
    opened.close()


def code(deed: Any, *arguments: Any) -> str:
    with pytest.raises(TintypeError) as raised:
        deed(*arguments)
    assert KEY not in raised.value.message + raised.value.fix + repr(raised.value.details)
    return raised.value.code


def test_another_origin_gets_no_key(provider: Provider, asked: Web) -> None:
    with open_provider() as other:
        provider.rule("GET /a", (302, {"location": f"{other.url}/b"}, b""))
        other.rule("GET /b", (200, {}, b"picture"))
        assert asked.image("/a", 100) == b"picture"
        assert "authorization" in provider.asked[0][2]
        assert "authorization" not in other.asked[0][2]


def test_redirects_end(provider: Provider, asked: Web) -> None:
    provider.rule("GET /", *[(302, {"location": "/again"}, b"")] * 20)
    assert code(asked.image, "/a", 100) == "connector_answer"
    assert provider.count("GET") == web.MAX_REDIRECTS + 1
    provider.rules.clear()
    provider.rule("GET /", (302, {"location": "http://169.254.169.254/"}, b""))
    assert code(asked.image, "/a", 100) == "address_refused"
    provider.rule("POST /", (307, {"location": "/else"}, b""))
    assert code(asked.post, "a", {}) == "connector_answer"


def test_limits_of_size_also_unpacked(provider: Provider, asked: Web, tmp_path: Path) -> None:
    import gzip

    provider.rule("GET /a", (200, {}, b"x" * 101), (200, {}, b"x" * 100))
    assert code(asked.image, "/a", 100) == "file_too_large"
    assert len(asked.image("/a", 100)) == 100
    provider.rule("GET /bomb", (200, {"content-encoding": "gzip"}, gzip.compress(b"0" * 5_000_000)))
    assert code(asked.image, "/bomb", 1_000_000) == "file_too_large"
    provider.rule("GET /broken", (200, {"content-encoding": "gzip"}, b"no gzip"))
    assert code(asked.image, "/broken", 100) == "connector_answer"


@pytest.mark.parametrize("packing", ["gzip, gzip", "gzip,deflate", "br", "zstd", "deflate", "nonsense"])
def test_no_packing_but_the_one_that_was_asked_for(provider: Provider, asked: Web, packing: str) -> None:
    import gzip

    inner = gzip.compress(bytes(50 << 20))
    provider.rule("GET /a", (200, {"content-encoding": packing}, gzip.compress(inner)))
    tracemalloc.start()
    try:
        assert code(asked.image, "/a", 1 << 20) == "connector_answer"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert provider.asked[-1][2]["accept-encoding"] == "gzip"


def test_a_packed_answer_is_unpacked_up_to_the_limit_and_whole(provider: Provider, asked: Web) -> None:
    import gzip

    data = bytes(range(256)) * 10_000
    packed = gzip.compress(data)
    provider.rule("GET /a", *[(200, {"content-encoding": name}, packed) for name in ("gzip", "X-GZIP")])
    assert asked.image("/a", len(data)) == data
    assert asked.image("/a", len(data)) == data
    provider.rule("GET /half", (200, {"content-encoding": "gzip"}, packed[:-20]))
    assert code(asked.image, "/half", len(data)) == "connector_answer"
    bomb = gzip.compress(bytes(100 << 20))
    provider.rule("GET /bomb", (200, {"content-encoding": "gzip"}, bomb))
    tracemalloc.start()
    try:
        assert code(asked.image, "/bomb", 1 << 20) == "file_too_large"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    provider.rule("GET /plain", (200, {"content-encoding": "identity"}, b"plain"))
    assert asked.image("/plain", 100) == b"plain"


def test_a_post_is_sent_once(provider: Provider, asked: Web) -> None:
    provider.rule("POST /a", answer({}, 503))
    assert code(asked.post, "a", {}) == "connector_unavailable"
    assert provider.count("POST") == 1
    provider.rule("POST /b", answer({}, 429, retry_after="0"), answer({"made": 1}))
    assert asked.post("b", {}) == {"made": 1}


def test_what_each_status_means(provider: Provider, asked: Web) -> None:
    for status, meant in (
        (400, "connector_refused"),
        (401, "connector_key_refused"),
        (403, "connector_key_refused"),
        (404, "connector_not_found"),
        (410, "connector_not_found"),
        (418, "connector_answer"),
        (429, "connector_busy"),
        (502, "connector_unavailable"),
    ):
        provider.rules.clear()
        provider.rule("GET /", *[answer({"error": KEY}, status)] * 2)
        assert code(asked.get, "a") == meant


def test_nobody_is_there() -> None:
    with open_provider() as gone:
        url = gone.url
    nowhere = Web("V7", url, {}, tries=1)
    assert code(nowhere.get, "a") == "connector_unavailable"
    nowhere.close()


def test_too_slow(provider: Provider, asked: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "IMAGE_SECONDS", -1.0)
    provider.rule("GET /a", (200, {}, b"x"))
    assert code(asked.image, "/a", 100) == "connector_unavailable"


def test_retry_after() -> None:
    assert _retry_after("1.5") == 1.5
    assert _retry_after("-3") == 0
    assert _retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert _retry_after("Wed, 21 Oct 2099 07:28:00 GMT") == 86_400
    assert _retry_after(None) is None
    assert _retry_after("soon") is None
