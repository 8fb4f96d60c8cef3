"""Which addresses a provider may send us to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tintype_studio.connectors import addresses
from tintype_studio.connectors.addresses import Judge, Origin
from tintype_studio.errors import InvalidInput

BASE = "https://darwin.example.com"
HOSTS = {
    "cdn.example.com": "93.184.215.14",
    "inside.example.com": "10.0.0.7",
    "both.example.com": "93.184.215.14 127.0.0.1",
    "v6.example.com": "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "mapped.example.com": "::ffff:10.0.0.7",
    "nat.example.com": "64:ff9b::a00:7",
}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, **_more: Any) -> list[Any]:
        if host not in HOSTS:
            raise socket.gaierror
        return [(0, 0, 0, "", (address, port)) for address in HOSTS[host].split()]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(addresses, "getproxies", dict)


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example.com/a.jpg",
        "https://cdn.example.com:8443/a.jpg",
        "https://v6.example.com/a.jpg",
        "https://93.184.215.14/a.jpg",
        "https://[64:ff9b::5db8:d70e]/a.jpg",  # what names mean in networks without IPv4
        "https://darwin.example.com/api/v2/a.jpg",  # is not looked up: the operator has chosen it
    ],
)
def test_public_https_and_the_providers_own_origin(url: str) -> None:
    assert Judge(BASE).require(url) == Origin.of(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.example.com/a.jpg",
        "http://darwin.example.com/a.jpg",
        "https://inside.example.com/a.jpg",
        "https://both.example.com/a.jpg",
        "https://mapped.example.com/a.jpg",
        "https://nat.example.com/a.jpg",
        "https://unknown.example.com/a.jpg",
        "https://127.0.0.1/a.jpg",
        "https://[::1]/a.jpg",
        "https://169.254.169.254/latest/meta-data",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://[fd00::1]/",
        "https://[4000::1]/",  # not given out
        "https://[3fff::1]/",
        "https://[::93.184.215.14]/",  # IPv4 in forms that nothing routes
        "https://[::ffff:0:5db8:d70e]/",
        "https://[64:ff9b:1::5db8:d70e]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[2002:c000:9::]/",
        "https://192.0.0.9/",
        "https://192.0.0.171/",
        "https://192.88.99.1/",
        "https://darwin.example.com@10.0.0.7/",
        "https://10.0.0.7@cdn.example.com/",
        "https://cdn.example.com:99999/",
        "file:///etc/passwd",
        "//cdn.example.com/a.jpg",
        "",
        "https://[bad",
    ],
)
def test_all_else_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Judge(BASE).require(url)
    assert raised.value.code == "address_refused"
    assert not url or url not in raised.value.message


def test_a_provider_here_may_send_us_here_and_one_elsewhere_may_not() -> None:
    assert Judge("http://127.0.0.1:8000").require("http://127.0.0.1:9000/a").port == 9000
    with pytest.raises(InvalidInput):
        Judge("http://10.0.0.7").require("http://10.0.0.8/a")
    assert Judge("http://10.0.0.7").require("http://10.0.0.7/a").host == "10.0.0.7"


def test_a_name_that_means_another_address_by_the_time_of_the_connection() -> None:
    judge = Judge(BASE)
    origin = judge.require("https://cdn.example.com/a.jpg")
    judge.require_peer(origin, ("93.184.215.14", 443))
    for peer in (("10.0.0.7", 443), ("::1", 443, 0, 0), ("169.254.169.254", 443)):
        with pytest.raises(InvalidInput):
            judge.require_peer(origin, peer)
