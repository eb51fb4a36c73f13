"""The Python environment of a release, made on the host from the wheels that came along: uv or pip."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ops.remote.receiver.files import content, plain, run, whole, write


def environment(base: Path, release: Path, manifest: dict[str, Any]) -> str:
    """The environment for this lock file and Python, made from the wheels that came along."""
    wheels = "".join(sorted(row["sha256"] for row in manifest["wheels"]))
    key = hashlib.sha256(f"{manifest['lock']} {sys.version} {wheels}".encode()).hexdigest()[:16]
    venv = base / "venvs" / key
    if (venv / "COMPLETE").exists():
        return key
    shutil.rmtree(venv, ignore_errors=True)
    links = base / "venvs" / f".wheels-{key}"
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(parents=True)
    for row in manifest["wheels"]:
        os.link(whole(base / "store" / content(row["sha256"])), links / plain(row["name"]))
    offline = [
        "--no-index",
        f"--find-links={links}",
        "--require-hashes",
        "-r",
        str(release / "requirements.lock"),
    ]
    if uv := shutil.which("uv"):
        run(
            [uv, "venv", "--quiet", "--python", sys.executable, str(venv)],
            release,
            "uv cannot make .venv",
        )
        argv = [uv, "pip", "install", "--quiet", "--offline", "--python", str(venv / "bin/python")]
    else:
        fix = "apt-get install python3-venv, or install uv"
        run(
            [sys.executable, "-m", "venv", str(venv)],
            release,
            "python3 cannot make a virtual environment",
            fix,
        )
        argv = [
            str(venv / "bin/python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
    run([*argv, *offline], release, "the wheels cannot be installed")
    told = subprocess.run(
        ["cksum"], input=(release / "requirements.lock").read_bytes(), capture_output=True, check=True
    )
    (venv / ".lock").write_bytes(told.stdout)  # what ./inv compares, so that it sets up nothing itself
    shutil.rmtree(links)
    write(venv / "COMPLETE", b"")
    return key
