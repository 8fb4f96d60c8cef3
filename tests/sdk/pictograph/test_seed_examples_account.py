"""The seed documentation's examples of credits, keys, organizations, providers, videos, limits and errors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.people import join
from support.providers import KEY, Provider
from support.sdk import Sdk, Server
from support.seed_world import Filled, fill, lacks
from support.videos import HEIGHT, WIDTH, clip

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio import clock
from tintype_studio.identity.roles import Role

EXCEPTIONS = {
    *("PictographError", "AuthError", "ForbiddenError", "NotFoundError", "ConflictError", "ValidationError"),
    *("PaymentRequiredError", "RateLimitError", "ServerError", "NetworkError", "RequestTimeoutError"),
    *("PollTimeoutError", "ApiError"),
}


# --- Credits -------------------------------------------------------------------------------------------


def test_the_balance(sdk: Sdk) -> None:
    code = """
    balance = client.credits.balance()
    told = [[entry.created_at, entry.operation, entry.amount] for entry in balance.recent_history]
    return [balance.credits_remaining, balance.credits_monthly_allowance, balance.credits_reset_at, told]
    """
    remaining, allowance, resets, told = sdk.run(code)
    assert 0 < remaining <= allowance == 1000
    assert resets
    assert told
    assert all(amount for _, _, amount in told)


def test_the_history(sdk: Sdk) -> None:
    code = """
    entries = client.credits.history(limit=50, offset=0)
    direction = lambda e: "debit" if e.amount < 0 else "credit"
    return [[e.created_at, direction(e), abs(e.amount), e.operation] for e in entries]
    """
    entries = sdk.run(code)
    assert entries[-1][1:3] == ["credit", 1000]
    assert [e[0] for e in entries] == sorted((e[0] for e in entries), reverse=True)


def test_the_ledger_is_iterated(sdk: Sdk) -> None:
    code = """
    entries = [[entry.balance_after, entry.operation] for entry in client.credits.iter(page_size=100)]
    return [entries, client.credits.balance().credits_remaining]
    """
    entries, remaining = sdk.run(code)
    assert entries[0][0] == remaining


def test_an_estimate(sdk: Sdk) -> None:
    code = """
    estimate = client.credits.estimate("training_a10g_per_minute", quantity=30)
    return [estimate.total_credits, estimate.sufficient]
    """
    assert sdk.run(code) == [300, True]


def test_enough_credits_to_train(sdk: Sdk) -> None:
    code = """
    estimate = client.credits.estimate("training_a10g_per_minute", quantity=30)
    if not estimate.sufficient:
        raise RuntimeError(f"Need {estimate.total_credits}, have {estimate.credits_remaining}")
    """
    sdk.run(code)
    shape = sdk.as_("elsewhere").fails(code)
    assert (shape["type"], shape["message"]) == ("RuntimeError", "Need 300, have 0")


def test_enough_images_to_train(sdk: Sdk, tmp_path: Path) -> None:
    code = """
    ds = client.datasets.get(name)
    assert ds.completed_image_count >= 5
    """
    sdk.run(code, name=fill(sdk, tmp_path, count=5, labelled=5).name)
    assert sdk.fails(code, name=fill(sdk, tmp_path).name)["type"] == "AssertionError"


def test_a_gate_on_credits(sdk: Sdk, folder_of_pictures: Path) -> None:
    """An organization without credits uploads its images, and nothing that costs is begun."""
    code = """
    from pictograph.workflows import full_pipeline
    report = full_pipeline(
        client,
        dataset_name=name, folder=folder, classes=[("stop_sign", "bbox")], pipeline="yolox",
        min_credits=1,
    )
    return [report.credit_skip_reason, report.success, report.upload.images_uploaded, report.annotate]
    """
    values = {"name": "gated", "folder": str(folder_of_pictures)}
    poor = sdk.as_("elsewhere")
    reason, success, uploaded, annotate = poor.run(code, **values)
    poor.run("client.projects.delete(name)", **values)
    assert reason.startswith("Insufficient credits: 0 available, 1 required.")
    assert (success, uploaded, annotate) == (False, 3, None)


# --- API keys ------------------------------------------------------------------------------------------

KEYS = """
org = client.organizations.me().id
created = client.api_keys.create(
    organization_id=org,
    name="ci-pipeline",
    role="member",
    expires_at=None,
)
"""


def test_keys_are_listed(sdk: Sdk) -> None:
    code = """
    keys = client.api_keys.list()
    same = client.api_keys.list(organization_id=client.organizations.me().id)
    told = [[k.name, k.role, k.key_prefix, k.last_used_at] for k in keys]
    return [told, [k.id for k in keys] == [k.id for k in same]]
    """
    told, same = sdk.run(code)
    assert same
    assert {"viewer", "member", "admin", "owner"} <= {role for _, role, _, _ in told}
    assert all(sdk.server.keys[role].startswith(prefix) for name, role, prefix, _ in told if name == role)


def test_a_key_is_created(sdk: Sdk) -> None:
    made = sdk.run(KEYS + "return created")
    assert (made["name"], made["role"], made["expires_at"]) == ("ci-pipeline", "member", None)
    assert sdk.with_key(made["api_key"]).run("return client.organizations.me().name") == "Local"
    assert "full_key" in lacks(sdk, KEYS + "return created.full_key")


def test_a_key_is_read(sdk: Sdk) -> None:
    code = (
        KEYS
        + "key = client.api_keys.get(created.key_id)\nreturn [key.role, key.created_at, key.last_used_at]"
    )
    role, created_at, last_used_at = sdk.run(code)
    assert (role, last_used_at) == ("member", None)
    assert created_at


def test_a_key_is_updated(sdk: Sdk) -> None:
    """A role and an end are given to a key when it is made."""
    told = lacks(sdk, KEYS + 'client.api_keys.update(created.key_id, name="renamed", role="admin")')
    assert "'role'" in told
    told = lacks(sdk, KEYS + 'client.api_keys.update(created.key_id, expires_at="2027-01-01T00:00:00Z")')
    assert "'expires_at'" in told
    code = (
        KEYS
        + """
