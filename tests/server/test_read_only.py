"""Reading only, as the server's own mode and as a caller's wish, at every address that changes something."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.rest import API, open_rest

from tintype_studio.storage.uploads import UploadKind

CREATE = {"json": {"name": "signs"}}


def test_a_server_that_only_reads_takes_nothing_in(tmp_path: Path) -> None:
    with open_rest(tmp_path / "home", read_only=True) as rest:
        studio = rest.runtime.studio
        ticket = studio.uploads.issue(rest.owner, "a.jpg", UploadKind.IMAGE)
        put = rest.client.put(f"/_upload/{ticket.token}", content=b"abc")
        accepted = rest.client.post("/invites/invite_x", json={})
        for refused in (put, accepted):
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "read_only")
        assert rest.no("POST", "/projects/", **CREATE) == (403, "read_only")
        assert rest.ok("GET", "/datasets/")["datasets"] == []
        assert not list((studio.home / "blobs").rglob("uploads/*/*"))


@pytest.mark.parametrize("path", ["/projects/", f"{API}/_dispatch/create_dataset"])
def test_a_caller_may_ask_to_be_left_with_less(tmp_path: Path, path: str) -> None:
    with open_rest(tmp_path / "home") as rest:
        for headers, code in (
            ({"X-MCP-Readonly": "true"}, "read_only"),
            ({"X-MCP-Toolsets": "images"}, "toolset_required"),
        ):
            refused = rest.send("POST", path, headers=headers, **CREATE)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, code)
        slip = rest.send("POST", path, headers={"X-MCP-Readonly": "perhaps"}, **CREATE)
        assert slip.status_code == 422
        assert rest.ok("GET", "/datasets/")["datasets"] == []
        assert rest.send("POST", path, headers={"X-MCP-Toolsets": "datasets"}, **CREATE).status_code < 300
