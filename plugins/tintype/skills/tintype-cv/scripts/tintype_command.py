"""Runs the ``tintype`` command for the scripts beside this file, and takes its JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from typing import Any, NoReturn

ENDED = {"completed", "failed", "cancelled"}
ROUND = 120
"""Seconds of one call that waits."""


def tintype(*arguments: str, may_fail: bool = False) -> dict[str, Any]:
    """What a command prints with ``--json``. Its progress and errors go to stderr as they are.

    With ``may_fail`` the answer of a command that has done only some of its work is taken, too.
    """
    command = shutil.which("tintype")
    if command is None:
        fix = "Install Tintype as its README says, and put its command on the PATH."
        finish({"error": "There is no command tintype.", "fix": fix}, ok=False)
    done = subprocess.run([command, *arguments], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  no shell
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        finish({"error": "The command failed; stderr says why.", "command": list(arguments)}, ok=False)
    if done.returncode and not may_fail:
        finish(answer, ok=False)
    return answer


def until_ended(tool: str, arguments: dict[str, Any], *flags: str) -> dict[str, Any]:
    """Call a tool that starts a job, and wait for its end: with the same key it is the same job."""
    told = json.dumps({**arguments, "wait_seconds": ROUND})
    key = uuid.uuid4().hex
    while True:
        answer = tintype("call", tool, "--args", told, "--idempotency-key", key, *flags)
        job = answer.get("job")
        if not isinstance(job, dict) or job.get("status") in ENDED:
            return answer


def classes_of(text: str) -> list[dict[str, str]]:
    """Classes from ``name:type,…``; the type is bbox unless it says polygon."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, kind = part.rpartition(":")
        if not name:
            name, kind = part, "bbox"
        if kind not in {"bbox", "polygon"}:
            finish({"error": f"{kind!r} is no type of {name!r}.", "fix": "Use bbox or polygon."}, ok=False)
        found.append({"name": name, "output_type": kind})
    return found


def finish(answer: dict[str, Any], *, ok: bool) -> NoReturn:
    """Print the answer and end: exit code 0 when all was done."""
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    sys.exit(0 if ok else 1)
