"""Runs scripts in the SDK's own interpreter: a JSON line in (code, values, settings), a JSON line out.

A script is the body of a function that sees ``client``, the SDK's module and the values, and returns what is
to come back. Models and reports of the SDK come back as plain JSON. The only argument is the SDK:
``pictograph``, ``dragoneye``, whose scripts are coroutines, or ``edgefirst_client``, whose scripts see all of
its names.
"""

import asyncio
import base64
import dataclasses
import importlib
import json
import linecache
import os
import sys
import textwrap
import traceback
import warnings
from enum import Enum
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
    if hasattr(value, "to_dicts"):
        return plain(value.to_dicts())
    if isinstance(value, Enum) or not type(value).__module__.startswith(("edgefirst", "builtins")):
        return repr(value)
    return native(value)


def native(value):
    """An object of the EdgeFirst client: an id as its text, anything else as its properties."""
    kind = type(value)
    if kind.__name__.lower().endswith("id"):
        return str(value)
    if kind.__name__.startswith("Parameter"):
        return plain(value.to_pyobject() if hasattr(value, "to_pyobject") else value)
    names = [name for name in dir(kind) if not name.startswith("_") and not callable(getattr(kind, name))]
    return {name: plain(getattr(value, name)) for name in names} or repr(value)


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
HEADS = {"dragoneye": "async def main():\n"}
warnings.simplefilter("ignore")
logged_in = {}


def edgefirst_client(sdk, options):
    """A client that is logged in; one for each name, because logging in is slow on purpose."""
    known = tuple(sorted(options.items()))
    if known not in logged_in:
        client = sdk.Client().with_memory_storage().with_server(options["url"])
        logged_in[known] = client.with_login(options["username"], options["password"])
    return logged_in[known]


CLIENTS = {
    "pictograph": lambda sdk, options: sdk.Client(**options),
    "dragoneye": lambda sdk, options: sdk.Dragoneye(**options),
    "edgefirst_client": edgefirst_client,
}


def run(job):
    sdk = importlib.import_module(SDK)
    names = {name: getattr(sdk, name) for name in dir(sdk) if not name.startswith("_")}
    namespace = {
        **(names if SDK == "edgefirst_client" else {}),
        SDK: sdk,
        "__name__": "script",
        **job["values"],
    }
    namespace["client"] = CLIENTS[SDK](sdk, job["client"])
    code = HEADS.get(SDK, "def main():\n") + textwrap.indent(textwrap.dedent(job["code"]), "    ")
    linecache.cache["script"] = (len(code), None, code.splitlines(keepends=True), "script")
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
