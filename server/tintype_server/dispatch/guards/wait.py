"""Waiting for the job that a call has started: a short job answers like any other call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tintype_server.dispatch.guards.run import rendered
from tintype_server.dispatch.running import Next, RunningCall, log
from tintype_studio.errors import Cancelled, DeadlineExceeded, TintypeError, Unauthorized
from tintype_studio.jobs.job import Job
from tintype_tools.call import Call, Outcome, Output
from tintype_tools.spec import Result


def wait(call: RunningCall, proceed: Next) -> Outcome:
    """Wait up to ``wait_seconds`` for the end of the job, then answer with what became of it.

    The call is committed by now, and its answer kept: a retry with the same idempotency key comes here with
    the first answer and waits for the same job. A caller who goes away ends the wait, not the job. Whatever
    else goes wrong here must not look as if the call had failed: it is answered as it was committed.
    """
    outcome = proceed(call)
    report = call.spec.report
    if report is None or outcome.dry_run:
        return outcome
    try:
        return _waited(call, outcome, report)
    except (Cancelled, Unauthorized):
        raise
    except TintypeError:
        log.warning("call %s could not follow its job", call.id, exc_info=True)
        return outcome


def _waited(call: RunningCall, outcome: Outcome, report: Callable[[Job, Call], Result | Output]) -> Outcome:
    jobs = call.studio.jobs
    job = jobs.started_by(call.principal, outcome.call_id)
    if job is None:  # there was nothing to do
        return outcome
    seconds: int = getattr(call.args, "wait_seconds")  # noqa: B009  the spec has made sure of it
    try:
        job = jobs.wait(call.principal, job.id, seconds, progress=call.progress, check=call.check)
    except DeadlineExceeded:  # of the call; the job has none
        job = jobs.get(call.principal, job.id)
    output, value = rendered(call, lambda: report(job, call))
    return replace(
        outcome,
        value=value,
        pictures=output.pictures,
        continues=output.continues,
        credits=job.credits_charged,
    )
