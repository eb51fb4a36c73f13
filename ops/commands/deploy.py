"""`inv -H a,b deploy`, `rollback`, `releases`: run here, and drive the hosts step by step."""

from __future__ import annotations

import getpass
import secrets
import shlex
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ops.config import Settings
from ops.errors import Fault, OpsError, SettingsError
from ops.findings import Finding, Report, ok, warn
from ops.remote import build, deliver, front, outcome, proxy
from ops.remote.abreast import Crew, together
from ops.remote.apply import Link
from ops.remote.deliver import Cargo, Delivery, Order, Way
from ops.remote.front import Front
from ops.remote.hosts import Host, choose, read
from ops.report import Printer

Work = Callable[[Link, threading.Event], dict[str, Any]]
OLDEST = (3, 11)  # Python on a host


@dataclass(frozen=True)
class DeployOptions:
    """How to ship; as typed, so that it can be typed again."""

    dirty: bool = False
    dry_run: bool = False
    again: bool = False
    take_lock: bool = False
    keep: int = 5
    wave: int = 0
    reason: str = ""

    def words(self) -> tuple[str, ...]:
        flags = {"dirty": self.dirty, "again": self.again, "take-lock": self.take_lock}
        told = [f"--{name}" for name, given in flags.items() if given]
        told += [f"--keep={self.keep}"] if self.keep != 5 else []
        told += [f"--wave={self.wave}"] if self.wave else []
        return ("deploy", *told, *([f"--reason={self.reason}"] if self.reason else []))


def deploy(settings: Settings, printer: Printer, hosts: str, options: DeployOptions) -> Report:
    """Ship this project: the first host alone, then the others; the first failure stops the rest."""
    chosen = _chosen(settings, hosts, "deploy")
    fronts = _fronts(settings, chosen)
    order = _order(settings, options.reason or "deploy", options.take_lock, options.keep)
    words = (*options.words(), *(["--dry-run"] if options.dry_run else []))
    with _alone(settings), Crew(chosen) as crew:
        try:
            printer.progress("asking the hosts what they have")
            asked = _asked(crew, printer)
            if any(one.result.state != "ok" for one in asked):
                return _report(settings, "deploy", asked, words)
            project = build.project(settings.root, dirty=options.dirty)
            salt = secrets.token_hex(8) if options.again else ""
            loads = {one.host.name: _load(settings, project, one, salt, printer) for one in asked}
            if options.dry_run:
                ways = _ways(crew, asked, fronts, order)

                def planned_on(link: Link, _: threading.Event) -> dict[str, Any]:
                    return deliver.plan(link, loads[link.host.name], order, ways.get(link.host.name))

                planned = _all(crew, chosen, planned_on, printer)
                report = _report(settings, "deploy", planned, words)
                return report.plus(
                    *(_planned(one) for one in planned if one.found),
                    *_left(project),
                    *_without_slots(asked, fronts),
                )
        except Interrupted as stop:
            return replace(_report(settings, "deploy", stop.done, words), interrupted=True)
        ways = _ways(crew, asked, fronts, order)
        shipped, interrupted = _shipped(crew, loads, order, ways, options.wave, printer)
    report = replace(_report(settings, "deploy", shipped, words), interrupted=interrupted)
    return report.plus(*_left(project), *_open_files(settings, chosen), *_without_slots(asked, fronts))


def _shipped(
    crew: Crew, loads: dict[str, Cargo], order: Order, ways: dict[str, Way], size: int, printer: Printer
) -> tuple[tuple[Delivery, ...], bool]:
    """Wave after wave, up to the first in which a host failed; and whether Ctrl-C ended it."""

    def ship(link: Link, stopped: threading.Event) -> dict[str, Any]:
        def tell(name: str, told: str) -> None:
            printer.progress(f"{name} │ {told}")

        name = link.host.name
        return deliver.ship(link, stopped, loads[name], order, tell, ways.get(name))

    shipped: tuple[Delivery, ...] = ()
    interrupted = False
    for wave in _waves(crew.hosts, size):
        if interrupted or any(one.result.state != "ok" for one in shipped):
            shipped += tuple(Delivery.of(crew, host, ship) for host in wave)
            continue
        try:
            shipped += _all(crew, wave, ship, printer)
        except Interrupted as stop:
            shipped, interrupted = shipped + stop.done, True
    return shipped, interrupted


