"""Whatever is sent to an operation of the OpenAPI document, and to any after it: no answer is a 5xx.

Schemathesis makes the requests, fitting and not, from the document; in half of them, names and ids are those
of things that exist. ``TINTYPE_FUZZ_EXAMPLES`` sets how many requests each operation gets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import SkipTest
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core import NotSet
from support.pictures import jpeg
from support.providers import open_provider
from support.rest import API, Rest, open_rest
from support.videos import clip

from tintype_server.pictograph.app import RESOURCES
from tintype_studio.storage.uploads import UploadKind

EXAMPLES = int(os.environ.get("TINTYPE_FUZZ_EXAMPLES", "12"))
GENTLE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="TINTYPE_FUZZ_EXAMPLES" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
UNSENDABLE = ("\n", "\r", "\0")


@dataclass
class Fuzzed:
    """A server, the operations of its document, and values that mean something to it."""

    rest: Rest
    operations: dict[str, Any]
    known: dict[str, list[str]]
    key: str


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    base = tmp_path_factory.mktemp("fuzz")
    with (
        open_provider() as provider,
        open_rest(base / "home", v7_url=provider.url, roboflow_url=provider.url) as rest,
    ):
        rest.runtime.studio.jobs.supervisor.enabled = False
        rest.runtime.studio.jobs.alone.enabled = False
        document = rest.client.get(f"{API}/openapi.json").json()
        schema = schemathesis.openapi.from_dict(document)
        found = [result.ok() for result in schema.get_all_operations()]
        operations = {f"{operation.method.upper()} {operation.path}": operation for operation in found}
        # Not the key that comes with requests: the fuzzer deletes and limits keys.
        yield Fuzzed(rest, operations, world(rest, base), rest.keys["owner"])


def world(rest: Rest, folder: Path) -> dict[str, list[str]]:
    """Two datasets, three images, an export, a key, an invite, uploads; by the names that fields have."""
    studio, owner = rest.runtime.studio, rest.owner
    datasets = [studio.datasets.create(owner, name=name) for name in ("signs", "roads")]
    images = [
        studio.ingest.add_image(owner, datasets[0], data=jpeg(seed=n), filename=f"{n}.jpg") for n in range(3)
    ]
    box = {"id": "a1", "name": "sign", "type": "bbox", "bounding_box": {"x": 5, "y": 4, "w": 9, "h": 9}}
    for image in images[:2]:
        rest.ok("POST", f"/annotations/{image.id}", json={"annotations": [box]})
    rest.ok("POST", "/exports/", json={"dataset_name": "signs", "name": "all"})
    key = rest.ok("GET", "/api/v1/api-keys/")["api_keys"][0]["id"]
    uploads = []
    for kind, name, data in (
        (UploadKind.IMAGE, "up.jpg", jpeg(seed=9)),
        (UploadKind.VIDEO, "up.mp4", clip(folder, seconds=1).read_bytes()),
    ):
        ticket = studio.uploads.issue(owner, name, kind)
        assert rest.client.put(f"/_upload/{ticket.token}", content=data).status_code == 200
        uploads.append(ticket.path)
    names, image_ids = [d.name for d in datasets], [i.id for i in images]
    return {
        "dataset_name": names,
        "project_name": names,
        "name": [*names, "fresh"],
        "dataset_id": [d.id for d in datasets],
        "project_id": [d.id for d in datasets],
        "image_id": image_ids,
        "image_ids": image_ids,
        "image_uuid": image_ids,
        "image_filename": ["0.jpg", "1.jpg"],
        "image_filenames": ["0.jpg", "1.jpg"],
        "export_name": ["all"],
        "gcs_path": uploads,
        "key_id": [key],
        "provider": ["v7", "roboflow"],
        "pipeline_type": ["yolox"],
    }


def meant(value: Any, name: str, known: dict[str, list[str]], draw: Any) -> Any:
    """The value with parts replaced by what exists, where their names tell what they are."""
    if isinstance(value, dict):
        return {key: meant(part, str(key), known, draw) for key, part in value.items()}
    if isinstance(value, list):
        return [meant(part, name, known, draw) for part in value]
    if isinstance(value, str) and name in known and draw(st.booleans()):
        return draw(st.sampled_from(known[name]))
    return value


def as_text(value: Any) -> str:
    return str(value).encode("utf-8", "replace").decode()


def sent(fuzzed: Fuzzed, case: Any, draw: Any) -> Any:
    """The response to a case."""
    known = fuzzed.known if draw(st.booleans()) else {}
    path = case.operation.path
    for name, value in (case.path_parameters or {}).items():
        path = path.replace(f"{{{name}}}", quote(as_text(meant(value, name, known, draw)), safe=""))
    query = [
        (as_text(name), as_text(part))
        for name, value in (meant(case.query or {}, "", known, draw)).items()
        for part in (value if isinstance(value, list) else [value])
    ]
    headers = {
        str(name): str(value).encode("latin-1", "replace").decode("latin-1")
        for name, value in (case.headers or {}).items()
        if not any(mark in str(value) for mark in UNSENDABLE)
    }
    headers["X-API-Key"] = fuzzed.key
    given: dict[str, Any] = {}
    if not isinstance(case.body, NotSet):
        body = meant(case.body, "", known, draw)
        if case.media_type == "application/json":
            headers["Content-Type"] = "application/json"
            as_json = json.dumps(body, default=lambda raw: raw.decode("latin-1"))
            given["content"] = body if isinstance(body, bytes) else as_json
        elif isinstance(body, dict):
            given["data"] = {as_text(k): as_text(v) for k, v in body.items()}
        else:
            given["content"] = body if isinstance(body, bytes) else as_text(body)
    return fuzzed.rest.client.request(case.method, path, params=query, headers=headers, **given)


def test_the_document_has_all_resources(fuzzed: Fuzzed) -> None:
    tags = {tag for operation in fuzzed.operations.values() for tag in operation.tags}
    assert len(tags) == len(RESOURCES)


def ask(fuzzed: Fuzzed, name: str, strategy: Any) -> int:
    """Send what the strategy makes; returns how many requests. Raises what hypothesis found."""
    count = 0

    @GENTLE
    @given(data=st.data())
    def attempt(data: Any) -> None:
        nonlocal count
        response = sent(fuzzed, data.draw(strategy), data.draw)
        count += 1
        assert response.status_code < 500, (name, response.status_code, response.text[:500])

    attempt()
    return count


@pytest.mark.parametrize("shard", range(4))
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfit"])
def test_no_request_breaks_the_server(fuzzed: Fuzzed, mode: GenerationMode, shard: int) -> None:
    broken, requests = [], 0
    names = sorted(fuzzed.operations)[shard::4]
    for name in names:
        try:
            requests += ask(fuzzed, name, fuzzed.operations[name].as_strategy(generation_mode=mode))
        except (Unsatisfiable, SkipTest):
            assert mode is GenerationMode.NEGATIVE  # where the document allows everything, nothing is unfit
        except Exception as error:
            broken.append(f"{name}: {type(error).__name__}: {error}")
    assert not broken, "\n\n".join(broken)
    assert requests > len(names)
