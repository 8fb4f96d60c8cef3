"""The dialect over bare HTTP: keys, slashes, headers, dry runs, and addresses that are none."""

from __future__ import annotations

import httpx
import pytest
from support.doors import Site

BEGIN = {"mimetype": "image/png", "response_version": "parquet_object", "file_name": "Bär.png"}


def post(
    site: Site, path: str, data: dict[str, str], key: str | None = None, **headers: str
) -> httpx.Response:
    headers = {"X-API-Key": key or site.owner, **{k.replace("_", "-"): v for k, v in headers.items()}}
    return httpx.post(f"{site.url}{path}", data=data, headers=headers)


@pytest.mark.parametrize("path", ["/dragoneye/prediction-task/begin", "/dragoneye//prediction-task//begin"])
def test_begin(site: Site, path: str) -> None:
    answer = post(site, path, BEGIN)
    assert answer.status_code == 200
    body = answer.json()
    assert body["prediction_type"] == "image"
    (upload,) = body["signed_urls"]
    assert upload["presigned_post_request"]["url"] == f"{site.url}/_upload"
    assert upload["blob_path"] == upload["presigned_post_request"]["fields"]["key"]
    assert answer.headers["x-request-id"]
    assert answer.headers["x-ratelimit-limit"]


def test_keys_and_roles(site: Site) -> None:
    path = "/dragoneye/prediction-task/begin"
    assert httpx.post(f"{site.url}{path}", data=BEGIN).status_code == 401
    assert post(site, path, BEGIN, "pk_live_wrong").status_code == 401
    refused = post(site, path, BEGIN, site.keys["viewer"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "role_required")
    assert post(site, path, BEGIN, site.keys["member"]).status_code == 200


def test_a_dry_run_begins_nothing(site: Site) -> None:
    told = post(site, "/dragoneye/prediction-task/begin", BEGIN, X_Dry_Run="true").json()
    assert (told["dry_run"], told["affected"][0]["kind"]) == (True, "prediction_task.created")


def test_an_engine_that_is_not_there_is_no_503_that_clients_send_again(site: Site) -> None:
    task = post(site, "/dragoneye/prediction-task/begin", BEGIN).json()
    form = task["signed_urls"][0]["presigned_post_request"]
    sent = httpx.post(form["url"], data=form["fields"], files={"file": b"x"})
    assert sent.is_success, sent.text
    asked = {
        "prediction_task_uuid": task["prediction_task_uuid"],
        "model_name": "recognize_anything/open_vocabulary",
        "objects": "sign",
    }
    refused = post(site, "/dragoneye/predict", asked)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "model_not_ready")
    assert refused.json()["error"]["retryable"] is False


def test_addresses_that_are_none(site: Site) -> None:
    headers = {"X-API-Key": site.owner}
    for path in ("", "status", "prediction-task/status/", "prediction-task"):
        assert httpx.get(f"{site.url}/dragoneye/{path}", headers=headers).status_code == 404
    assert httpx.get(f"{site.url}/dragoneye/predict", headers=headers).status_code == 405
    wrong = httpx.get(f"{site.url}/dragoneye/prediction-task/status", headers=headers)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "missing_field")
    for task in ("none", "%00", "x" * 500):
        url = f"{site.url}/dragoneye/prediction-task/status?predictionTaskUuid={task}"
        assert httpx.get(url, headers=headers).status_code in {404, 422}


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b"mimetype", b"mimetype=&file_name=x", b"mimetype=%FF%FE", b"{}", b"a=1&" * 500],
)
def test_bodies_that_are_no_form(site: Site, body: bytes) -> None:
    for kind in (
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "text/plain",
    ):
        headers = {"X-API-Key": site.owner, "Content-Type": kind}
        answer = httpx.post(f"{site.url}/dragoneye/prediction-task/begin", content=body, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["detail"]