client.api_keys.update(created.key_id, name="renamed")
other = client.api_keys.create(org, "ends", role="admin", expires_at="2027-01-01T00:00:00Z")
return [client.api_keys.get(created.key_id).name, other.role, other.expires_at]
"""
    )
    *told, expires_at = sdk.run(code)
    assert told == ["renamed", "admin"]
    assert datetime.fromisoformat(expires_at) == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_key_is_deleted(sdk: Sdk) -> None:
    made = sdk.run(KEYS + "client.api_keys.delete(created.key_id)\nreturn created")
    assert sdk.with_key(made["api_key"]).fails("client.credits.balance()")["type"] == "AuthError"


# --- Organizations -------------------------------------------------------------------------------------


def test_the_organization(sdk: Sdk) -> None:
    code = """
    org = client.organizations.me()
    return [org.id, org.name, org.subscription_tier, org.member_count]
    """
    number, name, tier, members = sdk.run(code)
    assert number
    assert (name, tier) == ("Local", "enterprise")
    assert members == len(sdk.run("return client.organizations.list_members()"))


def test_members(sdk: Sdk) -> None:
    studio = open_studio(Settings(home=sdk.server.home))
    try:
        member = join(studio, studio.keys.authenticate(sdk.key), Role.MEMBER).member_id
    finally:
        studio.close()
    code = """
    def listed():
        return [[m.email, m.role, m.joined_at] for m in client.organizations.list_members() if m.id == member]
    before = listed()
    client.organizations.update_member_role(
        member_id=member,
        role="admin",
    )
    changed = listed()
    client.organizations.remove_member(member_id=member)
    return [before, changed, listed()]
    """
    (before,), (changed,), after = sdk.run(code, member=member)
    assert [before[1], changed[1], after] == ["member", "admin", []]
    assert before[0] == changed[0]
    assert before[2]


def test_invites(sdk: Sdk) -> None:
    email = f"{clock.new_id()}@example.com"
    asked = """
    invite = client.organizations.invite(
        email=email,
        role="member",
        expires_in_days=14,
    )
    """
    assert "expires_in_days" in lacks(sdk, asked, email=email)
    code = """
    invite = client.organizations.invite(email=email, role="member")
    invites = client.organizations.list_invites(status="pending")
    told = [[inv.email, inv.role, inv.expires_at] for inv in invites if inv.id == invite.id]
    client.organizations.revoke_invite(invite_id=invite.id)
    left = [inv.id for inv in client.organizations.list_invites(status="pending")]
    return [told, hasattr(invite, "invite_url"), invite.id in left, invite.created_at]
    """
    ((mail, role, expires_at),), has_url, left, created_at = sdk.run(code, email=email)
    assert (mail, role, has_url, left) == (email, "member", False, False)
    assert expires_at > created_at


# --- Connectors ----------------------------------------------------------------------------------------

IMPORT = """
job = client.connectors.import_(
    provider="v7",
    api_key=key,
    datasets=[{"id": "-", "name": name, "slug": slug}],
    wait=wait,
    poll_interval=0.2,
    timeout=60.0,
)
"""


@pytest.fixture(scope="module")
def provider(sdk_server: Server) -> Iterator[Provider]:
    sdk_server.provider.add_v7("seed-signs", 3)
    yield sdk_server.provider
    sdk_server.provider.items.pop("seed-signs")


def test_a_provider_is_validated(sdk: Sdk, provider: Provider) -> None:
    code = """
    result = client.connectors.validate(
        provider="v7",
        api_key=key,
    )
    return [result.valid, [[ds.id, ds.name, ds.image_count] for ds in result.datasets], result.error]
    """
    valid, datasets, error = sdk.run(code, key=KEY)
    assert (valid, error) == (True, None)
    assert ("Seed-Signs", 3) in [(name, count) for _, name, count in datasets]
    valid, datasets, error = sdk.run(code, key="another")
    assert (valid, datasets) == (False, [])
    assert "V7" in error


def test_limits_of_an_import(sdk: Sdk) -> None:
    code = """
    check = client.connectors.check_limits(
        total_images=12500,
        estimated_size_bytes=4_000_000_000,
    )
    return [check.allowed, check.exceeded]
    """
    assert sdk.run(code) == [True, None]
    assert sdk.as_("elsewhere").run(code) == [False, "images"]


def test_an_import(sdk: Sdk, provider: Provider) -> None:
    code = (
        IMPORT
        + """
