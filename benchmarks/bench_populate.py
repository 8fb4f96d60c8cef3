"""How fast the published EdgeFirst client populates a dataset here, beside a server that keeps nothing.

    python benchmarks/bench_populate.py [--quick] [--count N] [--rounds N]

The client runs in an interpreter of its own (``make sdk`` installs it) and calls ``populate_samples`` once
with all pictures, a box on each: one request that announces them, then a PUT for each file, of which it holds
one or two at a time on two cores. Its first peer is the same client against a server that reads what comes
and answers at once, keeping nothing: faster than that the client cannot be. The second also keeps what a
server must keep: it hashes each file, writes it, and commits a row of SQLite to the disk before it answers.
Here, each file is checked, stored and recorded for good before its PUT is answered. Both sides share the
machine's cores. Pictures are JPEGs of about 250 kB, and thumbnails of about 25 kB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _common import free_port, http_server, median, print_result
from bench_folder_upload import make_photographs

from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

ROUNDS = 5
AIM = 0.8
SDK = Path(__file__).parents[1] / ".sdk" / "edgefirst-2.19.0" / "bin" / "python"

CLIENT = """
import json, os, resource, sys, time, warnings
warnings.simplefilter("ignore")
import edgefirst_client as ef

url, key, folder = sys.argv[1:]
client = ef.Client().with_memory_storage().with_server(url).with_login("bench", key)
dataset = client.create_dataset(str(client.projects()[0].id), "populated")
annotation_set = str(client.annotation_sets(dataset)[0].id)
client.add_label(dataset, "car")
samples = []
for name in sorted(os.listdir(folder)):
    sample = ef.Sample()
    sample.set_image_name(name)
    sample.set_group("train")
    sample.add_file(ef.SampleFile("image", os.path.join(folder, name)))
    annotation = ef.Annotation()
    annotation.set_label("car")
    annotation.set_box2d(ef.Box2d(0.25, 0.25, 0.5, 0.25))
    sample.add_annotation(annotation)
    samples.append(sample)
start = time.perf_counter()
done = client.populate_samples(dataset, annotation_set, samples, lambda *_: None)
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_SELF)
there = client.samples_count(dataset).total
cpu = used.ru_utime + used.ru_stime
print(json.dumps({"done": len(done), "there": there, "seconds": seconds, "cpu": cpu}))
"""

NOTHING = """
import asyncio, base64, hashlib, json, os, sqlite3, sys

PORT = int(sys.argv[1])
KEPT = sys.argv[2] if len(sys.argv) > 2 else None
if KEPT:
    os.mkdir(KEPT)
    BOOK = sqlite3.connect(os.path.join(KEPT, "book.db"), isolation_level=None)
    BOOK.execute("PRAGMA journal_mode=WAL")
    BOOK.execute("PRAGMA synchronous=FULL")
    BOOK.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, sha256 TEXT, size INTEGER)")


def keep(body):
    digest = hashlib.sha256(body).hexdigest()
    with open(os.path.join(KEPT, digest), "wb") as file:
        file.write(body)
    BOOK.execute("INSERT INTO files (sha256, size) VALUES (?, ?)", (digest, len(body)))


CLAIMS = base64.b64encode(json.dumps({"server": "x", "exp": 4000000000, "username": "x"}).encode()).decode()
TOKEN = f"x.{CLAIMS.rstrip('=')}.x"
NOW = "2026-01-01T00:00:00Z"
SET = {"id": 1, "dataset_id": 1, "name": "default", "description": "", "date": NOW}
PROJECT = {"id": 1, "name": "p", "description": ""}
LABEL = {"id": 1, "dataset_id": 1, "index": 0, "name": "car", "color": None}
SENT = []


def answered(body):
    call = json.loads(body)
    method, params = call["method"], call["params"]
    if method == "samples.populate2":
        SENT.extend(params["samples"])
        return [
            {
                "uuid": s["uuid"],
                "urls": [
                    {"filename": name, "key": "k", "url": f"http://127.0.0.1:{PORT}/put"}
                    for name in s["files"].values()
                ],
            }
            for s in params["samples"]
        ]
    return {
        "auth.login": {"token": TOKEN},
        "project.list": [PROJECT],
        "dataset.create": {"id": 1},
        "annset.list": [SET],
        "label.list": [LABEL],
        "samples.count": {"total": len(SENT)},
    }.get(method, "ok")


class Nothing(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.head, self.left, self.body = transport, b"", 0, None

    def data_received(self, data):
        while data:
            if self.left:
                taken = min(self.left, len(data))
                self.left -= taken
                if self.body is not None:
                    self.body += data[:taken]
                data = data[taken:]
                if not self.left:
                    self.answer()
                continue
            self.head += data
            data = b""
            end = self.head.find(b"\\r\\n\\r\\n")
            if end < 0:
                return
            rest, self.head = self.head[end + 4:], self.head[:end]
            at = self.head.lower().find(b"content-length:")
            self.left = int(self.head[at + 15:].split(b"\\r\\n", 1)[0]) if at >= 0 else 0
            self.body = bytearray() if KEPT or self.head.startswith(b"POST") else None
            data = rest
            if not self.left:
                self.answer()

    def answer(self):
        text = b""
        if self.head.startswith(b"PUT"):
            if KEPT:
                keep(self.body)
        elif self.body is not None:
            text = json.dumps({"jsonrpc": "2.0", "id": "0", "result": answered(bytes(self.body))}).encode()
        self.head = b""
        self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(text) + text)


