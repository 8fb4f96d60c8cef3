"""How fast the published SDK uploads pictures over HTTP, beside the upload of the folder in one process.

    python benchmarks/bench_upload.py [--quick] [--count N]

The SDK runs in an interpreter of its own (``make sdk`` installs it) with 8 threads, four requests for each
picture, against ``tintype serve``; both share the machine's cores. The first peer reads the same folder in
the server's own process, which sends nothing over any wire. The second is the SDK against a server that
reads what comes in and answers at once, keeping nothing: faster than that the SDK cannot be. A plain client
with 8 threads and kept-alive connections shows what the server does when the client is no bottleneck.
Pictures are JPEGs of about 250 kB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import free_port, http_server, print_result
from bench_folder_upload import make_photographs, upload

from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

ROUNDS = 3
THREADS = 8
SDK = Path(__file__).parents[1] / ".sdk" / "pictograph-1.0.0" / "bin" / "python"

CLIENT = """
import json, resource, sys, time
from pictograph import Client
from pictograph.workflows import upload_dataset_from_folder

key, url, folder, name, threads = sys.argv[1:]
client = Client(api_key=key, base_url=url)
client.projects.create(name)
start = time.perf_counter()
report = upload_dataset_from_folder(client, name, folder, max_workers=int(threads))
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "uploaded": report.images_uploaded,
    "failures": [str(f) for f in report.failures[:3]],
    "seconds": seconds,
    "cpu": used.ru_utime + used.ru_stime,
}))
"""


PLAIN_CLIENT = """
import http.client, json, os, queue, resource, sys, threading, time
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

key, url, folder, name, threads = sys.argv[1:]
api, own = "/api/v1/developer", {"X-API-Key": key}
as_json, as_form = {"Content-Type": "application/json"}, {"Content-Type": "application/x-www-form-urlencoded"}


def send(line, method, path, body, headers):
    line.request(method, path, body, headers)
    answer = line.getresponse()
    data = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {data[:300]}")
    return json.loads(data) if data else None


def work():
    line = http.client.HTTPConnection(urlsplit(url).netloc)
    while True:
        try:
            filename = files.get_nowait()
        except queue.Empty:
            return
        with open(os.path.join(folder, filename), "rb") as file:
            data = file.read()
        into = {"dataset_id": dataset, "filename": filename, "folder_path": "/"}
        once = {"Idempotency-Key": uuid4().hex}
        body = json.dumps({**into, "content_type": "image/jpeg"})
        link = send(line, "POST", f"{api}/images/upload-url", body, own | once | as_json)
        send(line, "PUT", urlsplit(link.pop("upload_url")).path, data, {"Content-Type": "image/jpeg"})
        form = urlencode({**into, "gcs_path": link["gcs_path"], "file_size": len(data)})
        once = {"Idempotency-Key": uuid4().hex}
        made = send(line, "POST", f"{api}/images/register", form, own | once | as_form)
        send(line, "GET", f"{api}/images/{made['image_id']}/metadata", None, own)


line = http.client.HTTPConnection(urlsplit(url).netloc)
project = send(line, "POST", f"{api}/projects/", json.dumps({"name": name}), own | as_json)["project"]
dataset, files = project["id"], queue.SimpleQueue()
for filename in sorted(os.listdir(folder)):
    files.put(filename)
count = files.qsize()
crowd = [threading.Thread(target=work) for _ in range(int(threads))]
start = time.perf_counter()
for thread in crowd:
    thread.start()
for thread in crowd:
    thread.join()
seconds = time.perf_counter() - start
line.close()  # idle by now for longer than a server waits; it opens again by itself
path = f"{api}/datasets/{dataset}"
uploaded = send(line, "GET", path, None, own)["dataset"]["image_count"]
used = resource.getrusage(resource.RUSAGE_SELF)
cpu = used.ru_utime + used.ru_stime
print(json.dumps({"uploaded": uploaded, "failures": [], "seconds": seconds, "cpu": cpu}))
"""

NULL_SERVER = """
import asyncio, json, sys

NOW = "2026-01-01T00:00:00Z"
PROJECT = {"id": "1", "organization_id": "1", "name": "x", "created_at": NOW}
IMAGE = {"id": "1", "filename": "x.jpg", "image_url": "http://x/1", "created_at": NOW}
ANSWERS = {
    "upload-url": {
        "upload_url": f"http://127.0.0.1:{sys.argv[1]}/put",
        "gcs_bucket": "b",
        "gcs_path": "p",
        "gcs_uri": "u",
    },
    "register": {"image_id": "1"},
    "metadata": {"image": IMAGE},
}


