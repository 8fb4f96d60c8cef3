"""Calls tools for the commands: through the same guards as every other door, with a person's answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from tintype_server.cli.interrupts import say_stopping, until_interrupted
from tintype_server.cli.progress import say
from tintype_server.settings import Settings
from tintype_studio.errors import ApprovalDenied, Cancelled, ConfirmationRequired, RateLimited
from tintype_studio.names import printable
from tintype_tools.call import Progress, no_progress

if TYPE_CHECKING:
    from tintype_server.runtime import Runtime
    from tintype_studio.identity.keys import Principal
    from tintype_studio.studio import Studio
    from tintype_tools.call import Outcome, Request
    from tintype_tools.local_files import LocalFiles

AGENT = "tintype cli"

LONGEST_PAUSE = 120
"""Seconds that a call waits for its turn when its key has made too many; a longer pause is told, not kept."""
MOST_PAUSES = 5


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a person says about a call besides its arguments."""

    yes: bool = False
    """The answer to a question that the call may raise."""
    dry_run: bool = False
    idempotency_key: str | None = None
    confirm_token: str | None = None
    session: str | None = None
    max_response_tokens: int | None = None
    """None for the server's budget, 0 for none; a key's own budget holds whatever this says."""


PLAIN = CallOptions(max_response_tokens=0)


class Caller:
    """An open workspace, and calls into it with the resolved key."""

    def __init__(self, runtime: Runtime, api_key: str, progress: Progress = no_progress) -> None:
        self._runtime = runtime
        self._api_key = api_key
        self._progress = progress

    @property
    def studio(self) -> Studio:
        """The platform, for what belongs to no answer: the bytes of files."""
        return self._runtime.studio

    @property
    def files(self) -> LocalFiles:
        """Local paths that the calls may touch."""
        from tintype_server.runtime import everything

        return everything(self._runtime.settings)

    def principal(self) -> Principal:
        """Who calls; raises ``Unauthorized``."""
        return self.studio.keys.authenticate(self._api_key)

    def call(self, tool: str, arguments: dict[str, Any], options: CallOptions = PLAIN) -> Outcome:
        """Call a tool; raises ``TintypeError``.

        A person at a terminal is asked what needs a word; ``options.yes`` answers beforehand. Where the key
        has made its calls of the hour, the call is made again after the pause, if that is short. Work that
        it waits for is done by a worker of this process, if no other is there.
        """
        from tintype_tools.call import Request

        request = Request(
            tool=tool,
            arguments=arguments,
            api_key=self._api_key,
            door="cli",
            files=self.files,
            agent=AGENT,
            idempotency_key=options.idempotency_key,
            max_response_tokens=options.max_response_tokens,
            progress=self._progress,
            dry_run=options.dry_run,
            confirm_token=options.confirm_token,
            session=options.session,
        )
        if arguments.get("wait_seconds"):
            # An earlier process may have started what is waited for, and have gone.
            self.studio.jobs.supervisor.resume()
        try:
            return self._in_turn(request)
        except ConfirmationRequired as question:
            # Under the policy "human" there is no token here: whoever runs this may be an agent's shell.
            token = question.details.get("confirm_token")
            approval = question.details["approval_id"]
            if token is None:
                question.fix = (
                    f"A person must approve it: `tintype approvals approve {approval}`. "
                    "Then run the same command again."
                )
                raise
            if not (options.yes or self._agrees(question)):
                question.fix = (
                    "Run the command again with --yes, once it is agreed. Or a person answers within a day: "
                    f"`tintype approvals approve {approval}`, and the same command goes on without --yes; "
                    f"`tintype approvals deny {approval}`, and it is refused."
                )
                raise
            return self._in_turn(request.confirmed(token))

    def _agrees(self, question: ConfirmationRequired) -> bool:
        """Ask a person at the terminal; False where nobody is. A no takes the question out of the queue."""
        if not sys.stdin.isatty():
            return False
        agreed = False
        try:
            agreed = click.confirm(printable(question.message), err=True)
        finally:
            if not agreed:
                self.studio.approvals.withdraw(question.token)
        if not agreed:
            raise ApprovalDenied(
                "You said no; nothing was done.", fix="Run the command again if it is to be."
            )
        return True

    def read(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool and take its whole answer; what a key's response budget cuts is said on stderr."""
        value = self.call(tool, arguments).value
        if "_truncated" in value:
            say("note: the answer is cut to this key's response budget (_truncated).")
        return value

    def _in_turn(self, request: Request) -> Outcome:
        for _ in range(MOST_PAUSES):
            try:
                return self._dispatched(request)
            except RateLimited as error:
                pause = error.details.get("retry_after")
                if not isinstance(pause, int) or pause > LONGEST_PAUSE:
                    raise
                say(f"{printable(error.message)} Trying again in {pause} s; Ctrl-C stops.")
                time.sleep(pause)
        return self._dispatched(request)

    def _dispatched(self, request: Request) -> Outcome:
        """Run the call; Ctrl-C cancels it, as a client that goes away does, before it ends the command."""

        def cancel() -> None:
            request.cancelled.set()
            say_stopping()

        with until_interrupted(cancel) as pressed:
            try:
                outcome = self._runtime.dispatch(request)
            except Cancelled:
                if pressed():
                    raise KeyboardInterrupt from None
                raise
        if pressed():
            raise KeyboardInterrupt
        return outcome


@contextmanager
def calling(settings: Settings, progress: Progress = no_progress) -> Iterator[Caller]:
    """Open the workspace for calls with the resolved key."""
    from tintype_server.cli.acting import resolved_key
    from tintype_server.runtime import Runtime

    runtime = Runtime.open(settings)
    try:
        yield Caller(runtime, resolved_key(settings), progress)
    finally:
        runtime.close()
