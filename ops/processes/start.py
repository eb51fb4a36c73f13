"""Starts a stack, or brings a running one to what is asked; returns when every service is ready."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from ops.config import Settings
from ops.errors import OpsError
from ops.findings import Finding, fail
from ops.processes import handle, watcher
from ops.processes.apply import end_services
from ops.processes.handle import Launch
from ops.processes.interrupt import interruptible
from ops.processes.lock import stack_lock
from ops.processes.observe import Situation, look, observe
from ops.processes.outcome import Outcome, Progress, Replaces, silent
from ops.processes.plan import Keep, Order, Refuse, Stop, plan
from ops.processes.records import Wanted
from ops.processes.run_files import RunFiles
from ops.processes.standby import Standby
from ops.processes.stop import stop
from ops.processes.take_over import end_holder, fix_for
from ops.services import Service


def start(
    settings: Settings,
    services: Sequence[Service],
    *,
    only: Sequence[str] = (),
    mode: str = "start",
    take_over: bool = False,
    watch: bool = False,
    standby: Standby | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Start these services in dependency order and wait until each is ready.

    What runs already as asked is kept, with its process; what was started differently is ended and
    started anew. `only` names the services to start beside what runs; without it, what runs beyond
    `services` is ended. `take_over` ends whoever holds a port that is needed. `watch` restarts
    services when their code changes. A supervisor on `standby` saves the wait for one. An interrupt
    ends what this call has begun. Raises OpsError.
    """
    chosen = choose(services, only)
    if watch:
        chosen = (*chosen, watcher.service(settings, chosen))
    files = RunFiles(settings.root)
    begun = False
    try:
        with interruptible():
            with stack_lock(files, progress):
                situation = look(files)
                if refused := clear_ports(files, situation, chosen, take_over, progress):
                    return Outcome(refused, {"services": []})
                begun = not situation.running
                launch = order(settings, files, situation, chosen, bool(only), mode, standby, progress)
            from ops.processes.awaiting import await_ready  # the services start meanwhile

            return await_ready(settings, files, launch, progress)
    except KeyboardInterrupt:
        if begun:
            stop(settings, drain_seconds=0.0, now=True, progress=progress)
        raise


def choose(services: Sequence[Service], only: Sequence[str]) -> tuple[Service, ...]:
    """The services to start; raises OpsError for a name that is not among them."""
    names = [service.name for service in services]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise UnknownService(
            f"There is no service named {', '.join(unknown)}.", fix=f"choose from: {', '.join(sorted(names))}"
        )
    return tuple(service for service in services if not only or service.name in only)


class UnknownService(OpsError):
    """`--only` names a service that does not exist."""

    exit_code = 2


def clear_ports(
    files: RunFiles,
    situation: Situation,
    chosen: Sequence[Service],
    may_take_over: bool,
    progress: Progress,
) -> tuple[Finding, ...]:
    """One finding for each service whose port a stranger holds; none when the way is free, or has been
    made so."""
    refused = _refused(situation, chosen)
    while refused and may_take_over and all(end_holder(step.holder, progress) for step in refused):
        before, refused = len(refused), _refused(look(files), chosen)
        if len(refused) >= before:
            break  # something takes the port again and again
    return tuple(
        fail(
            "ports.held",
            f"{step.holder}; {step.name} needs it. Nothing was started.",
            fix=fix_for(step.holder),
            needed_by=step.name,
            **asdict(step.holder),
        )
        for step in refused
    )


def _refused(situation: Situation, chosen: Sequence[Service]) -> list[Refuse]:
    steps = plan([Order(service) for service in chosen], observe(situation, chosen), time.monotonic())
    return [step for step in steps if isinstance(step, Refuse)]


def order(
    settings: Settings,
    files: RunFiles,
    situation: Situation,
    chosen: Sequence[Service],
    adding: bool,
    mode: str,
    standby: Standby | None,
    progress: Progress,
) -> Launch:
    """Give the orders: keep, replace and start what the plan says; what then has to be waited for."""
    before = situation.wanted
    observed = observe(situation, chosen)
    steps = plan([Order(service) for service in chosen], observed, time.monotonic())
    names = {service.name for service in chosen}
    kept = {step.name for step in steps if isinstance(step, Keep)}
    ending = [step for step in steps if isinstance(step, Stop) and (step.name in names or not adding)]
    supervisor = situation.supervisor
    wanted = _base(settings, before, situation, mode, standby.token if standby else secrets.token_hex(16))

    leftovers = {m.service for m in situation.members if m.service in names} - kept
    doomed = frozenset({step.name for step in ending} | leftovers)
    if doomed:
        for step in ending:
            progress(Replaces(step.name, step.why))
        known = {service.name: service for service in (*chosen, *wanted.services)}
        if supervisor and before:
            wanted = wanted.held(doomed)
            supervisor = handle.give_orders(files, wanted, supervisor)
        old = replace(wanted, orders=tuple(Order(service) for service in known.values()))
        end_services(old, doomed, drain_seconds=30.0, progress=progress)

    serials = {one.service.name: one.serial for one in wanted.orders}
    orders = {one.service.name: one for one in wanted.orders if adding and one.service.name not in names}
    for service in chosen:
        serial = serials.get(service.name, -1) + (service.name not in kept)
        orders[service.name] = Order(service, max(0, serial))
    if before and supervisor and tuple(orders.values()) == before.orders and wanted == before:
        return Launch(wanted, supervisor, frozenset(names), frozenset(kept))
    wanted = replace(wanted, generation=wanted.generation + 1, orders=tuple(orders.values()))
    supervisor = handle.give_orders(files, wanted, supervisor, standby)
    return Launch(wanted, supervisor, frozenset(names), frozenset(kept))


def _base(
    settings: Settings, before: Wanted | None, situation: Situation, mode: str, new_token: str
) -> Wanted:
    """The orders in force, with what these settings say; a new stack where nothing runs."""
    if before is None or not (situation.running or situation.supervisor):
        token = situation.token if situation.running and situation.token else new_token
        before = Wanted(generation=0, token=token, root=settings.root)
    return replace(
        before,
        mode=mode,
        vendors=dict(settings.vendors),
        public_url=settings.public_url,
        most_quick_deaths=settings.max_retries_services,
        startup=settings.timeout_service_startup,
    )
