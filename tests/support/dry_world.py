"""A workspace for dry runs: its owner, admin and member call tools, and all that it holds can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import pytest
import sqlalchemy as sa
from support.pictures import jpeg, scene

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import ConfirmationRequired, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import metadata
from tintype_studio.training import plan
from tintype_tools.call import Outcome, Request

BOX = {"id": "1", "name": "sign", "bounding_box": {"x": 1, "y": 2, "w": 3, "h": 4}}
CAR = {**BOX, "id": "2", "name": "car"}


@dataclass
class World:
    """A workspace with one dataset, whose owner, admin and member call tools."""

    runtime: Runtime
    folder: Path
    owner: Principal
    keys: dict[Role, str]

    def request(self, tool: str, arguments: dict[str, Any], **changes: Any) -> Request:
        values = {
            "api_key": self.keys[Role.OWNER],
            "door": "toolkit",
            "session": "s",
            "base_url": "http://here.test",
        } | changes
        files = everything(self.runtime.settings)
        return Request(tool=tool, arguments=arguments, files=files, **values)

    def dry(self, tool: str, arguments: dict[str, Any], **changes: Any) -> dict[str, Any]:
        return self.runtime.dispatch(self.request(tool, arguments, dry_run=True, **changes)).value

    def live(self, tool: str, arguments: dict[str, Any], **changes: Any) -> Outcome:
        """With a yes, where one is needed."""
        request = self.request(tool, arguments, **changes)
        try:
            return self.runtime.dispatch(request)
        except ConfirmationRequired as question:
            return self.runtime.dispatch(request.confirmed(question.token))

    def asks(self, tool: str, arguments: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """The details of a call's question."""
        with pytest.raises(ConfirmationRequired) as question:
            self.runtime.dispatch(self.request(tool, arguments, **changes))
        return question.value.details

    def code(self, deed: Callable[..., object], *args: Any, **changes: Any) -> str:
        with pytest.raises(TintypeError) as refused:
            deed(*args, **changes)
        return refused.value.code

    def image(self, filename: str = "a.png", dataset: str = "signs") -> Sample:
        studio = self.runtime.studio
        return studio.samples.find(studio.datasets.get(self.owner, dataset), filename)

    def everything(self) -> list[Any]:
        """All rows but the trail and the rate counters, all stored bytes, all files at hand."""
        with self.runtime.studio.database.read() as connection:
            rows = {
                table.name: [
                    tuple(row)
                    for row in connection.execute(
                        sa.select(*(c for c in table.c if c.name != "last_used_at"))
                    )
                ]
                for table in metadata.sorted_tables
                if table.name not in {"calls", "rate_windows"}
            }
        blobs = {m["path"] for page in obstore.list(self.runtime.studio.blobs.store) for m in page}
        files = {p: p.read_bytes() if p.is_file() else None for p in self.folder.rglob("*")}
        return [rows, blobs, files]

    def last_call(self) -> str:
        return self.runtime.studio.changes.page(self.owner, limit=1)[0].call_id


Ready = dict[str, Callable[[World], dict[str, Any]]]
Refusals = list[tuple[str, str, Callable[[World], dict[str, Any]]]]


@pytest.fixture(autouse=True)
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if what training needs were here: nothing is trained."""
    monkeypatch.setattr(plan, "missing_libraries", lambda: ())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = Settings(home=tmp_path / "home", confirm_above_credits=0)
    runtime = Runtime.open(settings)
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    keys = {role: runtime.studio.keys.create(owner, name=role.value, role=role)[0] for role in Role}
    folder = tmp_path / "work"
    (folder / "more" / "stop").mkdir(parents=True)
    (folder / "a.png").write_bytes(scene())
    (folder / "new.jpg").write_bytes(jpeg(seed=5))
    (folder / "note.jpg").write_text("not a picture")
    for number, place in enumerate(("a.png", "x.jpg", "stop/y.jpg", "stop/z.jpg")):
        (folder / "more" / place).write_bytes(jpeg(seed=number))
    made = World(runtime, folder, owner, keys)
    made.live("create_dataset", {"name": "signs"})
    made.live("upload_image", {"dataset_name": "signs", "file_path": str(folder / "a.png")})
    made.live("save_annotations", {"image_uuid": made.image().id, "annotations": [BOX]})
    yield made
    runtime.close()


def upload(world: World, dataset: str, filename: str = "new.jpg", **changes: Any) -> Outcome:
    arguments = {"dataset_name": dataset, "file_path": str(world.folder / filename)}
    return world.live("upload_image", arguments, **changes)
