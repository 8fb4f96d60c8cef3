"""The intake of sample files: nobody waits for a worker that is about to end, each gets its own answer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tintype_server.http import sample_files
from tintype_server.http.sample_files import SampleRoutes
from tintype_studio.errors import InvalidInput


class Links:
    """Takes everything at once but what is called bad."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def receive_many(self, arrived: list[tuple[Any, bytes]]) -> list[Any]:
        self.taken += [data for _, data in arrived]
        return [InvalidInput("no") if data == b"bad" else True for _, data in arrived]


def routes(links: Links) -> SampleRoutes:
    studio = SimpleNamespace(sample_links=links)
    return SampleRoutes(SimpleNamespace(settings=None, studio=studio))  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [1, 2])
def test_one_file_after_the_other_finds_a_worker(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_files, "WORKERS", workers)

    async def send(intake: SampleRoutes, name: int) -> None:
        for number in range(100):
            await intake._store(None, b"%d-%d" % (name, number))  # type: ignore[arg-type]

    async def crowd(intake: SampleRoutes) -> None:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for name in range(3):
                group.create_task(send(intake, name))

    links = Links()
    asyncio.run(crowd(routes(links)))
    assert len(links.taken) == len(set(links.taken)) == 300


def test_each_gets_its_own_answer() -> None:
    links = Links()

    async def together() -> list[Any]:
        intake = routes(links)
        stores = [intake._store(None, data) for data in (b"a", b"bad", b"c")]  # type: ignore[arg-type]
        return await asyncio.gather(*stores, return_exceptions=True)

    good, bad, fine = asyncio.run(together())
    assert (good, fine, type(bad)) == (None, None, InvalidInput)
