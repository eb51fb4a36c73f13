"""What every step on a host rests on: refusals, names that lead nowhere else, files that are whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
from pathlib import Path
from typing import Any

HASH = re.compile("[0-9a-f]{64}")
ID = re.compile("[0-9a-f]{12}")


class Refusal(Exception):
    """What cannot be done, and what to do about it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


def in_use(folder: Path) -> bool:
    """Whether a process works in this folder or runs a program of it."""
    inside = str(folder) + "/"
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            if f"{(process / 'cwd').readlink()}/".startswith(inside) or any(
                one.startswith(inside) for one in words
            ):
                return True
    return False


def content(text: str) -> str:
    if not HASH.fullmatch(text):
        raise Refusal("A content is not named by its hash.", "ship again")
    return text


def whole(stored: Path) -> Path:
    """A content that lies under its hash, verified; a damaged one is removed, so that it is sent again."""
    with stored.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != content(stored.name):
        stored.unlink()
        raise Refusal(
            "A file that arrived earlier is damaged on this host's disk.", "deploy again: it is sent anew"
        )
    return stored


def plain(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._+-]+", name) or name.startswith("."):
        raise Refusal(f"{name!r} is no plain file name.", "ship again")
    return name


def relative(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or not path or {"", ".", ".."} & set(parts):
        raise Refusal(f"{path!r} leads out of the release.", "rename it")
    return path


def settle(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def settle_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """A file that is there in one step or not at all; for its owner alone unless told otherwise."""
    temporary = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        settle(file)
    temporary.replace(path)
    settle_folder(path.parent)


def link(path: Path, to: str) -> None:
    """A link that leads to its new place in one step."""
    new = path.with_name(f".{path.name}.next")
    new.unlink(missing_ok=True)
    new.symlink_to(to)
    new.replace(path)
    settle_folder(path.parent)


def run(argv: list[str], cwd: Path, failed: str, fix: str = "mend it, then deploy again") -> None:
    done = subprocess.run(
        argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=600, env={**os.environ, "PIP_NO_INPUT": "1", "UV_PYTHON_DOWNLOADS": "never"}, check=False,
    )  # fmt: skip
    if done.returncode:
        tail = done.stdout.decode("utf-8", "replace").strip().splitlines()[-5:]
        raise Refusal(f"{failed}: {' / '.join(tail) or f'exit {done.returncode}'}", fix)
