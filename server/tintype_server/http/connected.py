"""A call that ends with its caller's connection."""

from __future__ import annotations

import anyio
from starlette.requests import Request as HttpRequest

from tintype_server.workers import Workers
from tintype_studio.errors import Cancelled, TintypeError
from tintype_tools.call import Outcome, Request


async def run_while_connected(workers: Workers, request: HttpRequest, call: Request) -> Outcome:
    """Run the call in a worker thread; a caller that hangs up cancels it.

    The request's body must have been read.
    """
    finished: list[Outcome | TintypeError] = []
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            finished.append(await workers.run(call))
        except TintypeError as error:
            finished.append(error)
        tasks.cancel_scope.cancel()
    if not finished:
        raise Cancelled("The caller hung up.")
    if isinstance(finished[0], TintypeError):
        raise finished[0]
    return finished[0]
