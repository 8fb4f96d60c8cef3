"""kill -9 around the COMMIT of a call that starts a paid job: it is there with its hold, or nothing is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import jobs as support
from support.jobs import PRICE, books, turn

from tintype_server.runtime import Runtime
from tintype_server.settings import Settings
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.jobs import kind as kinds
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.pool import Pool

pytestmark = pytest.mark.slow

CALL = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from support import jobs as support
from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_tools.call import Request
from tintype_tools.registry import Registry
from server.test_jobs import PAINT

home, point = sys.argv[1:]
support.register_kinds()
runtime = Runtime.open(Settings(home=Path(home), confirm_above_credits=10**9))
runtime.studio.jobs.supervisor.enabled = False
dispatch = Dispatcher(runtime.studio, Registry([PAINT]), runtime.settings)
ledger, jobs = runtime.studio.ledger, runtime.studio.jobs

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if point == "after the hold":
    jobs.start = die
elif point == "before COMMIT":
    real = jobs.take_hold
    def take_hold(*arguments):
        real(*arguments)
        sa.event.listen(runtime.studio.database.engine, "commit", die)
    jobs.take_hold = take_hold
else:
    jobs.started_by = die
arguments = {"keys": ["a", "b"], "wait_seconds": 0}
dispatch(Request("paint_things", arguments, runtime.local_api_key(), "toolkit", everything(runtime.settings)))
"""


@pytest.mark.parametrize("point", ["after the hold", "before COMMIT", "after COMMIT"])
def test_a_start_happens_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    home, tests = tmp_path / "home", Path(support.__file__).parents[1]
    Runtime.open(Settings(home=home)).close()
    environment = os.environ | {"PYTHONPATH": str(tests)}
    dead = subprocess.run([sys.executable, "-c", CALL, str(home), point], env=environment, timeout=60)
    assert dead.returncode == -signal.SIGKILL
    monkeypatch.setattr(kinds, "_kinds", {})
    support.register_kinds()
    runtime = Runtime.open(Settings(home=home))  # settles what the dead process left
    studio, pool = runtime.studio, Pool(1)
    studio.jobs.supervisor.enabled = False
    try:
        owner = studio.keys.authenticate(saved_api_key(home))
        started = studio.jobs.list(owner)
        if point != "after COMMIT":
            assert list(started) == []
            assert books(studio, owner) == (1000, 0)
            return
        [job] = started
        assert (job.status, job.credits_held) == (JobStatus.QUEUED, 2 * PRICE)
        assert books(studio, owner) == (1000, 2 * PRICE)
        monkeypatch.setenv("PYTHONPATH", str(tests))
        turn(studio, job, pool)
        assert studio.jobs.get(owner, job.id).status is JobStatus.COMPLETED
        assert books(studio, owner) == (1000 - 2 * PRICE, 0)
    finally:
        pool.close()
        runtime.close()