def rollback(
    settings: Settings, printer: Printer, hosts: str, *, to: str, take_lock: bool, dry_run: bool
) -> Report:
    """Put the release before in force again, on all hosts at once; the one in force is marked bad."""
    chosen = _chosen(settings, hosts, "rollback")
    order = _order(settings, "rollback", take_lock, 0)

    fronts = _fronts(settings, chosen)
    words = ("rollback", *([f"--to={to}"] if to else []), *(["--dry-run"] if dry_run else []))
    with _alone(settings), Crew(chosen) as crew:
        try:
            asked = _asked(crew, printer)
            if any(one.result.state != "ok" for one in asked):
                return _report(settings, "rollback", asked, words)
            ways = _ways(crew, asked, fronts, order)

            def work(link: Link, stopped: threading.Event) -> dict[str, Any]:
                way = ways.get(link.host.name)
                return deliver.go_back(link, stopped, order, to=to or None, dry=dry_run, way=way)

            return _report(settings, "rollback", _all(crew, chosen, work, printer), words)
        except Interrupted as stop:
            return replace(_report(settings, "rollback", stop.done, words), interrupted=True)


def releases(settings: Settings, printer: Printer, hosts: str) -> Report:
    """What lies on the hosts, which of it is in force, and which is bad."""
    chosen = _chosen(settings, hosts, "releases")
    with Crew(chosen) as crew:
        try:
            done = _all(crew, chosen, lambda link, _: deliver.ask(link, {"do": "releases"}), printer)
        except Interrupted:
            raise KeyboardInterrupt from None
    if not printer.json:
        for one in done:
            for row in one.found.get("releases", ()):
                told = f"{row['id']}  {row['state']:<8} {row['made']}  {row['label']}  {row['reason']}"
                printer.line(f"{one.host.name} │ {told.rstrip()}")
    return _report(settings, "releases", done, ("releases",))


def _chosen(settings: Settings, text: str, task: str) -> tuple[Host, ...]:
    if not text:
        fault = Fault("hosts", f"{task} needs to know on which hosts.", f"inv -H web1,web2 {task}", "-H")
        raise SettingsError((fault,), settings.vendors)
    hosts, faults = choose(text, settings.table)
    if faults:
        raise SettingsError(faults, settings.vendors)
    return hosts


def _order(settings: Settings, reason: str, take: bool, keep: int) -> Order:
    """Who we are to the hosts: a lock from this folder of this machine is ours, of a run that has died."""
    try:
        machine = Path("/etc/machine-id").read_text("utf-8")
    except OSError:
        machine = socket.gethostname()
    place = build.digest(f"{machine} {settings.root.resolve()}".encode())[:16]
    return Order(f"{getpass.getuser()}@{socket.gethostname()}", place, reason, take, max(1, keep))


def _alone(settings: Settings) -> Any:
    """One deploy of this folder at a time."""
    from filelock import FileLock, Timeout

    settings.run_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.run_dir / "deploy.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        raise OpsError("Another deploy of this project is at work here.", fix="wait for it") from None


def _all(crew: Crew, hosts: Sequence[Host], work: Work, printer: Printer) -> tuple[Delivery, ...]:
    """One piece of work on these hosts at once. Raises Interrupted with what came of it after Ctrl-C."""
    deliveries = tuple(Delivery.of(crew, host, work) for host in hosts)
    try:
        together(deliveries, lambda name: printer.progress("finishing the step at hand, then stopping"))
    except KeyboardInterrupt:
        raise Interrupted(deliveries) from None
    return deliveries


class Interrupted(Exception):
    """Ctrl-C: the hosts have finished their step, or not begun."""

    def __init__(self, done: tuple[Delivery, ...]) -> None:
        super().__init__()
        self.done = done


