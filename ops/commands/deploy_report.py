"""What a deploy, a rollback or their plan tells at its end: the hosts, and what was left out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from ops.config import Settings
from ops.findings import Finding, Report, ok, warn
from ops.remote import build, outcome
from ops.remote.deliver import Delivery
from ops.remote.front import Front
from ops.remote.hosts import Host
from ops.remote.outcome import HostResult


def report(settings: Settings, task: str, done: Sequence[Delivery], words: tuple[str, ...]) -> Report:
    results = [one.result for one in done]
    retry = outcome.retry_command(results, [words])
    data = outcome.data(results, retry)
    for one in done:
        data["hosts"][one.host.name] |= one.found
    findings = tuple(
        ok(found.id, _told(one), **found.evidence) if one.result.state == "ok" else found
        for one, found in zip(done, outcome.findings(results, retry), strict=True)
    )
    return Report(task, settings.vendors, findings, data)


def untouched(asked: Sequence[Delivery]) -> tuple[Delivery, ...]:
    """Hosts that were only asked: an answer is no success."""
    return tuple(
        replace(one, result=HostResult(one.host.name, "skipped", reason="not begun"), found={})
        if one.result.state == "ok"
        else one
        for one in asked
    )


def not_begun(
    settings: Settings,
    task: str,
    asked: Sequence[Delivery],
    proxies: Sequence[Delivery],
    words: tuple[str, ...],
) -> Report:
    """Not every host has answered: those that did are untouched as well, and to be named again."""
    done = untouched(asked)
    found = report(settings, task, done, words)
    mute = [one.result for one in proxies if one.result.state != "ok"]
    return found.plus(*outcome.findings(mute, outcome.retry_command([one.result for one in done], [words])))


def _told(one: Delivery) -> str:
    found, seconds = one.found, one.result.seconds
    if "releases" in found:
        now = next((row["id"] for row in found["releases"] if row["state"] == "current"), "none")
        return f"{one.host.name}: {len(found['releases'])} releases, {now} in force."
    if found.get("from") == found.get("to") and found.get("to"):
        return f"{one.host.name}: {found['to']} is in force already; {seconds:.1f} s."
    return f"{one.host.name}: {found.get('from') or 'nothing'} → {found.get('to')}; {seconds:.1f} s."


def planned(one: Delivery) -> Finding:
    found = one.found
    megabytes = found["bytes_to_send"] / 1e6
    told = (
        f"would send {found['files_to_send']} files ({megabytes:.1f} MB), install releases/{found['to']}"
        f" below {found['base']}, switch current to it, and keep {found['keep']} releases"
    )
    if found.get("slot"):
        drains = ", ".join(found["drains"]) or "none"
        told += (
            f"; {'start' if found['starts'] else 'keep'} slot {found['slot']}, prove it with validate --deep,"
            f" lead new calls to it on {', '.join(found['proxies'])}, and drain: {drains}"
        )
    return ok(f"plan.{one.host.name}", f"{one.host.name}: {told}.", **found)


def left(project: build.Project) -> tuple[Finding, ...]:
    if not project.left_out:
        return ()
    told = f"{project.left_out} uncommitted changes are not part of {project.label}."
    return (warn("deploy.uncommitted", told, fix="commit them, or add --dirty"),)


def open_files(settings: Settings, hosts: tuple[Host, ...]) -> tuple[Finding, ...]:
    """Environment files here that others can read; on the host they are for their owner alone."""
    names = sorted({host.env_file for host in hosts if host.env_file is not None})
    return tuple(
        warn("deploy.env-file", f"{name} can be read by others on this machine.", fix=f"chmod 600 {name}")
        for name in names
        if (settings.root / name).stat().st_mode & 0o077
    )


def without_slots(asked: Sequence[Delivery], fronts: dict[str, Front]) -> tuple[Finding, ...]:
    """The hosts where a release runs under our own supervisor, and why no units and slots were set up."""
    left = {
        one.host.name: one.found.get("obstacle") or "ops.toml has no [proxy] to lead calls to slots"
        for one in asked
        if one.host.name not in fronts or one.found.get("obstacle")
    }
    if not left:
        return ()
    reasons = "; ".join(f"{name}: {why}" for name, why in left.items())
    told = f"No systemd units and slots were set up ({reasons}): the release runs under our own supervisor."
    fix = shlex.join(["inv", "-H", ",".join(left), "start"]) + " puts it to work"
    return (warn("deploy.units", told, fix=fix, reasons=left),)
