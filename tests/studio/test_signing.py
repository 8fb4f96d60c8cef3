"""The workspace's secret, hashed API keys and signed tokens."""

from __future__ import annotations

import base64
import errno
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tintype_studio.errors import Unavailable
from tintype_studio.storage.signing import Signer, load_secret

SIGNER = Signer(b"\x01" * 32)


def test_the_secret_is_made_once_and_readable_by_its_user_only(tmp_path: Path) -> None:
    secret = load_secret(tmp_path)
    assert len(secret) == 32
    assert load_secret(tmp_path) == secret
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_two_workspaces_have_different_secrets(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert load_secret(tmp_path / "a") != load_secret(tmp_path / "b")


def test_many_first_starters_agree_on_one_secret(tmp_path: Path) -> None:
    for n in range(10):
        home = tmp_path / str(n)
        home.mkdir()
        barrier, secrets = threading.Barrier(8), set()

        def start(home: Path = home, barrier: Any = barrier, secrets: set[bytes] = secrets) -> None:
            barrier.wait()
            secrets.add(load_secret(home))

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(secrets) == 1
        assert [p.name for p in home.iterdir()] == ["secret.key"]


def test_a_key_hash_depends_on_key_and_secret() -> None:
    digest = SIGNER.hash_key("pk_live_x")
    assert digest == SIGNER.hash_key("pk_live_x")
    assert len({digest, SIGNER.hash_key("pk_live_y"), Signer(b"\x02" * 32).hash_key("pk_live_x")}) == 3


def test_a_token_carries_its_claims() -> None:
    claims = SIGNER.claims(SIGNER.token({"path": "a/é", "n": 3}, 60))
    assert claims is not None
    assert (claims["path"], claims["n"]) == ("a/é", 3)


def test_a_token_ends_with_its_time(move_clock: Any) -> None:
    token = SIGNER.token({"a": 1}, 60)
    move_clock(timedelta(seconds=58))
    assert SIGNER.claims(token) is not None
    move_clock(timedelta(seconds=61))
    assert SIGNER.claims(token) is None


def test_a_claim_cannot_stretch_the_time() -> None:
    assert SIGNER.claims(SIGNER.token({"exp": 99_999_999_999}, -1)) is None


def test_a_token_of_another_workspace_is_refused() -> None:
    assert SIGNER.claims(Signer(b"\x02" * 32).token({"a": 1}, 60)) is None


def test_a_changed_token_is_refused() -> None:
    body, tag = SIGNER.token({"role": "viewer"}, 60).split(".")
    forged = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).replace(b"viewer", b"owners")
    text = base64.urlsafe_b64encode(forged).rstrip(b"=").decode()
    assert SIGNER.claims(f"{text}.{tag}") is None
    assert SIGNER.claims(f"{body}.{tag[:-4]}") is None


@pytest.mark.parametrize("token", ["", ".", "a", "a.b", "a.b.c", "é.é", "\ud800.a", "=.=", "a" * 10_000])
def test_garbage_is_no_token(token: str) -> None:
    assert SIGNER.claims(token) is None


@given(st.text())
def test_no_text_makes_the_check_fail_with_an_error(token: str) -> None:
    assert SIGNER.claims(token) is None


@pytest.mark.parametrize(
    "content", [b"", b"not hex", b"\xff" * 64, b"ab" * 31, b"ab" * 33], ids=lambda c: repr(c[:8])
)
def test_a_damaged_secret_is_told_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret.key").write_bytes(content)
    with pytest.raises(Unavailable) as caught:
        load_secret(tmp_path)
    assert (caught.value.code, caught.value.retryable) == ("secret_damaged", False)
    assert (tmp_path / "secret.key").read_bytes() == content


MAKES_A_SECRET = """
import resource, sys
from pathlib import Path
from tintype_studio.storage.signing import load_secret

resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    load_secret(Path(sys.argv[1]))
except OSError as error:
    print(error.errno, flush=True)
"""


def test_a_full_disk_leaves_no_part_of_a_secret(home: Path, spawn: Any) -> None:
    home.mkdir()
    assert int(spawn(MAKES_A_SECRET).communicate(timeout=30)[0]) == errno.EFBIG
    assert list(home.iterdir()) == []
    assert len(load_secret(home)) == 32
