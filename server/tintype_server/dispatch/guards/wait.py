"""Waiting for the job that a call has started: a short job answers like any other call."""

from __future__ import annotations

from dataclasses import replace

from tintype_server.dispatch.guards.run import rendered
from tintype_server.dispatch.running import Next, RunningCall
from tintype_studio.errors import DeadlineExceeded
from tintype_tools.call import Outcome


def wait(call: RunningCall, proceed: Next) -> Outcome:
    """Wait up to ``wait_seconds`` for the end of the job, then answer with what became of it.

    The call is committed by now, and its answer kept: a retry with the same idempotency key comes here with
    the first answer and waits for the same job. A caller who goes away ends the wait, not the job.
    """
    outcome = proceed(call)
    report = call.spec.report
    if report is None or outcome.dry_run:
        return outcome
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
