"""Parts of large files over HTTP: each gets a quoted ETag, is whole or not kept, and may be sent again."""

from __future__ import annotations

import hashlib
import os
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
from tintype_studio.snapshots.receiving import Upload
from tintype_studio.snapshots.uploads import PART_BYTES
from tintype_studio.studio import Studio

SIZE = 3_000_000


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
def upload(studio: Studio, owner: Principal) -> Upload:
    return studio.snapshots.receiving.begin(owner, "parts", [("x.bin", SIZE)])


def link(site: Site, upload: Upload, part: int = 0) -> str:
    return f"{site.url}/_part/{upload.files[0].tokens[part]}"


def kept(studio: Studio, upload: Upload) -> list[Path]:
    folder = studio.home / "blobs" / "parts" / upload.files[0].upload_id
    return [path for path in folder.glob("*") if path.is_file()] if folder.exists() else []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_part_is_answered_with_its_digest_in_quotes(
    site: Site, studio: Studio, owner: Principal, upload: Upload, chunked: bool
) -> None:
    data = os.urandom(SIZE)
    content = (data[i : i + 100_000] for i in range(0, SIZE, 100_000)) if chunked else data
    response = httpx.put(link(site, upload), content=content)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    file = studio.snapshots.receiving.join(owner, upload.snapshot.id, "x.bin")
    assert studio.blobs.get(file.sha256 or "") == data


def test_a_file_of_several_parts(site: Site, studio: Studio, owner: Principal) -> None:
    size = PART_BYTES + 12_345
    upload = studio.snapshots.receiving.begin(owner, "two parts", [("x.bin", size)])
    digest, etags = hashlib.sha256(), {}
    for part, length in enumerate((PART_BYTES, 12_345)):
        data = bytes([part + 1]) * length
        digest.update(data)
        etags[part + 1] = httpx.put(link(site, upload, part), content=data, timeout=60).headers["ETag"]
    file = studio.snapshots.receiving.join(owner, upload.snapshot.id, "x.bin", etags)
    assert (file.size, file.sha256) == (size, digest.hexdigest())


@pytest.mark.parametrize(
    ("size", "status", "code"), [(SIZE + 1, 413, "part_too_large"), (5, 422, "part_incomplete")]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_part_of_another_size(
    site: Site, studio: Studio, upload: Upload, size: int, status: int, code: str, chunked: bool
) -> None:
    content = iter([bytes(size)]) if chunked else bytes(size)
    response = httpx.put(link(site, upload), content=content)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert kept(studio, upload) == []


def test_a_link_that_is_none(site: Site, upload: Upload) -> None:
    response = httpx.put(link(site, upload)[:-3], content=b"x")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "invalid_link")
    assert httpx.get(link(site, upload)).status_code == 405
    other = link(site, upload).replace("/_part/", "/_upload/")
    assert httpx.put(other, content=b"x").status_code == 403


def test_a_sender_that_hangs_up_leaves_nothing(site: Site, studio: Studio, upload: Upload) -> None:
    address = urlsplit(site.url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as line:
        target = urlsplit(link(site, upload)).path
        head = f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n"
        line.sendall(head.encode() + bytes(SIZE // 2))
        time.sleep(0.2)
    until = time.monotonic() + 5
    while kept(studio, upload) and time.monotonic() < until:
        time.sleep(0.05)
    assert kept(studio, upload) == []
    assert httpx.put(link(site, upload), content=bytes(SIZE)).status_code == 200


def test_a_link_ends_with_its_upload(site: Site, studio: Studio, owner: Principal, upload: Upload) -> None:
    address = link(site, upload)
    studio.snapshots.delete(owner, upload.snapshot.id)
    response = httpx.put(address, content=bytes(upload.files[0].size))
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "upload_over"
    assert not kept(studio, upload)
