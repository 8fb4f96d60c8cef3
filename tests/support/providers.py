"""V7 Darwin and Roboflow on this machine: they answer as their APIs are documented and as their own clients
read them (darwin-py 3.6, roboflow 1.7), and badly where a test says so.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.pictures import jpeg

from tintype_studio import clock

KEY = "Sup3rSecretProviderKey.0123456789-abcdef"
"""The only key that both take."""
TEAM = "road-team"
WORKSPACE = "traffic"

Answer = tuple[int, dict[str, str], bytes]


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    return status, {"content-type": "application/json", **headers}, json.dumps(body).encode()


@dataclass
class Provider:
    """A server. ``rules`` are asked first: ``(method, path)`` pattern to what answers, None to go on."""

    url: str = ""
    items: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """V7: Darwin documents by item name, by the slug of the dataset."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """V7: bytes by upload."""
    releases: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    projects: dict[str, dict[int, dict[str, bytes]]] = field(default_factory=dict)
    """Roboflow: members of the export by version, by project."""
    polls: int = 1
    """How often a release or an export is asked for before it is there."""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path with query, headers."""
    rules: list[tuple[str, Callable[[str], Answer | None]]] = field(default_factory=list)
    picture_seconds: float = 0.0
    _pending: dict[str, int] = field(default_factory=dict)

    def rule(self, pattern: str, *answers: Answer | None) -> None:
        """Answer the next requests whose method and path match, one after the other; None as always."""
        left = list(answers)

        def take(_path: str) -> Answer | None:
            return left.pop(0) if left else None

        self.rules.append((pattern, take))

    def count(self, pattern: str) -> int:
        """Requests that matched."""
        return sum(bool(re.search(pattern, f"{method} {path}")) for method, path, _ in self.asked)

    # --- What they have ---------------------------------------------------------------------------------

    def add_v7(self, slug: str, count: int = 3, **more: Any) -> None:
        """A dataset of ``count`` pictures, each with a polygon and a box."""
        for number in range(count):
            name = f"{slug}-{number}.jpg"
            self.add_item(slug, name, jpeg(seed=hash_of(name)), [polygon(), box()], **more)

    def add_item(
        self, slug: str, name: str, data: bytes, annotations: list[dict[str, Any]], path: str = "/"
    ) -> None:
        upload = f"{slug}-{name}"
        self.pictures[upload] = data
        self.items.setdefault(slug, {})[name] = {
            "version": "2.0",
            "schema_ref": "https://darwin-public.s3.eu-west-1.amazonaws.com/darwin_json/2.0/schema.json",
            "item": {
                "name": name,
                "path": path,
                "source_info": {"dataset": {"name": slug.title(), "slug": slug}, "team": {"slug": TEAM}},
                "slots": [
                    {
                        "type": "image",
                        "slot_name": "0",
                        "width": 64,
                        "height": 48,
                        "source_files": [
                            {"file_name": name, "url": f"{self.url}/api/v2/teams/{TEAM}/uploads/{upload}"}
                        ],
                    }
                ],
            },
            "annotations": annotations,
        }

    def add_roboflow(self, project: str, version: int = 1, count: int = 3) -> None:
        """A version with its pictures in train and valid."""
        members: dict[str, bytes] = {"README.roboflow.txt": b"exported"}
        for split, numbers in (("train", range(count - 1)), ("valid", range(count - 1, count))):
            images, annotations = [], []
            for number in numbers:
                name = f"{project}-{number}_jpg.rf.{number:032x}.jpg"
                members[f"{split}/{name}"] = jpeg(seed=hash_of(name))
                images.append({"id": number, "license": 1, "file_name": name, "height": 48, "width": 64})
                annotations.append(
                    {"id": number, "image_id": number, "category_id": 1, "bbox": [4, 5, 20, 10],
                     "area": 200, "segmentation": [], "iscrowd": 0}
                )  # fmt: skip
            categories = [
                {"id": 0, "name": "pieces", "supercategory": "none"},
                {"id": 1, "name": "rook", "supercategory": "pieces"},
            ]
            told = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
            members[f"{split}/_annotations.coco.json"] = json.dumps(told).encode()
        self.projects.setdefault(project, {})[version] = members

    # --- What they answer -------------------------------------------------------------------------------

    def reply(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        self.asked.append((method, target, headers))
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        for pattern, take in self.rules:
            if re.search(pattern, f"{method} {target}") and (told := take(target)) is not None:
                return told
        if path.startswith("/files/"):
            return self._file(path, query)
        if path.startswith("/api/"):
            if headers.get("authorization") != f"ApiKey {KEY}":
                return answer({"errors": {"detail": "Unauthorized"}}, 401)
            return self._v7(method, path, body)
        if headers.get("authorization") != f"Bearer {KEY}":
            return answer({"error": {"message": f"This API key does not exist: {KEY[:4]}"}}, 401)
        return self._roboflow(path)

    def _v7(self, method: str, path: str, body: bytes) -> Answer:
        if path == "/api/users/token_info":
            return answer({"selected_team": {"id": 1, "slug": TEAM, "name": "Road team"}})
        if path == "/api/datasets":
            return answer(
                [
                    {"id": 100 + n, "name": slug.title(), "slug": slug, "num_images": len(items),
                     "num_videos": 0, "num_items": len(items), "progress": 1.0}
                    for n, (slug, items) in enumerate(self.items.items())
                ]
            )  # fmt: skip
        if found := re.fullmatch(rf"/api/v2/teams/{TEAM}/datasets/([^/]+)/exports", path):
            return self._exports(method, found[1], body)
        if found := re.fullmatch(rf"/api/v2/teams/{TEAM}/uploads/(.+)", path):
            time.sleep(self.picture_seconds)
            data = self.pictures.get(found[1])
            return (200, {"content-type": "image/jpeg"}, data) if data else answer({}, 404)
        return answer({"errors": "not found"}, 404)

    def _exports(self, method: str, slug: str, body: bytes) -> Answer:
        releases = self.releases.setdefault(slug, [])
        if method == "POST":
            told = json.loads(body)
            assert told["format"] == "darwin_json_2"
            at = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
            releases.insert(0, {"name": told["name"], "inserted_at": at, "format": told["format"]})
            self._pending[told["name"]] = self.polls
            return answer({"name": told["name"], "status": "pending"})
        listed = []
        for release in releases:
            self._pending[release["name"]] -= 1
            ready = self._pending[release["name"]] < 0
            url = f"{self.url}/files/v7/{slug}.zip?sig=abc"
            listed.append(
                {**release, "version": 1, "latest": True, "status": "complete" if ready else "pending",
                 "download_url": url if ready else None,
                 "metadata": {"num_images": len(self.items[slug]), "annotation_classes": []}}
            )  # fmt: skip
        return answer(listed)

    def _roboflow(self, path: str) -> Answer:
        parts = path.strip("/").split("/")
        if path == "/":
            return answer({"welcome": "Welcome to the Roboflow API.", "workspace": WORKSPACE})
        workspace = {"name": "Traffic", "url": WORKSPACE, "members": 1}
        if parts == [WORKSPACE]:
            listed = [
                self._project(slug) | {"versions": len(versions)} for slug, versions in self.projects.items()
            ]
            return answer({"workspace": workspace | {"projects": listed}})
        if parts[0] != WORKSPACE or parts[1] not in self.projects:
            return answer({"error": "not found"}, 404)
        versions = self.projects[parts[1]]
        told = {"workspace": workspace, "project": self._project(parts[1])}
        if len(parts) == 2:
            return answer(told | {"versions": [self._version(parts[1], number) for number in versions]})
        number = int(parts[2])
        if number not in versions:
            return answer({"error": "not found"}, 404)
        told |= {"version": self._version(parts[1], number)}
        if len(parts) == 3:
            return answer(told)
        if parts[3:] != ["coco"]:
            return answer({"error": {"message": "no such format"}}, 400)
        left = self._pending.setdefault(path, self.polls)
        self._pending[path] -= 1
        if left > 0:
            return answer({"progress": 0.5}, 202)
        link = f"{self.url}/files/roboflow/{parts[1]}/{number}?key=downloadtoken"
        return answer(told | {"export": {"format": "coco", "link": link}})

    def _project(self, slug: str) -> dict[str, Any]:
        versions = self.projects[slug]
        newest = versions[max(versions)] if versions else {}
        return {
            "id": f"{WORKSPACE}/{slug}",
            "type": "object-detection",
            "name": slug.title(),
            "created": 1630335544.592,
            "updated": 1630335741.988,
            "images": sum(name.endswith(".jpg") for name in newest),
            "unannotated": 0,
            "annotation": "pieces",
            "public": False,
            "splits": {"train": 0, "valid": 0},
            "classes": {"rook": 1},
            "colors": {"rook": "#C7FC00"},
        }

    def _version(self, slug: str, number: int) -> dict[str, Any]:
        return {
            "id": f"{WORKSPACE}/{slug}/{number}",
            "name": "raw",
            "created": 1630335741.989,
            "images": sum(name.endswith(".jpg") for name in self.projects[slug][number]),
            "splits": {"train": 0, "valid": 0},
            "preprocessing": {},
            "augmentation": {},
            "exports": ["coco"],
        }

    def _file(self, path: str, query: dict[str, list[str]]) -> Answer:
        """As the object stores behind them: by link, without a key."""
        parts = path.split("/")[2:]
        if parts[0] == "v7" and query.get("sig") == ["abc"]:
            items = self.items[parts[1].removesuffix(".zip")]
            members = {f"{n}.json": json.dumps(told).encode() for n, told in items.items()}
            return 200, {}, zipped(members)
        if parts[0] == "roboflow" and query.get("key") == ["downloadtoken"]:
            return 302, {"location": f"/files/store/{parts[1]}/{parts[2]}?sig=x"}, b""
        if parts[0] == "store":
            return 200, {}, zipped(self.projects[parts[1]][int(parts[2])])
        return answer({}, 403)


def polygon(id: str = "p", name: str = "road") -> dict[str, Any]:
    ring = [{"x": 2, "y": 2}, {"x": 30, "y": 2}, {"x": 30, "y": 20}]
    around = {"x": 2, "y": 2, "w": 28, "h": 18}
    return {"id": id, "name": name, "polygon": {"paths": [ring]}, "bounding_box": around, "properties": []}


def box(id: str = "b", name: str = "car") -> dict[str, Any]:
    return {"id": id, "name": name, "bounding_box": {"x": 5, "y": 6, "w": 20, "h": 10}, "properties": []}


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def hash_of(name: str) -> int:
    return sum(name.encode()) * 31 % 10_000


@contextmanager
def open_provider() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, told, data = provider.reply(self.command, self.path, headers, self.rfile.read(size))
            self.send_response(status)
            for name, value in told.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: object) -> None:
            """A client that was killed is none of the provider's errors."""

    server = Server(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