row = job.datasets[0]
absent = [a for a in ("dataset_name", "images_imported", "total_images") if not hasattr(row, a)]
return [job.import_id, job.status, row.name, row.imported, absent]
"""
    )
    name = f"Road signs {clock.new_id()}"
    number, *told = sdk.run(code, key=KEY, name=name, slug="seed-signs", wait=True)
    assert number
    absent = ["dataset_name", "images_imported", "total_images"]
    assert told == ["completed", name, 3, absent]
    assert sdk.run("return client.datasets.get(name).image_count", name=name) == 3


def test_an_import_is_polled_and_cancelled(sdk: Sdk, provider: Provider) -> None:
    code = (
        IMPORT
        + """
import_id = job.import_id
job = client.connectors.get_import(import_id)
begun = job.status
job = client.connectors.cancel_import(import_id)
job = client.connectors.wait_for_import(import_id, timeout=600.0, poll_interval=0.2)
return [begun, job.status]
"""
    )
    provider.picture_seconds = 1.0
    values = {"key": KEY, "name": f"Slow {clock.new_id()}", "slug": "seed-signs", "wait": False}
    try:
        assert sdk.run(code, **values) == ["processing", "cancelled"]
    finally:
        provider.picture_seconds = 0.0


# --- Video ---------------------------------------------------------------------------------------------

UPLOADED = "info = client.video.upload(local_path=path)\n"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(clip(tmp_path_factory.mktemp("seed"), "recording.mp4"))


@pytest.fixture(scope="module")
def footage(sdk: Sdk, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    return fill(sdk, tmp_path_factory.mktemp("footage"), count=1)


def test_a_video_is_uploaded(sdk: Sdk, recording: str) -> None:
    code = """
    info = client.video.upload(
        file_path=path,
        dataset_id="proj-uuid",
        folder_path="/raw-footage",
    )
    """
    assert "file_path" in lacks(sdk, code, path=recording)
    found = sdk.run(UPLOADED + "return [info.gcs_path, hasattr(info, 'video_id')]", path=recording)
    assert found[0].endswith("recording.mp4")
    assert found[1] is False


def test_a_video_is_probed(sdk: Sdk, recording: str) -> None:
    code = (
        UPLOADED
        + """
