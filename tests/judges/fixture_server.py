"""Serves the fixtures at ``/mcp`` through our whole HTTP application: ``fixture_server.py HOME PORT``.

The judge sends no key, so one is put on its requests before the application sees them.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import uvicorn

import tintype_server.http.app as app_module
from tintype_server.http.app import build_app
from tintype_server.mcp import changes
from tintype_server.mcp import server as server_module
from tintype_server.runtime import Runtime
from tintype_server.settings import Settings
from tintype_studio.storage.tables import organizations

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import SCHEMAS, Handler, add_fixtures


def judged_app(runtime: Runtime) -> Any:
    studio = runtime.studio
    with studio.database.write() as connection:  # the judge asks more in a minute than an agent in an hour
        connection.execute(sa.update(organizations).values(tier="enterprise"))
    owner = studio.keys.authenticate(runtime.local_api_key())
    key, info = studio.keys.create(owner, name="judge", role="owner")
    narrowed = False

    async def change_lists(_ctx: Any, _params: Any) -> Any:
        """What a person may do at any time: the key gets, or loses, toolsets."""
        nonlocal narrowed
        narrowed = not narrowed
        toolsets = ["datasets", "images", "models", "jobs"] if narrowed else None
        await asyncio.to_thread(studio.keys.update, owner, info.id, toolsets=toolsets)
        return "changed"

    triggers: dict[str, Handler] = {
        "test_trigger_tool_change": change_lists,
        "test_trigger_prompt_change": change_lists,
    }
    changes.LOOK_EVERY_SECONDS = 0.1
    real = server_module.build_server

    def with_fixtures(*args: Any) -> Any:
        built = real(*args)
        add_fixtures(built, triggers)
        built.get_tool_input_schema = lambda name: SCHEMAS.get(name, {"type": "object"})
        return built

    app_module.build_server = with_fixtures
    app = build_app(runtime)

    async def with_key(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["headers"] = [*scope["headers"], (b"x-api-key", key.encode())]
        await app(scope, receive, send)

    return with_key


if __name__ == "__main__":
    opened = Runtime.open(Settings(home=Path(sys.argv[1])))
    uvicorn.run(judged_app(opened), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