def _asked(crew: Crew, printer: Printer) -> tuple[Delivery, ...]:
    """Each host's facts; one whose Python is too old has failed before anything is touched."""

    def ask(link: Link, _: threading.Event) -> dict[str, Any]:
        facts = deliver.ask(link, {"do": "facts"})
        if tuple(int(part) for part in str(facts["python"]).split(".")[:2]) < OLDEST:
            raise OpsError(
                f"Its Python is {facts['python']}, expected 3.11 or later.", fix="install a later one"
            )
        return facts

    return _all(crew, crew.hosts, ask, printer)


def _load(settings: Settings, project: build.Project, asked: Delivery, salt: str, printer: Printer) -> Cargo:
    facts = asked.found
    if project.lock is not None:
        printer.progress(f"{asked.host.name} │ wheels for Python {facts['python']} on {facts['platform']}")
    wheels = build.wheels(project.lock, facts, settings.root / "dist/wheels")
    return deliver.cargo(project, wheels, _environment(settings, asked.host), salt=salt)


def _environment(settings: Settings, host: Host) -> str | None:
    if host.env_file is None:
        return None
    path = settings.root / host.env_file
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        fault = Fault(
            "hosts", f"{host.env_file} of {host.name} cannot be read.", "correct env_file", "ops.toml"
        )
        raise SettingsError((fault,), settings.vendors) from None


def _open_files(settings: Settings, hosts: tuple[Host, ...]) -> tuple[Finding, ...]:
    """Environment files here that others can read; on the host they are for their owner alone."""
    names = sorted({host.env_file for host in hosts if host.env_file is not None})
    return tuple(
        warn("deploy.env-file", f"{name} can be read by others on this machine.", fix=f"chmod 600 {name}")
        for name in names
        if (settings.root / name).stat().st_mode & 0o077
    )


def _waves(hosts: tuple[Host, ...], size: int) -> list[tuple[Host, ...]]:
    """One host first; then all others, or `size` at a time."""
    rest = hosts[1:]
    step = size if size > 0 else max(1, len(rest))
    return [hosts[:1], *(rest[i : i + step] for i in range(0, len(rest), step))]


def _report(settings: Settings, task: str, done: Sequence[Delivery], words: tuple[str, ...]) -> Report:
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


def _told(one: Delivery) -> str:
    found, seconds = one.found, one.result.seconds
    if "releases" in found:
        now = next((row["id"] for row in found["releases"] if row["state"] == "current"), "none")
        return f"{one.host.name}: {len(found['releases'])} releases, {now} in force."
    if found.get("from") == found.get("to") and found.get("to"):
        return f"{one.host.name}: {found['to']} is in force already; {seconds:.1f} s."
    return f"{one.host.name}: {found.get('from') or 'nothing'} → {found.get('to')}; {seconds:.1f} s."


def _planned(one: Delivery) -> Finding:
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


def _left(project: build.Project) -> tuple[Finding, ...]:
    if not project.left_out:
        return ()
    told = f"{project.left_out} uncommitted changes are not part of {project.label}."
    return (warn("deploy.uncommitted", told, fix="commit them, or add --dirty"),)


def _fronts(settings: Settings, chosen: Sequence[Host]) -> dict[str, Front]:
    """What stands before each host, by [proxy] and the roles in ops.toml; empty without a proxy."""
    found, faults = proxy.read(settings.table)
    if faults:
        raise SettingsError(faults, settings.vendors)
    inventory, _ = read(settings.table)
    fronts = {host.name: front.before(host, found, inventory) for host in chosen if host.role != "proxy"}
    return {name: one for name, one in fronts.items() if one is not None}


def _ways(crew: Crew, asked: Sequence[Delivery], fronts: dict[str, Front], order: Order) -> dict[str, Way]:
    """How calls come to each host that can have slots. Hosts of one wave tell a proxy one after the other."""
    lock = threading.Lock()

    def direct(front: Front, slot: str) -> None:
        with lock:
            for host in front.proxies:
                deliver.direct(crew.link(host), front, slot, order)

    able = [one.host.name for one in asked if not one.found.get("obstacle")]
    return {name: Way(fronts[name], direct) for name in able if name in fronts}


def _without_slots(asked: Sequence[Delivery], fronts: dict[str, Front]) -> tuple[Finding, ...]:
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
