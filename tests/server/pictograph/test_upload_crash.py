"""kill -9 between the requests of an upload: whatever the client was told stays true."""

from __future__ import annotations

import hashlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from support.doors import serve, stop
from support.pictures import jpeg

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.identity.bootstrap import saved_api_key

API = "/api/v1/developer"


class Served:
    """A workspace behind a server that dies and comes back."""

    def __init__(self, home: Path) -> None:
        self.home = home
        open_studio(Settings(home=home)).close()
        self.headers = {"X-API-Key": str(saved_api_key(home))}
        self.process: subprocess.Popen[Any]
        self.start()

    def start(self) -> None:
        self.process, self.url = serve(self.home)

    def dies_and_returns(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.start()

    def send(self, method: str, path: str, **given: Any) -> Any:
        headers = self.headers | given.pop("headers", {})
        response = httpx.request(method, f"{self.url}{API}{path}", headers=headers, timeout=30, **given)
        assert response.is_success, response.text
        return response.json()

    def put(self, ticket: dict[str, Any], data: bytes) -> httpx.Response:
        """To the same place, on whatever port the server has come back."""
        return httpx.put(f"{self.url}{urlsplit(ticket['upload_url']).path}", content=data, timeout=30)

    def images(self) -> list[Any]:
        found = self.send("GET", "/datasets/by-name/signs", params={"include_images": True})
        images: list[Any] = found["dataset"]["images"]
        return images


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "home")
    yield made
    stop(made.process)


@pytest.fixture
def dataset(served: Served) -> str:
    return str(served.send("POST", "/projects/", json={"name": "signs"})["project"]["id"])


def ticket(served: Served, dataset: str) -> dict[str, Any]:
    asked = {"dataset_id": dataset, "filename": "a.jpg", "folder_path": "/", "content_type": "image/jpeg"}
    made: dict[str, Any] = served.send("POST", "/images/upload-url", json=asked)
    return made


def register(served: Served, dataset: str, place: dict[str, Any], key: str) -> dict[str, Any]:
    form = {"dataset_id": dataset, "filename": "a.jpg", "folder_path": "/", "gcs_path": place["gcs_path"]}
    headers = {"Idempotency-Key": key}
    made: dict[str, Any] = served.send("POST", "/images/register", data=form, headers=headers)
    return made


def test_bytes_that_were_taken_are_there_after_a_crash(served: Served, dataset: str) -> None:
    data, place = jpeg(31, 17), ticket(served, dataset)
    assert served.put(place, data).status_code == 200
    served.dies_and_returns()
    made = register(served, dataset, place, "once")
    served.dies_and_returns()
    assert [image["id"] for image in served.images()] == [made["image_id"]]
    link = served.send("GET", f"/images/{made['image_id']}/metadata")["image"]["image_url"]
    kept = httpx.get(f"{served.url}{urlsplit(link).path}?{urlsplit(link).query}", headers=served.headers)
    assert hashlib.sha256(kept.content).digest() == hashlib.sha256(data).digest()


def test_bytes_that_broke_off_leave_nothing_and_may_be_sent_again(served: Served, dataset: str) -> None:
    data, place = jpeg(31, 17), ticket(served, dataset)
    where = urlsplit(place["upload_url"])
    with socket.create_connection(("127.0.0.1", urlsplit(served.url).port)) as line:
        head = f"PUT {where.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        line.sendall(head.encode() + data[:-5])
        time.sleep(0.3)
        served.process.send_signal(signal.SIGKILL)
        served.process.wait(10)
    served.start()
    form = {"dataset_id": dataset, "filename": "a.jpg", "gcs_path": place["gcs_path"]}
    early = httpx.post(f"{served.url}{API}/images/register", data=form, headers=served.headers)
    assert early.status_code == 404, early.text
    assert served.images() == []
    assert served.put(place, data).status_code == 200
    register(served, dataset, place, "once")
    assert len(served.images()) == 1


def test_a_registration_whose_answer_was_lost_is_repeated_by_its_key(served: Served, dataset: str) -> None:
    place = ticket(served, dataset)
    served.put(place, jpeg(31, 17))
    first = register(served, dataset, place, "once")
    served.dies_and_returns()
    assert register(served, dataset, place, "once")["image_id"] == first["image_id"]
    assert len(served.images()) == 1
