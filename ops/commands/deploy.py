"""`inv -H a,b deploy`, `rollback`, `releases`: run here, and drive the hosts step by step."""

from __future__ import annotations

import getpass
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ops.commands import deploy_report
from ops.config import Settings
from ops.errors import Fault, OpsError, SettingsError
from ops.findings import Report
from ops.remote import build, deliver, front, proxy
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
            asked, proxies = _asked(crew, fronts, printer)
            if any(one.result.state != "ok" for one in (*asked, *proxies)):
                return deploy_report.not_begun(settings, "deploy", asked, proxies, words)
            project = build.project(settings.root, dirty=options.dirty)
            salt = secrets.token_hex(8) if options.again else ""
            wheels = _wheels(settings, project, asked, printer)
            envs = {host.name: _environment(settings, host) for host in chosen}
            loads = {name: deliver.cargo(project, wheels[name], env, salt=salt) for name, env in envs.items()}
            if options.dry_run:
                ways = _ways(crew, asked, fronts, order)

                def planned_on(link: Link, _: threading.Event) -> dict[str, Any]:
                    return deliver.plan(link, loads[link.host.name], order, ways.get(link.host.name))

                planned = _all(crew, chosen, planned_on, printer)
                report = deploy_report.report(settings, "deploy", planned, words)
                return report.plus(
                    *(deploy_report.planned(one) for one in planned if one.found),
                    *deploy_report.left(project),
                    *deploy_report.without_slots(asked, fronts),
                )
        except Interrupted as stop:
            return replace(deploy_report.report(settings, "deploy", stop.done, words), interrupted=True)
        ways = _ways(crew, asked, fronts, order)
        shipped, interrupted = _shipped(crew, loads, order, ways, options.wave, printer)
    report = replace(deploy_report.report(settings, "deploy", shipped, words), interrupted=interrupted)
    return report.plus(
        *deploy_report.left(project),
        *deploy_report.open_files(settings, chosen),
        *deploy_report.without_slots(asked, fronts),
    )


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
            asked, proxies = _asked(crew, fronts, printer)
            if any(one.result.state != "ok" for one in (*asked, *proxies)):
                return deploy_report.not_begun(settings, "rollback", asked, proxies, words)
            ways = _ways(crew, asked, fronts, order)

            def work(link: Link, stopped: threading.Event) -> dict[str, Any]:
                way = ways.get(link.host.name)
                return deliver.go_back(link, stopped, order, to=to or None, dry=dry_run, way=way)

            return deploy_report.report(settings, "rollback", _all(crew, chosen, work, printer), words)
        except Interrupted as stop:
            return replace(deploy_report.report(settings, "rollback", stop.done, words), interrupted=True)


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
    return deploy_report.report(settings, "releases", done, ("releases",))


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


def _asked(
    crew: Crew, fronts: dict[str, Front], printer: Printer
) -> tuple[tuple[Delivery, ...], tuple[Delivery, ...]]:
    """Each host's facts, and that the proxies before them answer: who cannot serve has failed before anything
    is touched."""
    before = {host.name: host for one in fronts.values() for host in one.proxies}
    proxies = tuple(host for name, host in before.items() if all(name != one.name for one in crew.hosts))

    def ask(link: Link, _: threading.Event) -> dict[str, Any]:
        facts = deliver.ask(link, {"do": "facts"})
        if problem := unfit(link.host, facts, slots=link.host.name in fronts):
            raise problem
        return facts

    try:
        done = _all(crew, (*crew.hosts, *proxies), ask, printer)
    except Interrupted as stop:
        raise Interrupted(deploy_report.untouched(stop.done[: len(crew.hosts)])) from None
    return done[: len(crew.hosts)], done[len(crew.hosts) :]


def unfit(host: Host, facts: dict[str, Any], *, slots: bool) -> OpsError | None:
    """Why a host cannot take a release at all; with `slots` it is to have units."""
    if tuple(int(part) for part in str(facts["python"]).split(".")[:2]) < OLDEST:
        return OpsError(
            f"Its Python is {facts['python']}, expected 3.11 or later.", fix="install a later one"
        )
    if (slots or host.role == "proxy") and facts["systemd"] and not facts["root"]:
        return OpsError(
            f"We log in as {facts['login']}, but units, slots and HAProxy need root (sudo is not used).",
            fix=f'set user = "root" in [hosts.{host.name}] of ops.toml, with our key in its authorized_keys;'
            " or take [proxy] out of ops.toml to run the release under our own supervisor",
        )
    return None


def _wheels(
    settings: Settings, project: build.Project, asked: Sequence[Delivery], printer: Printer
) -> dict[str, tuple[build.Wheel, ...]]:
    """The wheels for each host; hosts of one kind share them."""
    kinds: dict[tuple[object, ...], tuple[build.Wheel, ...]] = {}
    found = {}
    for one in asked:
        facts = one.found
        kind = tuple(facts[name] for name in ("python", "platform", "libc"))
        if kind not in kinds:
            if project.lock is not None:
                told = f"wheels for Python {facts['python']} on {facts['platform']}"
                printer.progress(f"{one.host.name} │ {told}")
            kinds[kind] = build.wheels(project.lock, facts, settings.root / "dist/wheels")
        found[one.host.name] = kinds[kind]
    return found


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


def _waves(hosts: tuple[Host, ...], size: int) -> list[tuple[Host, ...]]:
    """One host first; then all others, or `size` at a time."""
    rest = hosts[1:]
    step = size if size > 0 else max(1, len(rest))
    return [hosts[:1], *(rest[i : i + step] for i in range(0, len(rest), step))]


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