meta = client.video.probe(info.gcs_path)
absent = [a for a in ("fps", "codec") if not hasattr(meta, a)]
return [meta.duration_seconds, meta.native_fps, meta.width, meta.height, meta.frame_count, absent]
"""
    )
    seconds, rate, *exact = sdk.run(code, path=recording)
    assert (seconds, rate) == pytest.approx((4.0, 10.0), rel=0.02)
    assert exact == [WIDTH, HEIGHT, 40, ["fps", "codec"]]


def test_frames_are_extracted(sdk: Sdk, recording: str, footage: Filled) -> None:
    code = (
        UPLOADED
        + """
job = client.video.extract_frames(
    gcs_path=info.gcs_path,
    dataset_id="proj-uuid",
    folder_path="/raw-footage/frames",
    fps=2.0,
    start_seconds=1.0,
    end_seconds=3.0,
    max_frames=200,
    wait=True,
    poll_interval=5.0,
    timeout=1800.0,
)
"""
    )
    assert "dataset_id" in lacks(sdk, code, path=recording)
    code = (
        UPLOADED
        + """
job = client.video.extract_frames(
    gcs_path=info.gcs_path,
    dataset_name=name,
    parent_folder_path="/raw-footage",
    folder_name="frames",
    sample_fps=2.0,
    wait=True,
    poll_interval=0.2,
    timeout=60.0,
)
return [job.status, job.frames_extracted, job.folder_path]
"""
    )
    assert sdk.run(code, path=recording, name=footage.name) == ["complete", 8, "/raw-footage/frames"]


def test_an_extraction_is_polled(sdk: Sdk, recording: str, footage: Filled) -> None:
    code = (
        UPLOADED
        + """
job_id = client.video.extract_frames(name, info.gcs_path, folder_name="polled", wait=False).job_id
job = client.video.get_extraction(job_id)
begun = job.status
job = client.video.wait_for_extraction(job_id, timeout=600.0, poll_interval=0.2)
return [begun, job.status, job.frames_extracted]
"""
    )
    begun, *ended = sdk.run(code, path=recording, name=footage.name)
    assert begun in {"processing", "complete"}
    assert ended == ["complete", 4]


# --- Errors and limits ---------------------------------------------------------------------------------


def test_the_errors_there_are(sdk: Sdk) -> None:
    code = """
    from pictograph.exceptions import (
        PictographError, AuthError, ForbiddenError, NotFoundError,
        ConflictError, ValidationError, PaymentRequiredError,
        RateLimitError, ServerError, NetworkError, RequestTimeoutError,
        PollTimeoutError, ApiError,
    )
    return [name for name, value in locals().items() if issubclass(value, PictographError)]
    """
    assert set(sdk.run(code)) == EXCEPTIONS


def test_a_limit_says_when_to_come_again(sdk: Sdk) -> None:
    """A wait that the SDK leaves to its caller, being longer than two minutes."""
    studio = open_studio(Settings(home=sdk.server.home))
    try:
        owner = studio.keys.authenticate(sdk.key)
        key, _ = studio.keys.create(owner, name="bursty", role=Role.VIEWER, rate_limit=1)
    finally:
        studio.close()
    code = """
    from pictograph.exceptions import RateLimitError
    try:
        client.datasets.list(limit=1000)
        client.datasets.list(limit=1000)
    except RateLimitError as e:
        return e.retry_after
    """
    assert 120 < sdk.with_key(key).run(code) <= 3720
