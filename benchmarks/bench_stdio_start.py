"""How fast `tintype mcp` answers from a standing start, and calls per second, beside a bare echo server.

    python benchmarks/bench_stdio_start.py [--quick]

The bare server is the SDK's low-level one with a single tool. Both are started in turn, on a workspace that
has been opened before; times run from the start of the process to the arrival of the answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from _common import (
    CLIENT,
    DATASET,
    LEGACY,
    META,
    Bench,
    bench,
    call_message,
    median,
    milliseconds,
    percentile,
    print_result,
)

STEPS = {
    "discover": "server/discover",
    "initialize": "initialize",
    "list_modern": "first tools/list (2026-07-28)",
    "list_legacy": "first tools/list (2025-11-25)",
    "call_modern": "first tools/call (2026-07-28)",
}


class Client:
    """Speaks JSON-RPC over a child's pipes and reads the clock."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def send(self, message: dict[str, Any]) -> None:
        self._in.write(json.dumps(message).encode() + b"\n")
        self._in.flush()

    def ask(self, message: dict[str, Any]) -> float:
        """Send, wait for the answer; seconds since the process was started."""
        self.send(message)
        line = self._out.readline()
        now = time.perf_counter()
        answer = json.loads(line)
        if answer.get("id") != message["id"] or "result" not in answer or answer["result"].get("isError"):
            raise RuntimeError(f"unexpected answer: {line[:500]!r}")
        return now - self.started

    def calls_per_second(self, call: dict[str, Any], count: int) -> float:
        encoded = json.dumps(call).encode() + b"\n"
        start = time.perf_counter()
        for _ in range(count):
            self._in.write(encoded)
            self._in.flush()
            self._out.readline()
        return count / (time.perf_counter() - start)

    def close(self) -> None:
        self._in.close()
        self._process.wait(20)
        self._out.close()


def request(method: str, request_id: int, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


def modern_session(client: Client, call: dict[str, Any]) -> dict[str, float]:
    return {
        "discover": client.ask(request("server/discover", 1, {"_meta": META})),
        "list_modern": client.ask(request("tools/list", 2, {"_meta": META})),
        "call_modern": client.ask({**call, "id": 3}),
    }


def legacy_session(client: Client) -> dict[str, float]:
    hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
    first = client.ask(request("initialize", 1, hello))
    client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    return {"initialize": first, "list_legacy": client.ask(request("tools/list", 2, {}))}


def one_start(command: Sequence[str], call: dict[str, Any], made: Bench) -> dict[str, float]:
    client = Client(command, made.environment)
    times = modern_session(client, call)
    client.close()
    client = Client(command, made.environment)
    times |= legacy_session(client)
    client.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    starts, bursts, calls = (5, 3, 200) if quick else (20, 7, 500)
    with bench() as made:
        from sys import executable

        servers = {
            "bare": ([executable, str(made.echo), "stdio"], call_message("echo", {"text": "hello"})),
            "ours": (
                made.ours("mcp", "--home", str(made.home)),
                call_message("get_dataset", {"name": DATASET}),
            ),
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for round_number in range(starts + 1):
            for name, (command, call) in servers.items():
                times = one_start(command, call, made)
                if round_number:  # the first one fills the bytecode cache
                    found[name].append(times)
        rates: dict[str, list[float]] = {name: [] for name in servers}
        clients = {}
        for name, (command, call) in servers.items():
            clients[name] = Client(command, made.environment)
            modern_session(clients[name], call)
        for _ in range(bursts):
            for name, (_, call) in servers.items():
                rates[name].append(clients[name].calls_per_second(call, calls))
        for client in clients.values():
            client.close()

    rows, ratios = [], {}
    for step, title in STEPS.items():
        times = {name: [t[step] for t in found[name]] for name in servers}
        for percent in (50, 95):
            ours, bare = percentile(times["ours"], percent), percentile(times["bare"], percent)
            ratios[f"{step}_p{percent}"] = ours / bare
            rows.append(
                [f"{title}, p{percent}", milliseconds(ours), milliseconds(bare), f"{ours / bare:.2f}"]
            )
    ours, bare = median(rates["ours"]), median(rates["bare"])
    ratios["calls_per_second"] = ours / bare
    rows.append(["calls per second", f"{ours:.0f}", f"{bare:.0f}", f"{ours / bare:.2f}"])
    print_result("stdio_start", ["from process start", "ours", "bare", "ours / bare"], rows, **ratios)


if __name__ == "__main__":
    main()
