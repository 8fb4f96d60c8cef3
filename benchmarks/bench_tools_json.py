"""What ``tools.json`` costs, beside a bare Starlette route that returns the same number of constant bytes.

    python benchmarks/bench_tools_json.py [--quick]

Measured one request at a time, in turns; once whole, and once as the 304 of a client that has it.
"""

from __future__ import annotations

import argparse
import http.client
import sys

from _common import (
    bench,
    check_answer,
    free_port,
    http_load,
    http_request,
    http_server,
    load_process,
    milliseconds,
    percentile,
    print_result,
)

PATH = "/api/v1/developer/tools.json"
BARE_SERVER = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

BODY = b"x" * int(sys.argv[2])


async def whole(request):
    return Response(BODY, media_type="application/json")


async def unchanged(request):
    return Response(status_code=304)


app = Starlette(routes=[Route("/tools.json", whole), Route("/unchanged", unchanged)])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    quick = parser.parse_args().quick
    rounds, count = (3, 500) if quick else (9, 1500)
    with bench() as made, load_process() as clients:
        script = made.folder / "bare_server.py"
        script.write_text(BARE_SERVER)
        ours, bare = free_port(), free_port()
        key = {"X-API-Key": made.owner_key()}
        serve = made.ours("--home", str(made.home), "serve", "--port", str(ours))
        with http_server(serve, ours, made.environment):
            size, etag = _size_and_etag(ours, key)
            with http_server([sys.executable, str(script), str(bare), str(size)], bare, made.environment):
                pairs = {
                    "whole": (
                        http_request(ours, "GET", PATH, key),
                        http_request(bare, "GET", "/tools.json", {}),
                    ),
                    "304": (
                        http_request(ours, "GET", PATH, key | {"If-None-Match": etag}),
                        http_request(bare, "GET", "/unchanged", {}),
                    ),
                }
                check_answer(ours, pairs["304"][0], status=304, holds=b"")
                rows, ratios = [], {}
                for title, pair in pairs.items():
                    times: tuple[list[float], list[float]] = ([], [])
                    for round_number in range(rounds + 1):
                        for port, request, into in zip((ours, bare), pair, times, strict=True):
                            latencies = clients.submit(http_load, port, request, 1, count).result()[1]
                            if round_number:
                                into.extend(latencies)
                    for name, percent in (("median", 50), ("p99", 99)):
                        a, b = (percentile(t, percent) for t in times)
                        ratios[f"{title}_{name}"] = a / b
                        rows.append([f"{title}, {name}", milliseconds(a), milliseconds(b), f"{a / b:.2f}"])
    print_result(
        "tools_json", [f"GET tools.json ({size} bytes)", "ours", "bare", "ours / bare"], rows, **ratios
    )


def _size_and_etag(port: int, key: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", PATH, headers=key)
    response = connection.getresponse()
    size, etag = len(response.read()), response.headers["ETag"]
    connection.close()
    assert response.status == 200
    return size, etag


if __name__ == "__main__":
    main()
