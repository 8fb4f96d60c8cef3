"""The agent SDKs in an interpreter of their own, which can reach nothing but this machine."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support.sdk import SIDE

PACKAGES = (
    "anthropic==2.14.0",
    "openai==3.57.0",
    "openai-agents==0.24.0",
    "claude-agent-sdk==0.2.189",  # brings the Claude Code CLI, 400 MB when it is unpacked
)
ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".sdk" / "agents"
EXAMPLES = ROOT / "examples"


def installed() -> Path:
    """The SDKs' virtual environment, made when it is missing; Tintype itself it finds where we run."""
    PLACE.parent.mkdir(exist_ok=True)
    done = PLACE / "packages"
    with (PLACE.parent / "agents.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text().split() != list(PACKAGES):
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(PLACE)], check=True)
            pip = [str(PLACE / "bin" / "pip"), "install", "-q", "--no-cache-dir", *PACKAGES]
            install = subprocess.run(pip, capture_output=True, text=True)
            if install.returncode:
                problem = f"the agent SDKs cannot be installed here: {install.stderr.strip()[-300:]}"
                if os.environ.get("CI"):
                    pytest.fail(problem)
                pytest.skip(problem)
            ours = sysconfig.get_paths()["purelib"]
            own = PLACE / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
            (own / "zz_tintype.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
            done.write_text("\n".join(PACKAGES))
    return PLACE


def run_script(
    path: Path | str, *arguments: str, home: Path, answers: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a script of this repository, or its text, among the SDKs; ``answers`` are typed in."""
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "LANG", "TMPDIR"}}
    own = {
        "HOME": str(home),
        "PYTHONPATH": str(SIDE),
        "ANTHROPIC_API_KEY": "sk-ant-none",
        "OPENAI_API_KEY": "sk-none",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "NO_PROXY": "127.0.0.1",
        "HTTPS_PROXY": "http://127.0.0.1:9",  # nobody is there: the CLI is no Python that we could hold
    }
    what = [str(path)] if isinstance(path, Path) else ["-c", path]
    return subprocess.run(
        [str(installed() / "bin" / "python"), *what, *arguments],
        env=kept | own | env,
        cwd=home,
        input=answers,
        capture_output=True,
        text=True,
        timeout=120,
    )
