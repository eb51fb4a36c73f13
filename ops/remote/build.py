"""What a release is made of, from here: the project's files by git, and wheels for the hosts' Python."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.errors import OpsError

NEVER = re.compile(r"(^|/)(\.env|\.venv|\.git)(/|$)|^(logs|dist)/")  # a host has its own of these
LARGEST = 512 << 20  # bytes of a project


@dataclass(frozen=True)
class File:
    """One file of a release: its bytes, or where a link leads."""

    path: str
    data: bytes = b""
    executable: bool = False
    link: str | None = None

    @property
    def sha256(self) -> str:
        return digest(self.data)

    def row(self) -> dict[str, Any]:
        if self.link is not None:
            return {"path": self.path, "link": self.link}
        return {"path": self.path, "sha256": self.sha256, "executable": self.executable}


@dataclass(frozen=True)
class Wheel:
    path: Path
    sha256: str


@dataclass(frozen=True)
class Project:
    """The files of a release, what git calls it, and how many uncommitted changes are left out."""

    files: tuple[File, ...]
    label: str
    left_out: int

    @property
    def lock(self) -> bytes | None:
        """The lock file that the environment on a host is made from."""
        return next((file.data for file in self.files if file.path == "requirements.lock"), None)


def project(root: Path, *, dirty: bool) -> Project:
    """What git has committed; with `dirty` what lies in the folder, without what git ignores."""
    label = _git(root, "describe", "--always", "--dirty").decode().strip()
    changed = _git(root, "status", "--porcelain", "-z").count(b"\0")
    found = _lying(root) if dirty else _committed(root)
    files = tuple(file for file in found if not NEVER.search(file.path))
    _check(files)
    return Project(files, label, 0 if dirty else changed)


def release_id(files: Iterable[File], wheels: Iterable[Wheel], env: str | None, salt: str) -> str:
    """A name from the content alone: the same content is the same release, on every host and every day."""
    found = hashlib.sha256(salt.encode())
    for file in sorted(files, key=lambda one: one.path):
        found.update(repr((file.path, file.executable, file.link, file.sha256)).encode())
    for wheel in sorted(wheels, key=lambda one: one.path.name):
        found.update(repr((wheel.path.name, wheel.sha256)).encode())
    found.update(repr(env).encode())
    return found.hexdigest()[:12]


def wheels(lock: bytes | None, facts: dict[str, Any], cache: Path) -> tuple[Wheel, ...]:
    """The wheels of a lock file for a host's Python and platform, fetched once by pip and then kept."""
    if lock is None:
        return ()
    python = ".".join(str(facts["python"]).split(".")[:2])
    told = f"{python} {facts['platform']} {facts['libc']} {digest(lock)}"
    folder = cache / digest(told.encode())[:16]
    if not (folder / "COMPLETE").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "requirements.lock").write_bytes(lock)
        argv = [
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary=:all:",
            "--require-hashes",
        ]
        argv += ["--dest", str(folder), "-r", str(folder / "requirements.lock"), *_target(python, facts)]
        done = subprocess.run([*_pip(cache), *argv], capture_output=True, text=True, check=False)
        if done.returncode:
            tail = " / ".join(done.stderr.strip().splitlines()[-3:])
            raise OpsError(
                f"pip cannot fetch the wheels of requirements.lock for Python {python}: {tail}",
                fix="see that the package index is reachable and the lock file fits that Python",
            )
        (folder / "COMPLETE").touch()
    found = sorted(folder.glob("*.whl"))
    return tuple(Wheel(path, digest(path.read_bytes())) for path in found)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def bundle(contents: Iterable[bytes]) -> bytes:
    """Contents as one archive, each under its hash."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for data in contents:
            member = tarfile.TarInfo(digest(data))
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def _committed(root: Path) -> Iterable[File]:
    with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", "--format=tar", "HEAD"))) as archive:
        for member in archive:
            if member.issym():
                yield File(member.name, link=member.linkname)
            elif member.isreg():
                source = archive.extractfile(member)
                assert source is not None
                yield File(member.name, source.read(), bool(member.mode & 0o100))


def _lying(root: Path) -> Iterable[File]:
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split(b"\0")
    for name in sorted({os.fsdecode(one) for one in listed if one}):
        path = root / name
        if path.is_symlink():
            yield File(name, link=str(path.readlink()))
        elif path.is_file():
            yield File(name, path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))


def _check(files: tuple[File, ...]) -> None:
    names = {file.path for file in files}
    if "inv" not in names or "tasks.py" not in names:
        raise OpsError("The release would have no inv or no tasks.py.", fix="commit them, or add --dirty")
    size = sum(len(file.data) for file in files)
    if size > LARGEST:
        raise OpsError(f"The project is {size >> 20} MB large.", fix="leave data out of it (.gitignore)")
    for file in files:
        if file.link is not None and _leads_out(file):
            raise OpsError(f"The link {file.path} leads out of the project.", fix="remove it")


def _leads_out(file: File) -> bool:
    to = os.path.normpath(os.path.join(os.path.dirname(file.path), file.link or ""))  # noqa: PTH118, PTH120
    return to.startswith(("/", ".."))


def _git(root: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments], capture_output=True, check=False
        )
    except FileNotFoundError:
        raise OpsError("git is not installed here.", fix="install git") from None
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise OpsError(f"git {arguments[0]}: {''.join(told)}", fix="deploy from a git checkout with a commit")
    return done.stdout


def _pip(cache: Path) -> list[str]:
    """pip of this environment; one made by uv has none, so it gets one beside the wheels."""
    try:
        import pip  # noqa: F401

        return [sys.executable, "-m", "pip"]
    except ImportError:
        folder = cache / "pip"
        if not (folder / "bin/pip").exists():
            venv.create(folder, with_pip=True)
        return [str(folder / "bin/python"), "-m", "pip"]


def _target(python: str, facts: dict[str, Any]) -> list[str]:
    """pip's words for a host whose Python or platform is another than ours."""
    here = (f"{sys.version_info.major}.{sys.version_info.minor}", sysconfig.get_platform())
    if (python, facts["platform"]) == here:
        return []
    system, _, machine = str(facts["platform"]).partition("-")
    found = re.fullmatch(r"glibc-2\.(\d+)", str(facts["libc"]))
    if system != "linux" or found is None:
        raise OpsError(
            f"A host with {facts['platform']} and {facts['libc']} cannot be served from here.",
            fix="use a host with Linux and glibc, or deploy from a machine like it",
        )
    names = [f"manylinux_2_{minor}_{machine}" for minor in range(int(found[1]), 4, -1)]
    names += [f"{old}_{machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    return [f"--python-version={python}", "--implementation=cp", *(f"--platform={name}" for name in names)]
