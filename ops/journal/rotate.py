"""Keeps logs from growing without end: rotate by size and age, pack with gzip, keep by days and size.

Writers open a file for each batch, so a renamed one is simply not written to any more; only a
service's raw output is held open by the service itself, and is therefore copied and emptied.
What was rotated rests for REST seconds before it is packed: a batch may have been under way.
Once in a while the folders of calls beyond their limits go, too (`past_calls`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ops.findings import Finding, ok, warn
from ops.journal import past_calls
from ops.journal.past_calls import Limits

REST = 5.0
ARCHIVE = "archive"  # the folder below logs/ for what was rotated: `grep … logs/*` sees this run
_GROWING = re.compile(r"(?P<stem>.+)\.(?P<kind>jsonl|out|log)")
_CLOSED = re.compile(r"(?P<stem>.+)-(?P<stamp>\d{8}T\d{6}[\w.-]*?)\.(?P<kind>jsonl|out|log)(?P<packed>\.gz)?")


@dataclass(frozen=True)
class Policy:
    """When a file is rotated, and how long archives are kept: bytes, seconds, days, bytes in all."""

    bytes: int = 64 << 20
    age: float = 24 * 3600.0
    keep_days: float = 14.0
    keep_bytes: int = 2 << 30


@dataclass(frozen=True)
class File:
    """What is known of one file: its bytes, when it was begun (for archives: rotated) and last written."""

    path: Path
    size: int
    begun: datetime
    changed: datetime


@dataclass(frozen=True)
class Step:
    """One thing to do with one file, or with the folder of one call."""

    do: Literal["rename", "copy-and-empty", "pack", "delete", "remove-call"]
    path: Path
    to: Path | None = None
    size: int = 0


def plan(files: Iterable[File], now: datetime, policy: Policy, *, force: bool = False) -> tuple[Step, ...]:
    """The steps that `policy` asks for; `force` rotates whatever is not empty."""
    steps: list[Step] = []
    archives: list[File] = []
    for file in files:
        closed = _CLOSED.fullmatch(file.path.name)
        if closed:
            archives.append(file)
            if not closed["packed"] and (now - file.changed).total_seconds() >= REST:
                steps.append(Step("pack", file.path, file.path.with_name(file.path.name + ".gz"), file.size))
        elif (growing := _GROWING.fullmatch(file.path.name)) and file.size:
            old = (now - file.begun).total_seconds() >= policy.age
            if force or old or file.size >= policy.bytes:
                name = f"{growing['stem']}-{now:%Y%m%dT%H%M%S.%f}.{growing['kind']}"
                how: Literal["rename", "copy-and-empty"] = (
                    "copy-and-empty" if growing["kind"] == "out" else "rename"
                )
                steps.append(Step(how, file.path, file.path.parent / ARCHIVE / name, file.size))
    return (*_deletions(archives, now, policy), *_kept(steps, archives, now, policy))


def _deletions(archives: list[File], now: datetime, policy: Policy) -> list[Step]:
    """Archives that are too old, and the oldest ones that are too much."""
    gone, total = [], 0
    for file in sorted(archives, key=lambda one: one.changed, reverse=True):
        total += file.size
        if (now - file.changed).total_seconds() > policy.keep_days * 86_400 or total > policy.keep_bytes:
            gone.append(Step("delete", file.path, size=file.size))
    return gone


def _kept(steps: list[Step], archives: list[File], now: datetime, policy: Policy) -> list[Step]:
    doomed = {step.path for step in _deletions(archives, now, policy)}
    return [step for step in steps if step.path not in doomed]


def rotate(
    logs: Path,
    *,
    now: datetime,
    policy: Policy = Policy(),
    calls: Limits = Limits(),  # noqa: B008 (frozen)
    force: bool = False,
) -> tuple[Finding, ...]:
    """Look at `logs` and carry out the plan; what could not be done is a warning with its fix."""
    past = past_calls.to_remove(logs, now, calls, force=force)
    steps = plan(observe(logs), now, policy, force=force)
    return carry_out((*steps, *(Step("remove-call", path) for path in past)))


def begin_latest(logs: Path, *, now: datetime) -> tuple[Finding, ...]:
    """The combined log of a new run begins empty; the one before is in the archive."""
    files = [file for file in observe(logs) if file.path.name == "latest.log"]
    return carry_out(plan(files, now, Policy(), force=True))


def carry_out(steps: Iterable[Step]) -> tuple[Finding, ...]:
    """Do what was planned, one finding in all, and one for each step that failed."""
    found: list[Finding] = []
    done: dict[str, int] = {}
    for step in steps:
        try:
            apply(step)
            done[step.do] = done.get(step.do, 0) + 1
        except FileNotFoundError:
            continue  # another process was first
        except OSError as problem:
            found.append(
                warn(
                    "logs.rotate",
                    f"{step.path.name}: {step.do} failed, {problem.strerror or problem}.",
                    fix="make room on the disk and logs/ writable; nothing was lost",
                    path=str(step.path),
                    step=step.do,
                )
            )
    said = ", ".join(f"{count} {name}" for name, count in done.items()) or "nothing to do"
    return (ok("logs.rotated", f"Logs: {said}.", **done), *found)


def observe(logs: Path) -> list[File]:
    """The log files directly below `logs`, and the archives."""
    found = []
    for path in sorted((*logs.glob("*"), *(logs / ARCHIVE).glob("*"))):
        if path.is_symlink() or not (_CLOSED.fullmatch(path.name) or _GROWING.fullmatch(path.name)):
            continue
        try:
            stat = path.stat()
        except OSError:
            continue
        changed = datetime.fromtimestamp(stat.st_mtime, UTC)
        found.append(File(path, stat.st_size, _begun(path) or changed, changed))
    return found


def _begun(path: Path) -> datetime | None:
    """The time of the first line."""
    from ops.journal.parse import when

    if path.suffix == ".gz":
        return None
    try:
        with path.open("rb") as file:
            return when(file.readline(4096))
    except OSError:
        return None


def apply(step: Step) -> None:
    """Carry out one step; raises OSError, and then what was there is still there."""
    if step.do == "delete":
        step.path.unlink()
        return
    if step.do == "remove-call":
        from shutil import rmtree

        rmtree(step.path)
        return
    if step.to is None:
        raise ValueError(f"{step.do} needs a target")
    step.to.parent.mkdir(mode=0o700, exist_ok=True)
    if step.do == "rename":
        step.path.rename(step.to)
    elif step.do == "copy-and-empty":
        _copy(step.path, step.to, packed=False)
        os.truncate(step.path, 0)
    else:
        before = step.path.stat()
        _copy(step.path, step.to, packed=True)
        os.utime(step.to, (before.st_atime, before.st_mtime))
        if step.path.stat().st_size == before.st_size:
            step.path.unlink()
        else:
            step.to.unlink()  # still written to: another time


def _copy(source: Path, target: Path, *, packed: bool) -> None:
    """A whole copy under its name, or none: written beside it (0600) and renamed when on the disk."""
    import gzip
    import shutil

    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with source.open("rb") as file, beside.open("xb") as out:
            os.fchmod(out.fileno(), 0o600)
            if packed:
                with gzip.GzipFile(source.name, "wb", 6, out, mtime=0) as packer:
                    shutil.copyfileobj(file, packer, 1 << 20)
            else:
                shutil.copyfileobj(file, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())
        beside.rename(target)
    finally:
        beside.unlink(missing_ok=True)
