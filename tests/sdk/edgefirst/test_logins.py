"""How the published client comes in: names and passwords, tokens, keys; and what it keeps."""

from __future__ import annotations

from pathlib import Path

from support.edgefirst import PASSWORD, USERNAME, EdgeFirstSdk


def test_what_a_client_knows_of_itself(sdk: EdgeFirstSdk) -> None:
    found = sdk.run(
        "return client.username, client.url, client.server, client.token_expiration, client.version()"
    )
    assert found[:3] == [USERNAME, f"{sdk.server.url}/edgefirst", "saas"]
    assert found[3] > "2026"


def test_verify_and_renew(sdk: EdgeFirstSdk) -> None:
    before, after = sdk.run("""
        client.verify_token()
        before = client.token_expiration
        import time; time.sleep(1.1)
        client.renew_token()
        return before, client.token_expiration
    """)
    assert after > before
    assert sdk.run("return [p.name for p in client.projects()]")


def test_wrong_passwords(sdk: EdgeFirstSdk) -> None:
    for options in ({"password": "wrong"}, {"username": "nobody"}, {"password": "pk_live_nothing"}):
        failure = sdk.with_options(**options).fails("return client.projects()")
        assert failure["type"] == "RuntimeError"
        assert ("PermissionDenied" if sdk.newest else "RpcError(401") in failure["message"]


def test_a_key_is_a_password(sdk: EdgeFirstSdk) -> None:
    assert sdk.as_("viewer").run("return client.organization().name") == sdk.run(
        "return client.organization().name"
    )
    assert sdk.as_("elsewhere").run("return client.organization().name") == "Other"


ALONE = """
import os
from edgefirst_client import Client
url, username, password = (os.environ[name] for name in ("URL", "NAME", "PASSWORD"))
client = Client().with_server(url).with_login(username, password)
client.save_token()
assert os.path.exists(os.path.join(os.environ["XDG_CONFIG_HOME"], "edgefirststudio", "token"))
print(client.token())
client.logout()
try:
    client.projects()
except RuntimeError as error:
    assert "EmptyToken" in str(error), error
"""


def test_a_login_is_kept_and_ended(sdk: EdgeFirstSdk, tmp_path: Path) -> None:
    done = sdk.alone(ALONE, tmp_path, NAME=USERNAME, PASSWORD=PASSWORD)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".") == 2


TOKEN = """
import os
from edgefirst_client import Client
token, url = os.environ["TOKEN"], os.environ["URL"]
if hasattr(Client, "with_url"):
    client = Client().with_memory_storage().with_token(token).with_url(url)
else:
    class Kept:
        def load(self): return token
        def store(self, token): pass
        def clear(self): pass
    client = Client().with_memory_storage().with_server(url).with_storage(Kept())
print(client.organization().name, client.username)
"""


def test_a_token(sdk: EdgeFirstSdk, tmp_path: Path) -> None:
    token = sdk.run("return client.token()")
    done = sdk.alone(TOKEN, tmp_path, TOKEN=token)
    assert done.returncode == 0, done.stderr
    assert USERNAME in done.stdout


FORGOTTEN = """
import os
from edgefirst_client import Client
client = Client().with_memory_storage().with_token(os.environ["TOKEN"])
print(client.url)
"""


def test_a_token_without_an_address_goes_to_nobody(sdk: EdgeFirstSdk, tmp_path: Path) -> None:
    done = sdk.alone(FORGOTTEN, tmp_path, TOKEN=sdk.run("return client.token()"))
    assert done.stdout.startswith("https://tintype.invalid/"), done.stderr
