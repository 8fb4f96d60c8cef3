"""Signed uploads over HTTP: with a length or chunked, refused or broken off."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from support.doors import Site

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.uploads import MAX_BYTES, Ticket, UploadKind
from tintype_studio.studio import Studio


@pytest.fixture
def studio(site: Site) -> Iterator[Studio]:
    """The site's workspace, as another process opens it."""
    opened = open_studio(Settings(home=site.home))
    yield opened
    opened.close()


@pytest.fixture
def owner(site: Site, studio: Studio) -> Principal:
    return studio.keys.authenticate(site.owner)


@pytest.fixture
def ticket(studio: Studio, owner: Principal) -> Ticket:
    return studio.uploads.issue(owner, "a.jpg", UploadKind.IMAGE)


def kept(studio: Studio, owner: Principal) -> list[Path]:
    folder = studio.home / "blobs" / "uploads" / owner.organization_uuid
    return [path for path in folder.glob("*") if path.is_file()] if folder.exists() else []


def test_a_file_with_a_length(site: Site, studio: Studio, owner: Principal, ticket: Ticket) -> None:
    response = httpx.put(f"{site.url}/_upload/{ticket.token}", content=b"abc" * 1000)
    assert (response.status_code, response.content) == (200, b"")
    assert studio.uploads.read(owner, ticket.path, max_bytes=3000) == b"abc" * 1000


def test_a_chunked_file(site: Site, studio: Studio, owner: Principal, ticket: Ticket) -> None:
    pieces = [bytes([i]) * 1_000_000 for i in range(20)]
    response = httpx.put(f"{site.url}/_upload/{ticket.token}", content=iter(pieces))
    assert response.status_code == 200
    assert studio.uploads.read(owner, ticket.path, max_bytes=20_000_000) == b"".join(pieces)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_over_the_limit(
    site: Site, studio: Studio, owner: Principal, ticket: Ticket, chunked: bool
) -> None:
    before = kept(studio, owner)
    data = bytes(MAX_BYTES[UploadKind.IMAGE] + 1)
    content = (data[i : i + 1_000_000] for i in range(0, len(data), 1_000_000)) if chunked else data
    response = httpx.put(f"{site.url}/_upload/{ticket.token}", content=content, timeout=30)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "file_too_large"
    assert kept(studio, owner) == before


def test_a_link_that_is_none(site: Site, ticket: Ticket) -> None:
    response = httpx.put(f"{site.url}/_upload/{ticket.token[:-3]}", content=b"x")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "invalid_link")
    assert httpx.get(f"{site.url}/_upload/{ticket.token}").status_code == 405


@pytest.mark.parametrize("size", [1000, 20_000_000])
def test_a_sender_that_hangs_up_leaves_nothing(
    site: Site, studio: Studio, owner: Principal, ticket: Ticket, size: int
) -> None:
    before = kept(studio, owner)
    address = urlsplit(site.url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as line:
        head = f"PUT /_upload/{ticket.token} HTTP/1.1\r\nHost: x\r\nContent-Length: {size + 1}\r\n\r\n"
        line.sendall(head.encode() + bytes(size))
        time.sleep(0.2)
    until = time.monotonic() + 5
    while kept(studio, owner) != before and time.monotonic() < until:
        time.sleep(0.05)
    assert kept(studio, owner) == before
    # The link still takes the whole file.
    assert httpx.put(f"{site.url}/_upload/{ticket.token}", content=b"whole").status_code == 200
    assert studio.uploads.read(owner, ticket.path, max_bytes=10) == b"whole"
