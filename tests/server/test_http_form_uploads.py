"""Signed uploads as forms: fields first, the file last, and every way in which such a form is broken."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from support.doors import Site

from tintype_server.http.uploads import AT_ONCE
from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.uploads import MAX_BYTES, Ticket, UploadKind
from tintype_studio.studio import Studio

LINE = b"\r\n"


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
    return studio.uploads.issue(owner, "media", UploadKind.IMAGE)


def kept(studio: Studio, owner: Principal) -> list[Path]:
    folder = studio.home / "blobs" / "uploads" / owner.organization_uuid
    return [path for path in folder.glob("*") if path.is_file()] if folder.exists() else []


def part(name: str, value: bytes, more: str = "") -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{more}'
    return head.encode() + LINE + b"Content-Type: text/plain; charset=utf-8" + LINE + LINE + value + LINE


def post(site: Site, body: bytes, content_type: str = "multipart/form-data; boundary=b") -> httpx.Response:
    return httpx.post(f"{site.url}/_upload", content=body, headers={"Content-Type": content_type})


@pytest.mark.parametrize("size", [0, 1, 100_000, 9_000_000])
def test_a_form(site: Site, studio: Studio, owner: Principal, ticket: Ticket, size: int) -> None:
    """As the SDK of the dialect sends it, in small and in large."""
    data = bytes(range(256)) * (size // 256) + b"\r\n--b" * (size % 256 > 0)
    fields = {"key": ticket.path, "token": ticket.token}
    files = {"file": ("file", data, "application/octet-stream")}
    response = httpx.post(f"{site.url}/_upload", data=fields, files=files)
    assert (response.status_code, response.content) == (204, b"")
    assert studio.uploads.read(owner, ticket.path, max_bytes=10_000_000) == data


def test_what_follows_the_file_is_passed_over(
    site: Site, studio: Studio, owner: Principal, ticket: Ticket
) -> None:
    body = part("token", ticket.token.encode()) + part("file", b"abc", '; filename="file"')
    assert post(site, body + part("token", b"late") + b"--b--\r\n").status_code == 204
    assert studio.uploads.read(owner, ticket.path, max_bytes=10) == b"abc"


def test_forms_that_are_none(site: Site, studio: Studio, owner: Principal, ticket: Ticket) -> None:
    before = kept(studio, owner)
    token, file = part("token", ticket.token.encode()), part("file", b"abc", '; filename="file"')
    many = b"".join(part(f"f{number}", b"1") for number in range(40))
    cases = [
        (token + b"--b--\r\n", 422, "invalid_form"),
        (file + token + b"--b--\r\n", 403, "invalid_link"),
        (part("token", ticket.token.encode()[:-3]) + file + b"--b--\r\n", 403, "invalid_link"),
        (token + file[:-2], 422, "upload_incomplete"),
        (b"no form at all", 422, "invalid_form"),
        (b"", 422, "invalid_form"),
        (many + token + file + b"--b--\r\n", 413, "form_too_large"),
        (part("token", bytes(20_000)) + file + b"--b--\r\n", 413, "form_too_large"),
        (part("", bytes(10_000)) * 150 + token + file + b"--b--\r\n", 413, "form_too_large"),
    ]
    for body, status, code in cases:
        response = post(site, body)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code), body[:80]
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert post(site, token + file, content_type).json()["error"]["code"] == "invalid_form"
    assert kept(studio, owner) == before
    assert httpx.get(f"{site.url}/_upload").status_code == 405


def test_a_file_over_the_limit(site: Site, studio: Studio, owner: Principal, ticket: Ticket) -> None:
    before = kept(studio, owner)
    data = bytes(MAX_BYTES[UploadKind.IMAGE] + 1)
    body = part("token", ticket.token.encode()) + part("file", data, '; filename="file"') + b"--b--\r\n"
    response = post(site, body)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "file_too_large")
    assert kept(studio, owner) == before


def test_forms_that_never_tell_their_link_keep_nobody_out(
    site: Site, studio: Studio, owner: Principal, ticket: Ticket
) -> None:
    address = urlsplit(site.url)
    head = (
        "POST /_upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        "Content-Length: 100000\r\n\r\n--b\r\n"
    )
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            line = socket.create_connection((address.hostname or "", address.port or 0))
            stack.enter_context(line).sendall(head.encode())
        time.sleep(0.2)
        body = part("token", ticket.token.encode()) + part("file", b"abc", '; filename="file"')
        assert post(site, body + b"--b--\r\n").status_code == 204
    assert studio.uploads.read(owner, ticket.path, max_bytes=10) == b"abc"


def test_a_claim_of_ten_gigabytes_with_ten_kilobytes(
    site: Site, studio: Studio, owner: Principal, ticket: Ticket
) -> None:
    before = kept(studio, owner)
    address = urlsplit(site.url)
    body = part("token", ticket.token.encode()) + part("file", bytes(10_000), '; filename="file"')
    for claimed in (10 * 1024**3, len(body) + 100):
        with socket.create_connection((address.hostname or "", address.port or 0)) as line:
            head = (
                "POST /_upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                f"Content-Length: {claimed}\r\n\r\n"
            )
            line.sendall(head.encode() + body[:-2])
            time.sleep(0.2)
    until = time.monotonic() + 5
    while kept(studio, owner) != before and time.monotonic() < until:
        time.sleep(0.05)
    assert kept(studio, owner) == before
