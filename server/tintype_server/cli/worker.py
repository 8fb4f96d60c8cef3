"""``tintype worker``: a process that only does jobs."""

from __future__ import annotations

import logging
import os
import signal
import threading

import click

from tintype_server.settings import Settings


@click.command("worker")
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    help="Child processes that do the work (TINTYPE_WORKER_PROCESSES). Default: one per core.",
)
@click.option("--idle-seconds", type=click.IntRange(1), help="End after so long without a job.")
@click.pass_obj
def command(settings: Settings, processes: int | None, idle_seconds: int | None) -> None:
    """Do the jobs of the workspace, and take over those of workers that died. Any number may run."""
    from tintype_server.opening import open_studio
    from tintype_studio.jobs.worker import Worker, WorkerOptions

    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    studio = open_studio(settings)
    studio.jobs.supervisor.enabled = False
    failed = True
    try:
        Worker(studio, WorkerOptions(processes or settings.worker_processes, idle_seconds)).run(stop)
        failed = False
    except Exception:
        logging.getLogger("tintype").exception("the worker cannot go on")
    finally:
        studio.close()
        # The queue library's threads would be waited for.
        os._exit(int(failed))
