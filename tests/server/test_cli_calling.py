"""How commands call tools: pauses of crowded keys, Ctrl-C, and progress for people."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli

from tintype_server.cli import calling, waiting
from tintype_server.cli.progress import line_of, shown_progress
from tintype_server.settings import Settings
from tintype_studio.errors import RateLimited
from tintype_tools.call import no_progress


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


class Crowded:
    """Stands in for the dispatcher of a key that has made its calls: refuses so often, then answers."""

    def __init__(self, times: int, pause: int) -> None:
        self.times, self.pause, self.asked = times, pause, 0

    def __call__(self, request: Any) -> Any:
        self.asked += 1
        if self.asked <= self.times:
            raise RateLimited("Too many.", details={"retry_after": self.pause})
        return request.tool


@pytest.mark.parametrize(("times", "pause", "passes"), [(1, 7, True), (2, 120, True), (1, 121, False)])
def test_a_short_pause_of_a_crowded_key_is_kept(
    times: int, pause: int, passes: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(calling.time, "sleep", slept.append)
    dispatch = Crowded(times, pause)

    class Runtime:
        settings = Settings(home=Path("/nowhere"))

        def __init__(self) -> None:
            self.dispatch = dispatch

    caller = calling.Caller(Runtime(), "pk_live_x")  # type: ignore[arg-type]
    if passes:
        assert caller.call("list_datasets", {}) == "list_datasets"
        assert slept == [pause] * times
        assert f"again in {pause} s" in capsys.readouterr().err
    else:
        with pytest.raises(RateLimited):
            caller.call("list_datasets", {})
        assert slept == []


def test_ctrl_c_is_exit_code_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    cli.ok("datasets", "list")
    monkeypatch.setattr(calling.Caller, "call", interrupted)
    result = cli.run("datasets", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "stopped\n")


def test_ctrl_c_cancels_the_call_and_the_next_one_goes_on(
    cli: Cli, folder_of_pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Line:
        def __call__(self, done: int, total: int | None, message: str) -> None:
            if done == 1:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("tintype_server.cli.datasets.shown_progress", lambda quiet: nullcontext(Line()))
    before = signal.getsignal(signal.SIGINT)
    result = cli.run("datasets", "upload", "road", str(folder_of_pictures), "--workers", "1")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "stopped\n")
    assert signal.getsignal(signal.SIGINT) is before
    kept = len(cli.json("images", "list", "road"))
    rows = [
        json.loads(line)
        for line in cli.ok("audit", "--json", "--tool", "upload_dataset_from_folder").splitlines()
    ]
    assert [row["outcome"] for row in rows] == ["cancelled"]
    monkeypatch.undo()
    again = cli.json("datasets", "upload", "road", str(folder_of_pictures))
    assert (again["images_uploaded"], again["images_skipped"]) == (3 - kept, kept)


def test_waiting_that_is_interrupted_says_where_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def ask(seconds: int) -> dict[str, Any]:
        asked.append(seconds)
        if seconds:
            raise KeyboardInterrupt
        return {"status": "running"}

    with pytest.raises(KeyboardInterrupt):
        waiting.wait_until_ended(ask, wait=True, timeout=100, again="tintype again")
    assert asked == [0, 60]
    assert "`tintype again`" in capsys.readouterr().err


def test_progress_is_for_people_at_terminals(cli: Cli, folder_of_pictures: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tintype_server", "--home", str(cli.home), "datasets", "upload"]
    done = subprocess.run(
        [*command, "road", str(folder_of_pictures)], stdout=subprocess.PIPE, stderr=theirs, check=False
    )
    assert done.returncode == 0
    os.write(theirs, b"END")
    shown = b""
    while not shown.endswith(b"END"):
        shown += os.read(ours, 1000)
    assert b"3/3 100 %" in shown
    assert shown.endswith(b"\r\x1b[KEND")
    assert b"\x1b" not in done.stdout
    os.close(ours)
    os.close(theirs)


def test_progress_is_not_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    with shown_progress(quiet=False) as progress:  # stderr is no terminal here
        assert progress is no_progress
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with shown_progress(quiet=True) as progress:
        assert progress is no_progress


def test_progress_of_strangers_is_not_obeyed() -> None:
    assert line_of(1, 4, "a\x1b[2J") == "1/4 25 %  a\\x1b[2J"
    assert line_of(7, None, "") == "7"
    assert line_of(0, 0, "none") == "0/0 0 %  none"