class Nothing(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.head, self.left = transport, b"", 0

    def data_received(self, data):
        while data:
            if self.left:
                taken = min(self.left, len(data))
                self.left -= taken
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
            data = rest
            if not self.left:
                self.answer()

    def answer(self):
        path = self.head.split(b" ", 2)[1].decode()
        self.head = b""
        last = path.rstrip("/").rsplit("/", 1)[-1]
        body = b"" if last == "put" else json.dumps(ANSWERS.get(last, {"project": PROJECT})).encode()
        head = "HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n"
        self.transport.write((head % len(body)).encode() + body)


async def main():
    server = await asyncio.get_running_loop().create_server(Nothing, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""
"""Reads every request and answers as if all went well."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="40 pictures")
    parser.add_argument("--count", type=int, help="pictures; default 1000")
    arguments = parser.parse_args()
    count = arguments.count or (40 if arguments.quick else 1000)
    if not SDK.exists():
        sys.exit("The published SDK is not installed; run `make sdk` first.")
    with tempfile.TemporaryDirectory(prefix="tintype-bench-") as name:
        folder = Path(name)
        size = make_photographs(folder / "photographs", count)
        rates, cpu = compare(folder, count)
    ours, plain = rates["sdk"], rates["plain"]
    in_process, nothing = rates["in process"], rates["nothing"]
    rows = [
        [f"{count} JPEGs of {size // 1000} kB: SDK / in process", *_pair(ours, in_process)],
        ["SDK / SDK against a server that does nothing", *_pair(ours, nothing)],
        ["plain client / in process", *_pair(plain, in_process)],
        ["the SDK's own processor time per picture", f"{cpu * 1000:.1f} ms", "", ""],
    ]
    print_result(
        "upload",
        ["files per second", "ours", "peer", "ratio"],
        rows,
        sdk_to_in_process=ours / in_process,
        sdk_to_nothing=ours / rates["nothing"],
        plain_to_in_process=plain / in_process,
        sdk_ms_per_picture=cpu * 1000,
    )


def _pair(ours: float, peer: float) -> tuple[str, str, str]:
    return f"{ours:.0f}", f"{peer:.0f}", f"{ours / peer:.2f}"


def compare(folder: Path, count: int) -> tuple[dict[str, float], float]:
    """Best files per second of each, and the processor seconds that the SDK needs for a picture."""
    rates: dict[str, list[float]] = {"in process": [], "sdk": [], "plain": [], "nothing": []}
    cpu = []
    for number in range(ROUNDS):
        studio = Studio(Workspace(folder / f"home-{number}"))
        start = time.perf_counter()
        uploaded = upload(studio, folder / "photographs", "in process")
        rates["in process"].append(count / (time.perf_counter() - start))
        studio.close()
        _require(uploaded, count)
        for client in ("sdk", "plain"):
            # A home of its own: equal bytes are kept once, and would not be written again.
            home = folder / f"{client}-{number}"
            studio = Studio(Workspace(home))
            key = str(saved_api_key(home))
            studio.close()
            port = free_port()
            server = [sys.executable, "-m", "tintype_server", "--home", str(home)]
            with http_server([*server, "serve", "--port", str(port)], port, {"PATH": "/usr/bin:/bin"}):
                told = run_client(client, key, port, folder)
            _require(told["uploaded"], count, told["failures"])
            rates[client].append(count / told["seconds"])
            if client == "sdk":
                cpu.append(told["cpu"] / count)
            shutil.rmtree(home)
        shutil.rmtree(folder / f"home-{number}")
        port = free_port()
        with http_server([sys.executable, "-c", NULL_SERVER, str(port)], port, {"PATH": "/usr/bin:/bin"}):
            told = run_client("sdk", "pk_live_nothing", port, folder)
        _require(told["uploaded"], count, told["failures"])
        rates["nothing"].append(count / told["seconds"])
    return {name: max(values) for name, values in rates.items()}, min(cpu)


def run_client(client: str, key: str, port: int, folder: Path) -> dict[str, Any]:
    """Upload the folder in an interpreter of its own; what it says of it."""
    interpreter, script = (str(SDK), CLIENT) if client == "sdk" else (sys.executable, PLAIN_CLIENT)
    url, photographs = f"http://127.0.0.1:{port}", str(folder / "photographs")
    done = subprocess.run(
        [interpreter, "-c", script, key, url, photographs, "over http", str(THREADS)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _require(uploaded: int, count: int, failures: object = None) -> None:
    if uploaded != count:
        raise RuntimeError(f"{uploaded} of {count} pictures were uploaded; {failures}")


if __name__ == "__main__":
    main()
