"""Runs scripts in the SDK's own interpreter: a JSON line in (code, values, settings), a JSON line out.

A script is the body of a function that sees ``client``, the SDK's module and the values, and returns what is
to come back. Models and reports of the SDK come back as plain JSON. The only argument is the SDK:
``pictograph``, or ``dragoneye``, whose scripts are coroutines.
"""

import asyncio
import base64
import dataclasses
import importlib
import json
import os
import sys
import textwrap
import traceback
from pathlib import PurePath

replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a script prints is no reply


def plain(value):
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)) or type(value).__name__ == "OffsetPager":
        return [plain(v) for v in value]
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return repr(value)


ATTRIBUTES = (
    "status_code",
    "request_id",
    "response",
    "retry_after",
    "field_errors",
    "credit_cost",
    "credits_remaining",
    "upgrade_url",
)


SDK = sys.argv[1]
CLIENTS = {"pictograph": "Client", "dragoneye": "Dragoneye"}
HEADS = {"pictograph": "def main():\n", "dragoneye": "async def main():\n"}


def run(job):
    sdk = importlib.import_module(SDK)
    namespace = {SDK: sdk, "__name__": "script", **job["values"]}
    namespace["client"] = getattr(sdk, CLIENTS[SDK])(**job["client"])
    code = HEADS[SDK] + textwrap.indent(textwrap.dedent(job["code"]), "    ")
    exec(compile(code, "script", "exec"), namespace)
    value = namespace["main"]()
    return {"value": plain(asyncio.run(value) if asyncio.iscoroutine(value) else value)}


for line in sys.stdin:
    job = json.loads(line)
    try:
        reply = run(job)
    except BaseException as error:
        reply = {
            "error": {
                "type": type(error).__name__,
                "bases": [cls.__name__ for cls in type(error).__mro__],
                "message": getattr(error, "message", None) or str(error),
                "trace": traceback.format_exc(),
                **{name: plain(getattr(error, name)) for name in ATTRIBUTES if hasattr(error, name)},
            }
        }
    replies.write(json.dumps(reply) + "\n")
    replies.flush()
