"""What we measure ourselves against, at pinned versions, in a cache folder outside the checkout.

Where packages come from is the machine's own configuration of pip and npm.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.errors import OpsError
from ops.processes.environment import minimal

PATIENCE = 300.0  # seconds for each installation


@dataclass(frozen=True)
class Peers:
    """Packages for one bench: versions by name."""

    python: Mapping[str, str]
    node: Mapping[str, str]


SUPERVISORS = Peers(
    {"honcho": "2.0.0", "supervisor": "4.3.0", "circus": "0.19.0", "dekit-cli": "0.10.3"}, {"pm2": "7.0.4"}
)
RELAYS = Peers(
    {
        "fastapi": "0.165.0", "uvicorn": "0.54.0", "uvloop": "0.23.0", "httptools": "0.9.0",
        "websockets": "17.4",
    },
    {"ws": "8.23.0"},
)  # fmt: skip
SHIPPERS = Peers({"uv": "0.13.9", "pyinfra": "3.10.0", "ansible-core": "2.19.14"}, {})


def cache() -> Path:
    """Where the peers are, whether installed or not."""
    base = minimal().get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "trunkline" / "bench"


def install(folder: Path, peers: Peers, progress: Callable[[str], None]) -> None:
    """Install what is missing; raises OpsError when one of the installers fails."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        progress(f"making {folder / 'venv'}")
        _run([sys.executable, "-m", "venv", str(folder / "venv")])
    progress("installing " + ", ".join(f"{name} {version}" for name, version in peers.python.items()))
    wanted = [f"{name}=={version}" for name, version in peers.python.items()]
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
    if not peers.node:
        return
    if not shutil.which("npm"):
        progress(f"there is no npm here: {', '.join(peers.node)} is left out")
        return
    progress("installing " + ", ".join(f"{name} {version}" for name, version in peers.node.items()))
    wanted = [f"{name}@{version}" for name, version in peers.node.items()]
    _run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(folder / "npm"), *wanted])


def installed(folder: Path, peers: Peers) -> dict[str, str]:
    """The versions that are there, by package."""
    found = {}
    for package, version in peers.python.items():
        name = package.replace("-", "_")
        if any((folder / "venv").glob(f"lib/python*/site-packages/{name}-{version}.dist-info")):
            found[package] = version
    for package, version in peers.node.items():
        if _npm_version(folder / "npm" / "node_modules" / package / "package.json") == version:
            found[package] = version
    return found


def _npm_version(path: Path) -> str | None:
    import json

    try:
        return str(json.loads(path.read_text("utf-8"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _run(argv: list[str]) -> None:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise OpsError(f"{argv[0]} could not be run: {problem}.", fix="install it, then try again") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise OpsError(
            f"{' '.join(argv[:4])} … ended with {done.returncode}: {' '.join(lines)}.",
            fix="set pip and npm up so that they reach a package index, then try again",
        )
