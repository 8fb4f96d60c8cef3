"""What a guarded call costs over streamable HTTP, beside a bare echo call on the same SDK.

    python benchmarks/bench_http_call.py [--quick]

Ours is ``get_dataset``, which passes every guard and reads one row; the bare server is the SDK's low-level
one with a tool that returns its argument. Each server and the clients have a process of their own.
Measured one call at a time and with 16 connections, in turns.
"""

from __future__ import annotations

import argparse
import sys

from _common import (
    DATASET,
    bench,
    check_answer,
    free_port,
    http_load,
    http_server,
    load_process,
    mcp_call_request,
    median,
    milliseconds,
    percentile,
    print_result,
)

TEXT = "x" * 400
"""About as long as the answer of ``get_dataset``."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer calls")
    quick = parser.parse_args().quick
    rounds, calls = (3, 300) if quick else (9, 1000)
    with bench() as made, load_process() as clients:
        ports = {"ours": free_port(), "bare": free_port()}
        ours = made.ours("--home", str(made.home), "serve", "--port", str(ports["ours"]))
        bare = [sys.executable, str(made.echo), "http", str(ports["bare"])]
        requests = {
            "ours": mcp_call_request(ports["ours"], "get_dataset", {"name": DATASET}, made.owner_key()),
            "bare": mcp_call_request(ports["bare"], "echo", {"text": TEXT}, None),
        }
        with (
            http_server(ours, ports["ours"], made.environment),
            http_server(bare, ports["bare"], made.environment),
        ):
            for name, holds in (("ours", b"image_count"), ("bare", TEXT.encode())):
                check_answer(ports[name], requests[name], status=200, holds=holds)
            rows, ratios = [], {}
            for connections in (1, 16):
                speeds: dict[str, list[float]] = {name: [] for name in ports}
                times: dict[str, list[float]] = {name: [] for name in ports}
                for round_number in range(rounds + 1):
                    for name, port in ports.items():
                        seconds, latencies = clients.submit(
                            http_load, port, requests[name], connections, calls
                        ).result()
                        if round_number:
                            speeds[name].append(calls / seconds)
                            times[name] += latencies
                rows += _rows(connections, speeds, times, ratios)
    print_result("http_call", ["tools/call over HTTP", "ours", "bare", "ours / bare"], rows, **ratios)


def _rows(
    connections: int,
    speeds: dict[str, list[float]],
    times: dict[str, list[float]],
    ratios: dict[str, float],
) -> list[list[str]]:
    rows = []
    for title, percent in (("median", 50), ("p99", 99)):
        ours, bare = percentile(times["ours"], percent), percentile(times["bare"], percent)
        ratios[f"{title}_at_{connections}"] = ours / bare
        rows.append(
            [
                f"{connections} at a time, {title}",
                milliseconds(ours),
                milliseconds(bare),
                f"{ours / bare:.2f}",
            ]
        )
    ours, bare = median(speeds["ours"]), median(speeds["bare"])
    ratios[f"time_per_call_at_{connections}"] = bare / ours
    rows.append(
        [f"{connections} at a time, calls per second", f"{ours:.0f}", f"{bare:.0f}", f"{ours / bare:.2f}"]
    )
    return rows


if __name__ == "__main__":
    main()
