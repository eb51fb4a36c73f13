"""Mends what is safe to mend: each fix is shown before, applied, and looked at again afterwards.

Only `webhook` changes something outside this machine; it remembers the old value, and
`restore_webhook` puts it back.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ops import values
from ops.config import Settings, variables
from ops.config.sources import ENV_FILES
from ops.doctor import environment, routing, security
from ops.errors import OpsError
from ops.findings import Finding, fail, ok
from ops.processes import observe
from ops.processes.run_files import RunFiles
from ops.values import Repaired
from ops.vendors.twilio.client import Number, Twilio

Show = Callable[[str], None]  # gets one sentence before anything is changed
BEFORE = "webhook-before.json"


@dataclass(frozen=True)
class Fix:
    """One change: what will be done, doing it, and whether it holds (a reason when it does not)."""

    id: str
    sentence: str
    apply: Callable[[], None]
    holds: Callable[[], str]


def mend_files(root: Path, *, show: Show) -> tuple[Finding, ...]:
    """Mends the project's files: works without settings, so also when they are unusable."""
    return _carry_out([*_env_file(root), *_modes(root), *_plus(root), *_stale(root)], show)


def mend_webhook(settings: Settings, *, show: Show) -> tuple[Finding, ...]:
    """Points the agent's number at this stack if it does not already."""
    try:
        with Twilio.of(settings) as twilio:
            number = _own_number(settings, twilio)
            if number is None or number.application_sid or number.trunk_sid:
                return ()  # its voice URL is not what routes its calls
            wanted = routing.here(settings, number)
    except OpsError as problem:
        return (fail("fix.webhook", f"Not mended: {problem.message}", fix=problem.fix),)
    if number.voice_url == wanted and number.voice_method in ("POST", ""):
        return ()
    fix = Fix(
        "fix.webhook",
        f"point {number.phone_number} at {wanted} (now: {number.voice_url or 'nowhere'})",
        lambda: _update_webhook(settings, number, wanted),
        lambda: _webhook_differs(settings, wanted),
    )
    return _carry_out([fix], show)


def restore_webhook(settings: Settings, *, show: Show) -> tuple[Finding, ...]:
    """Gives the number the voice URL back that it had before `mend_webhook`."""
    path = settings.run_dir / BEFORE
    try:
        before = json.loads(path.read_text("utf-8"))
        sid, url, method = str(before["sid"]), str(before["voice_url"]), str(before["voice_method"])
    except (OSError, ValueError, KeyError, TypeError):
        fix = "nothing to do: no webhook was changed from here"
        return (fail("fix.webhook-restore", f"{path} remembers no earlier voice URL.", fix=fix),)

    def put_back() -> None:
        with Twilio.of(settings) as twilio:
            twilio.update_number(sid, voice_url=url, voice_method=method or "POST")

    def holds() -> str:
        if reason := _webhook_differs(settings, url):
            return reason
        path.unlink()  # only now: what was not given back is still remembered
        return ""

    return _carry_out(
        [Fix("fix.webhook-restore", f"give the number its voice URL {url} back", put_back, holds)], show
    )


def _carry_out(fixes: Iterable[Fix], show: Show) -> tuple[Finding, ...]:
    findings = []
    for fix in fixes:
        show(fix.sentence)
        try:
            fix.apply()
            reason = fix.holds()
        except (OpsError, OSError) as problem:
            reason = str(problem)
        if reason:
            findings.append(fail(fix.id, f"Tried to {fix.sentence}: {reason}", fix="do it by hand"))
        else:
            findings.append(ok(fix.id, f"Mended: {fix.sentence}."))
    return tuple(findings)


