"""Run the handler, and let no exception text out."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from tintype_server.dispatch.running import RunningCall, log
from tintype_studio.errors import Internal, TintypeError, Unavailable
from tintype_tools.call import Outcome, Output
from tintype_tools.spec import Result


def run(call: RunningCall) -> Outcome:
    """The innermost step: the tool itself."""
    output, value = run_handler(call)
    return Outcome(
        call.id,
        value,
        output.pictures,
        actual_credits=output.credits,
        continues=output.continues,
        job=output.job,
    )


def run_handler(call: RunningCall) -> tuple[Output, dict[str, Any]]:
    """The handler's answer, and its value as JSON; whatever goes wrong in it is a ``TintypeError``."""
    call.check()
    return rendered(call, lambda: call.spec.handler(call.args, call))


def rendered(call: RunningCall, answer_of: Callable[[], Result | Output]) -> tuple[Output, dict[str, Any]]:
    """What a part of the tool answers, and its value as JSON; whatever goes wrong is a ``TintypeError``."""
    try:
        answer = answer_of()
        output = answer if isinstance(answer, Output) else Output(answer)
        return output, output.value.model_dump(mode="json", exclude_none=True)
    except TintypeError:
        raise
    except MemoryError:
        raise Unavailable(
            "The server ran out of memory for this call.",
            code="out_of_memory",
            fix="Ask for less at a time (fewer items, a smaller picture).",
        ) from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Unavailable(
                "The server's disk is full; nothing was recorded.",
                code="storage_failed",
                fix="Ask the operator to free disk space, then call again.",
            ) from error
        log.exception("call %s to %s failed", call.id, call.spec.name)
        raise Internal(call.id) from error
    except Exception as error:
        log.exception("call %s to %s failed", call.id, call.spec.name)
        raise Internal(call.id) from error
