"""This machine: its clock, descriptors, disk and Python."""

from __future__ import annotations

import re
import resource
import shutil
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path

from ops.errors import OpsError
from ops.findings import Check, Finding, Knowledge, fail, ok, skip, unknown, warn
from ops.net.http import Http
from ops.world import World

SKEW = 5.0  # seconds; Twilio and TLS bear more, but logs of two machines no longer join
DESCRIPTORS_PER_CALL = 3  # phone socket, model socket, recording
DESCRIPTORS_OF_OURS = 64
PYTHON = (3, 11)
DISK_LOW, DISK_FULL = 1024**3, 64 * 1024**2


def clock(world: World) -> Finding:
    """Compares our clock with the Date header of the vendors' answers; half a round trip is allowed for."""
    settings = world.settings
    bases = (
        ("twilio", "TWILIO_API_URL", settings.twilio_api_url),
        ("openai", "OPENAI_BASE_URL", settings.openai_base_url),
    )
    others = [
        base
        for vendor, variable, base in bases
        if world.mode(vendor) == "LIVE" or (variable in settings.sources and world.stand_in(base) is None)
    ]
    silent = []
    for base in dict.fromkeys(others):
        try:
            with Http(base, timeout=2.0) as http:
                answer = http.get("/")
            theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
        except OpsError as problem:
            silent.append(problem.message)
        except (KeyError, ValueError):
            continue  # it does not tell the time
        else:
            return judge_clock(time.time() - answer.seconds / 2 - theirs, base)
    if silent:
        return unknown("env.clock", f"Nobody could be asked for the time: {' '.join(silent)}")
    return skip("env.clock", "Only this machine's own simulators could be asked for the time.")


def judge_clock(ahead: float, asked: str) -> Finding:
    """`ahead`: seconds by which our clock is ahead of theirs, which counts whole seconds."""
    evidence = {"asked": asked, "ahead_seconds": round(ahead, 1)}
    if abs(ahead) > SKEW + 1:
        word = "ahead" if ahead > 0 else "behind"
        return warn(
            "env.clock",
            f"This machine's clock is {abs(ahead):.0f} s {word}.",
            fix="switch time synchronisation on: `timedatectl set-ntp true`",
            **evidence,
        )
    return ok("env.clock", "This machine's clock is right.", **evidence)


def descriptors(world: World) -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return judge_descriptors(soft, hard, world.settings.max_live_calls)


def judge_descriptors(soft: int, hard: int, calls: int) -> Finding:
    """Whether `calls` calls at once fit into the limit of open files."""
    needed = calls * DESCRIPTORS_PER_CALL + DESCRIPTORS_OF_OURS
    evidence = {"limit": soft, "hard_limit": hard, "needed": needed, "calls": calls}
    fitting = max(1, (hard - DESCRIPTORS_OF_OURS) // DESCRIPTORS_PER_CALL)
    ceiling = hard if hard != resource.RLIM_INFINITY else sys.maxsize
    if needed > ceiling:
        return warn(
            "env.descriptors",
            f"{calls} calls at once need {needed} open files; this machine allows {hard}.",
            fix=f"raise the limit (LimitNOFILE or /etc/security/limits.conf), or set MAX_LIVE_CALLS to "
            f"{fitting}",
            **evidence,
        )
    return ok("env.descriptors", f"{calls} calls at once fit into the limit of open files.", **evidence)


def disk(world: World) -> Finding:
    logs = world.settings.logs
    free = shutil.disk_usage(logs if logs.exists() else world.settings.root).free
    return judge_disk(free, str(logs))


def judge_disk(free: int, where: str) -> Finding:
    """Whether there is room for logs and recordings; `free` in bytes."""
    evidence = {"folder": where, "free_bytes": free}
    shown = f"{free / 1024**3:.1f} GiB"
    if free < DISK_FULL:
        return fail(
            "env.disk",
            f"The disk of {where} is full ({shown} free).",
            fix="free space: `inv logs --rotate`",
            **evidence,
        )
    if free < DISK_LOW:
        return warn(
            "env.disk", f"Only {shown} are free for logs.", fix="free space: `inv logs --rotate`", **evidence
        )
    return ok("env.disk", f"{shown} are free for logs.", **evidence)


def python(world: World) -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    wanted = ".".join(str(part) for part in PYTHON)
    if sys.version_info < PYTHON:
        return fail(
            "env.python",
            f"Python {found} runs; {wanted} or later is needed.",
            fix=f"install Python {wanted} or later, then `./inv`",
        )
    return ok("env.python", f"Python {found} runs.", executable=sys.executable)


def packages(world: World) -> Finding:
    project = Path(__file__).parents[2] / "pyproject.toml"
    try:
        wanted = tomllib.loads(project.read_text("utf-8"))["project"]["dependencies"]
    except (OSError, ValueError, KeyError):
        return skip("env.packages", "There is no pyproject.toml that says what is needed.")
    installed = {}
    for one in wanted:
        name = _requirement(one)[0]
        with suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return judge_packages(wanted, installed)


def judge_packages(wanted: Iterable[str], installed: Mapping[str, str]) -> Finding:
    """Compares requirements such as `invoke>=2.2.1,<3` with the installed versions by name."""
    odd = []
    for one in wanted:
        name, low, high = _requirement(one)
        found = installed.get(name)
        if found is None:
            odd.append(f"{name} is missing")
        elif not (_version(low) <= _version(found) and (not high or _version(found) < _version(high))):
            odd.append(f"{name} {found} is installed, {one} is needed")
    if odd:
        return fail(
            "env.packages",
            f"{'; '.join(odd)}.",
            fix="set the environment up again: remove .venv and run ./inv",
            odd=odd,
        )
    return ok("env.packages", f"{len(installed)} packages have the versions that are needed.")


def _requirement(text: str) -> tuple[str, str, str]:
    """Name, lowest version and first version too high (empty: none)."""
    found = re.fullmatch(r"([A-Za-z0-9_.-]+?)(?:>=([\d.]+))?(?:,?<([\d.]+))?", text)
    return (found[1], found[2] or "0", found[3] or "") if found else (text, "0", "")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:4])