def _env_file(root: Path) -> list[Fix]:
    env = root / ".env"
    near = (root / name for name in (*environment.MISNAMED, ".env.example"))
    example = next((one for one in near if one.is_file()), None)
    if env.exists() or env.is_symlink() or example is None:
        return []

    def make() -> None:
        handle = os.open(env, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(example.read_bytes())

    def holds() -> str:
        return "" if env.is_file() and _mode(env) == 0o600 else ".env is not there with mode 0600"

    return [Fix("fix.env-file", f"make .env from {example.name}, with mode 0600", make, holds)]


def _stale(root: Path) -> list[Fix]:
    """The run state of a stack of which nothing lives any more."""
    files = RunFiles(root)
    left = [path for path in (files.stack_path, files.wanted_path) if path.is_file()]
    if not left:
        return []
    found = observe.look(files)
    if found.supervisor is not None or found.members:
        return []

    def remove() -> None:
        for path in left:
            path.unlink(missing_ok=True)

    names = " and ".join(path.name for path in left)
    return [
        Fix(
            "fix.stale-state",
            f"remove {names}, left by a stack of which nothing lives",
            remove,
            lambda: "it is still there" if any(path.exists() for path in left) else "",
        )
    ]


def _modes(root: Path) -> list[Fix]:
    files = [root / name for name in ENV_FILES if (root / name).is_file() and not (root / name).is_symlink()]
    loose = [path for path in files if _mode(path) & 0o077] + security.loose_files(root / "logs" / "run")

    def tighten(path: Path) -> Callable[[], None]:
        return lambda: path.chmod(0o600)

    def holds(path: Path) -> Callable[[], str]:
        return lambda: "" if _mode(path) == 0o600 else f"its mode is {_mode(path):04o}"

    return [
        Fix(
            "fix.permissions",
            f"let only you read {path.relative_to(root)} (mode {_mode(path):04o} to 0600)",
            tighten(path),
            holds(path),
        )
        for path in loose
    ]


def _plus(root: Path) -> list[Fix]:
    """A number without its + gets it in the file, so that other readers of the file see it too."""
    names = [name for name, variable in variables().items() if variable.parse is values.phone_number]
    fixes = []
    for file in ENV_FILES:
        path = root / file
        if not path.is_file() or path.is_symlink():
            continue
        for name in names:
            found = _number_line(path, name)
            if found:
                fixes.append(_write_number(path, file, name, *found))
    return fixes


def _number_line(path: Path, name: str) -> tuple[str, str] | None:
    """The value as written and as it should be; None when there is nothing to mend."""
    pattern = rf"^\s*(?:export\s+)?{name}\s*=\s*(['\"]?)([^'\"#\n]+?)\1\s*$"
    found = re.search(pattern, path.read_text("utf-8", "replace"), re.MULTILINE)
    if not found:
        return None
    try:
        value = values.phone_number(found[2])
    except ValueError:
        return None
    return (found[2], str(value.value)) if isinstance(value, Repaired) else None


def _write_number(path: Path, file: str, name: str, was: str, wanted: str) -> Fix:
    def write() -> None:
        text = path.read_bytes().decode("utf-8")
        pattern = rf"(^\s*(?:export\s+)?{name}\s*=\s*['\"]?){re.escape(was)}"
        _replace(path, re.sub(pattern, rf"\g<1>{wanted}", text, count=1, flags=re.MULTILINE))

    def holds() -> str:
        return "" if _number_line(path, name) is None else "it is still as it was"

    return Fix("fix.number", f"write {name}={wanted} in {file} (now: {was})", write, holds)


def _update_webhook(settings: Settings, number: Number, wanted: str) -> None:
    before = {
        "sid": number.sid,
        "phone_number": number.phone_number,
        "voice_url": number.voice_url,
        "voice_method": number.voice_method,
        "changed": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = settings.run_dir / BEFORE
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():  # the first old value is the one worth keeping
        _replace(path, json.dumps(before, indent=1) + "\n")
    with Twilio.of(settings) as twilio:
        twilio.update_number(number.sid, voice_url=wanted)


def _webhook_differs(settings: Settings, wanted: str) -> str:
    with Twilio.of(settings) as twilio:
        number = _own_number(settings, twilio)
    if number is None:
        return "the number is not in the account any more"
    return "" if number.voice_url == wanted else f"it still points at {number.voice_url}"


def _own_number(settings: Settings, twilio: Twilio) -> Number | None:
    wanted = settings.twilio_phone_number
    return next((one for one in twilio.numbers() if one.phone_number == wanted), None)


def _replace(path: Path, text: str) -> None:
    """Writes a private file whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
