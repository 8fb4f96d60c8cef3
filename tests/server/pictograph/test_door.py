"""The door of the dialect: who comes in, what is asked, and how it says no."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.rest import API, Rest, open_rest

from tintype_studio.history import idempotency


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with open_rest(tmp_path_factory.mktemp("door") / "home") as opened:
        yield opened


def make(rest: Rest, name: str) -> None:
    assert rest.send("POST", "/projects/", json={"name": name}).status_code == 201


@pytest.mark.parametrize("path", ["/datasets/", "/nothing", "/projects/x"])
def test_nobody_comes_in_without_a_key(rest: Rest, path: str) -> None:
    response = rest.client.get(f"{API}{path}")
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "missing_key"
    assert response.headers["x-request-id"]
    assert response.headers["www-authenticate"] == "Bearer"


def test_the_reference_needs_no_key_and_nothing_from_elsewhere(rest: Rest) -> None:
    document = rest.client.get(f"{API}/openapi.json").json()
    assert document["components"]["securitySchemes"]["x-api-key"]["name"] == "X-API-Key"
    assert {f"{API}/datasets/", f"{API}/projects/{{name}}", f"{API}/credits/balance"} <= set(
        document["paths"]
    )
    page = rest.client.get(f"{API}/docs").text
    assert 'id="credits"' in page
    assert "http" not in page.replace(API, "")


@pytest.mark.parametrize("path", ["/datasets", "/projects", "/credits/balance/"])
def test_a_wrong_slash_is_told_and_not_redirected(rest: Rest, path: str) -> None:
    response = rest.send("GET", path, follow_redirects=False)
    assert response.status_code == 404
    meant, how = (path[:-1], "without") if path.endswith("/") else (f"{path}/", "with")
    assert response.json()["error"]["fix"] == f"Send it to {API}{meant}, {how} a slash at the end."


def test_the_collection_of_projects_cannot_be_deleted(rest: Rest) -> None:
    assert rest.no("DELETE", "/projects/") == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("body", "code"),
    [(b'{"name": ', "invalid_json"), (b'{"name": NaN}', "invalid_json"), (b"[]", "invalid_arguments")],
)
def test_a_bad_body_is_one_clear_error(rest: Rest, body: bytes, code: str) -> None:
    headers = {"Content-Type": "application/json"}
    assert rest.no("POST", "/projects/", content=body, headers=headers) == (422, code)


def test_a_body_over_the_limit_is_refused(rest: Rest) -> None:
    headers = {"Content-Type": "application/json"}
    sent = rest.no("POST", "/projects/", content=b" " * (16 * 1024 * 1024 + 1), headers=headers)
    assert sent == (413, "body_too_large")


def test_every_answer_tells_the_limits_and_counts_once(rest: Rest) -> None:
    first = rest.send("GET", "/datasets/by-name/none")
    second = rest.send("GET", "/nothing")
    assert [r.status_code for r in (first, second)] == [404, 404]
    left = [int(r.headers["x-ratelimit-remaining"]) for r in (first, second)]
    assert left[0] - left[1] == 1


def test_a_request_id_finds_the_call_in_the_trail(rest: Rest) -> None:
    response = rest.send("GET", "/projects/none")
    rest.runtime.studio.audit.flush()
    with rest.runtime.studio.database.read() as connection:
        found = connection.exec_driver_sql(
            "SELECT tool, door, outcome FROM calls WHERE uuid = ?", (response.headers["x-request-id"],)
        ).all()
    assert [tuple(row) for row in found] == [("get_dataset", "rest", "dataset_not_found")]


def test_a_dry_run_tells_and_does_nothing(rest: Rest) -> None:
    response = rest.send("POST", "/projects/", json={"name": "dry"}, headers={"X-Dry-Run": "true"})
    assert (response.status_code, response.json()["dry_run"]) == (200, True)
    assert rest.no("GET", "/projects/dry") == (404, "dataset_not_found")


def test_a_deletion_asks_nothing_and_is_undone(rest: Rest) -> None:
    make(rest, "gone")
    response = rest.send("DELETE", "/projects/gone")
    assert response.status_code == 200
    undone = rest.send("POST", "/_dispatch/undo_call", json={"call_id": response.headers["x-request-id"]})
    assert undone.status_code == 200, undone.text
    rest.ok("GET", "/projects/gone")


def test_where_a_person_must_agree_it_is_asked_and_goes_on_after_their_word(tmp_path: Path) -> None:
    with open_rest(tmp_path / "home", confirm_by="human") as rest:
        make(rest, "kept")
        response = rest.send("DELETE", "/projects/kept")
        assert (response.status_code, response.json()["error"]["code"]) == (428, "confirmation_required")
        details = response.json()["error"]["details"]
        assert "confirm_token" not in details
        rest.ok("GET", "/projects/kept")
        person = rest.runtime.studio.keys.authenticate(rest.keys["admin"])
        rest.runtime.studio.approvals.decide(person, details["approval_id"], approve=True)
        rest.ok("DELETE", "/projects/kept")


def test_no_answer_is_cut(rest: Rest) -> None:
    studio = rest.runtime.studio
    key, _ = studio.keys.create(rest.owner, name="small", role="viewer", max_response_tokens=300)
    for number in range(12):
        make(rest, f"cap {number}")
    body = rest.ok("GET", "/datasets/", key=key)
    assert "_truncated" not in body
    assert len(body["datasets"]) >= 12


def test_a_second_call_with_the_key_of_a_running_one_is_told_to_come_again(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0.2)
    studio, entered, go_on = rest.runtime.studio, threading.Event(), threading.Event()
    create = studio.datasets.create

    def slow(*args: Any, **kwargs: Any) -> Any:
        entered.set()
        go_on.wait(10)
        return create(*args, **kwargs)

    monkeypatch.setattr(studio.datasets, "create", slow)
    given: dict[str, Any] = {"json": {"name": "slow"}, "headers": {"Idempotency-Key": "slow"}}
    first: list[Any] = []
    thread = threading.Thread(target=lambda: first.append(rest.send("POST", "/projects/", **given)))
    thread.start()
    assert entered.wait(10)
    second = rest.send("POST", "/projects/", **given)
    go_on.set()
    thread.join()
    assert (second.status_code, second.headers["retry-after"]) == (429, "1")
    assert second.json()["error"]["code"] == "call_in_flight"
    assert first[0].status_code == 201
    third = rest.send("POST", "/projects/", **given)
    assert (third.status_code, third.headers["idempotent-replayed"]) == (201, "true")


def test_a_402_says_its_sums_flat(rest: Rest) -> None:
    from tintype_server.pictograph.errors import wire_body
    from tintype_studio.errors import PaymentRequired

    body = wire_body(PaymentRequired("Too dear.", required=5, remaining=0), upgrade_url="http://x/docs")
    assert (body["detail"], body["credit_cost"], body["credits_remaining"], body["upgrade_url"]) == (
        "Too dear.",
        5,
        0,
        "http://x/docs",
    )