async def main():
    server = await asyncio.get_running_loop().create_server(Nothing, "127.0.0.1", PORT)
    await server.serve_forever()

asyncio.run(main())
"""
"""Reads every request and answers as if all went well; with a folder, it keeps the files there."""


@dataclass
class Times:
    """Seconds of each round, and processor seconds of the server and the client."""

    wall: list[float]
    server: list[float]
    client: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100 pictures, 2 rounds")
    parser.add_argument("--count", type=int, help="pictures; default 1000")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    chosen = parser.parse_args()
    count = chosen.count or (100 if chosen.quick else 1000)
    rounds = chosen.rounds or (2 if chosen.quick else ROUNDS)
    if not SDK.exists():
        sys.exit("The published client is not installed; run `make sdk` first.")
    rows, ratios = [], {}
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        for kind, make in (("photographs", make_photographs), ("thumbnails", make_thumbnails)):
            folder = Path(name) / kind
            size = make(folder, count)
            ours, keeping, nothing = compare(Path(name), folder, count, rounds)
            ratio = median(nothing.wall) / median(ours.wall)
            ratios |= {kind: ratio, f"{kind}_of_keeping": median(keeping.wall) / median(ours.wall)}
            rows += [
                [
                    f"{count} JPEGs of {size // 1000} kB",
                    f"{median(ours.wall):.2f} s",
                    f"{median(keeping.wall):.2f} s",
                    f"{median(nothing.wall):.2f} s",
                    f"{ratio:.2f}",
                ],
                [
                    "  processor time of the server",
                    f"{median(ours.server):.2f} s",
                    f"{median(keeping.server):.2f} s",
                    f"{median(nothing.server):.2f} s",
                    "",
                ],
                [
                    "  processor time of the client",
                    f"{median(ours.client):.2f} s",
                    f"{median(keeping.client):.2f} s",
                    f"{median(nothing.client):.2f} s",
                    "",
                ],
            ]
    header = ["populate_samples", "ours", "keeps files", "keeps nothing", f"speed, aim {AIM}"]
    print_result("populate", header, rows, **ratios)


def make_thumbnails(folder: Path, count: int) -> int:
    """Write JPEGs of about 25 kB, no two alike; returns their mean size in bytes."""
    import io

    import numpy as np
    from PIL import Image

    folder.mkdir()
    random = np.random.default_rng(3)
    noise = Image.fromarray(random.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    noise.resize((320, 240), Image.Resampling.NEAREST).save(buffer, "JPEG", quality=80)
    data = buffer.getvalue()
    for number in range(count):
        comment = f"{number:08}".encode()
        marked = data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
        (folder / f"{number:05}.jpg").write_bytes(marked)
    return len(data)


def compare(base: Path, folder: Path, count: int, rounds: int) -> tuple[Times, Times, Times]:
    """The three servers by turns."""
    ours, keeping, nothing = Times([], [], []), Times([], [], []), Times([], [], [])
    for number in range(rounds):
        home = base / f"home-{folder.name}-{number}"
        studio = Studio(Workspace(home))
        key = str(saved_api_key(home))
        studio.close()
        port = free_port()
        command = [sys.executable, "-m", "tintype_server", "--home", str(home), "serve", "--port", str(port)]
        populate(command, port, f"http://127.0.0.1:{port}/edgefirst", key, folder, count, ours)
        shutil.rmtree(home)
        for kept, into in (([str(home)], keeping), ([], nothing)):
            port = free_port()
            command = [sys.executable, "-c", NOTHING, str(port), *kept]
            populate(command, port, f"http://127.0.0.1:{port}", "nothing", folder, count, into)
        shutil.rmtree(home)
    return ours, keeping, nothing


def populate(
    command: list[str], port: int, url: str, key: str, folder: Path, count: int, into: Times
) -> None:
    """One round against a server of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with http_server(command, port, {"PATH": "/usr/bin:/bin"}):
        done = subprocess.run(
            [str(SDK), "-c", CLIENT, url, key, str(folder)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "EDGEFIRST_MAX_RETRIES": "0"},
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told: dict[str, Any] = json.loads(done.stdout)
    if (told["done"], told["there"]) != (count, count):
        raise RuntimeError(f"{told} of {count}")
    into.wall.append(told["seconds"])
    into.client.append(told["cpu"])
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    into.server.append(used - told["cpu"])


if __name__ == "__main__":
    main()