CHECKS: tuple[Check[World], ...] = (
    Check(
        "env.python",
        "Is this Python new enough?",
        python,
        about=Knowledge(
            symptom="Syntax errors, or a missing module at the first command.",
            evidence="The version and path of the Python that runs.",
            cause="An old Python, or another environment than the project's.",
            fix="Use ./inv, which makes the right environment.",
            verify="The running version is 3.11 or later.",
            source="pyproject.toml",
        ),
    ),
    Check(
        "env.packages",
        "Have the packages the versions that are needed?",
        packages,
        about=Knowledge(
            symptom="The first call after an upgrade dies with a TypeError or an ImportError.",
            evidence="Each package with its installed version beside the range that is needed.",
            cause="A package was upgraded or removed by hand; Fabric 3.2.3, for one, refuses Invoke 3.",
            fix="Set the environment up again: remove .venv and run ./inv.",
            verify="Each installed version is within its range in pyproject.toml.",
            source="pyproject.toml",
        ),
    ),
    Check(
        "env.clock",
        "Is this machine's clock right?",
        clock,
        about=Knowledge(
            symptom="Certificates are 'not yet valid', log lines of two machines do not join.",
            evidence="The Date header of a vendor's answer beside our clock, half a round trip allowed for.",
            cause="The clock runs ahead or behind: no time synchronisation, or a machine that slept.",
            fix="Switch time synchronisation on.",
            verify="A vendor's Date header is within five seconds of our time.",
            source="https://man7.org/linux/man-pages/man1/timedatectl.1.html",
            vantage="vendor",
        ),
    ),
    Check(
        "env.descriptors",
        "Do the wanted calls fit into the limit of open files?",
        descriptors,
        about=Knowledge(
            symptom="Under load new calls fail with 'too many open files'.",
            evidence="The soft and hard limit of open files beside three for each of MAX_LIVE_CALLS.",
            cause="Each call needs three descriptors, and the limit is lower than MAX_LIVE_CALLS asks for.",
            fix="Raise the limit, or lower MAX_LIVE_CALLS.",
            verify="The hard limit is above three times MAX_LIVE_CALLS.",
            source="https://man7.org/linux/man-pages/man2/getrlimit.2.html",
        ),
    ),
    Check(
        "env.disk",
        "Is there room for logs?",
        disk,
        about=Knowledge(
            symptom="Logs end in the middle of a line; recordings are missing.",
            evidence="The bytes free where logs are written.",
            cause="The disk is full.",
            fix="Free space: `inv logs --rotate`.",
            verify="At least 1 GiB is free.",
            source="README.md",
        ),
    ),
)
