"""Who is alive, told by locks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tintype_studio.storage.liveness import Liveness

LIVES = """
import sys, time
from pathlib import Path
from tintype_studio.storage.liveness import Liveness

liveness = Liveness(Path(sys.argv[1]) / "run")
print(liveness.instance, flush=True)
time.sleep(60)
"""


@pytest.fixture
def mine(home: Path) -> Iterator[Liveness]:
    liveness = Liveness(home / "run")
    yield liveness
    liveness.close()


def lock_names(home: Path) -> set[str]:
    return {p.stem for p in (home / "run").glob("*.lock")}


def test_a_process_knows_itself_alive(mine: Liveness) -> None:
    assert not mine.is_dead(mine.instance)


def test_a_running_process_is_alive_and_a_killed_one_is_dead(mine: Liveness, spawn: Any) -> None:
    child = spawn(LIVES)
    instance = child.stdout.readline().strip()
    assert not mine.is_dead(instance)
    child.send_signal(signal.SIGSTOP)  # stopped is not dead, however long it takes
    assert not mine.is_dead(instance)
    child.kill()
    child.wait()
    assert mine.is_dead(instance)


def test_a_process_that_ended_well_is_dead_and_leaves_nothing(mine: Liveness, home: Path) -> None:
    other = Liveness(home / "run")
    other.close()
    other.close()
    assert mine.is_dead(other.instance)
    assert lock_names(home) == {mine.instance}


def test_an_unknown_process_is_dead(mine: Liveness) -> None:
    assert mine.is_dead("0" * 32)


def test_asking_does_not_change_the_answer_for_others_who_ask_at_once(mine: Liveness, spawn: Any) -> None:
    child = spawn(LIVES)
    instance = child.stdout.readline().strip()
    child.kill()
    child.wait()
    answers: list[bool] = []
    threads = [
        threading.Thread(target=lambda: answers.extend(mine.is_dead(instance) for _ in range(300)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 1200


def test_a_sweep_removes_the_dead_and_leaves_the_living(mine: Liveness, home: Path, spawn: Any) -> None:
    living, dying = spawn(LIVES), spawn(LIVES)
    alive, dead = (child.stdout.readline().strip() for child in (living, dying))
    dying.kill()
    dying.wait()
    assert lock_names(home) == {mine.instance, alive, dead}
    mine.sweep()
    assert lock_names(home) == {mine.instance, alive}
    assert not mine.is_dead(alive)


def test_a_process_that_starts_during_a_sweep_is_never_taken_for_dead(mine: Liveness, home: Path) -> None:
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            mine.sweep()

    sweepers = [threading.Thread(target=sweep) for _ in range(3)]
    for sweeper in sweepers:
        sweeper.start()
    started = []
    try:
        for _ in range(300):
            started.append(Liveness(home / "run"))
        dead = [one for one in started if mine.is_dead(one.instance)]
    finally:
        stop.set()
        for sweeper in sweepers:
            sweeper.join()
        for one in started:
            one.close()
    assert dead == []
