"""The list of all checks: which of them a stack is asked, which a command chose, what each one is about."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.config import Settings
from ops.doctor import (
    environment,
    host,
    lifecycle,
    ports,
    preflight,
    programs,
    repository,
    security,
    services,
    source,
    webhook,
    websocket,
)
from ops.doctor.asking import TOTAL, Progress, ask
from ops.errors import OpsError
from ops.findings import VENDORS, Check, Finding, skip
from ops.processes import identity
from ops.processes.identity import Identity
from ops.vendors.ngrok import checks as ngrok
from ops.vendors.openai import checks as openai
from ops.vendors.openai import headroom
from ops.vendors.twilio import checks as twilio
from ops.vendors.twilio import region
from ops.world import World

GROUPS = {"environment": "env", "ports": "port", "services": "service"}  # as people call them
DEEP_TOTAL = 2 * TOTAL  # seconds for all checks of one run, with the whole line among them


AT_DOOR = ("openai.realtime", "webhook.signed", "webhook.stranger", "websocket.stream", "deep.line")


def every(world: World, *, deep: bool = False) -> tuple[Check[World], ...]:
    """All checks that this stack can be asked; with `deep` also those that open a session and cost."""
    settings = world.settings
    asked_of_openai = (*openai.CHECKS, *(headroom.CHECKS if deep else ()))
    return (
        *environment.CHECKS,
        *host.CHECKS,
        *programs.checks(world),
        *region.CHECKS,
        *openai.LOCAL,
        *ngrok.LOCAL,
        *ports.checks(world),
        *services.checks(world),
        *_behind(world, "twilio", settings.twilio_api_url, "TWILIO_API_URL", twilio.CHECKS),
        *_behind(world, "openai", settings.openai_realtime_url, "OPENAI_REALTIME_URL", asked_of_openai),
        *_behind(world, "ngrok", settings.ngrok_api, "NGROK_API_URL", ngrok.CHECKS),
        *websocket.checks(world),
        *webhook.checks(world),
        *security.checks(world),
        *repository.CHECKS,
        *source.checks(world),
        *((*lifecycle.CHECKS, *preflight.CHECKS) if deep else ()),
    )


def catalogue(settings: Settings | None = None) -> tuple[Check[World], ...]:
    """Every rule there is, also those that the stack of these settings is not asked."""
    simulated = dict.fromkeys(VENDORS, "simulated")
    settings = settings or Settings(root=Path(), vendors=simulated)
    world = World.of(settings, today=datetime.now(UTC).date())
    found = {check.id: check for check in (*every(world, deep=True), *programs.CHECKS, *source.CHECKS)}
    return tuple(found.values())


def explain(id: str, settings: Settings | None = None) -> Check[World]:
    """The rule of that id, with what is known of its fault."""
    known = {check.id: check for check in catalogue(settings)}
    if id not in known:
        near = difflib.get_close_matches(id, known, 3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else "`inv validate` lists the ids"
        raise OpsError(f"No check is called {id}.", fix=hint)
    return known[id]


def run(
    settings: Settings,
    *,
    only: Iterable[str] = (),
    deep: bool = False,
    progress: Progress | None = None,
) -> tuple[Finding, ...]:
    """Asks all checks, or those whose id or group is in `only`, and gives their answers in order.

    Of what the chosen ones need, failures and unknowns are given too: they explain a skip.
    """
    world = look(settings)
    checks = every(world, deep=deep)
    wanted = chosen(checks, tuple(only))
    findings = ask(_with_needs(checks, wanted), world, progress=progress, total=DEEP_TOTAL if deep else TOTAL)
    return tuple(one for one in findings if one.id in wanted or one.status in ("fail", "unknown"))


def at_door(settings: Settings, *, progress: Progress | None = None) -> tuple[Finding, ...]:
    """Asks one bridge, at `settings.door_at`, as if calls came there: who may come in, and the whole line.

    It need belong to no running stack: a slot is proven so before it gets calls.
    """
    world = World.of(settings, today=datetime.now(UTC).date())
    checks = [one for one in every(world, deep=True) if one.id in AT_DOOR]
    ids = {one.id for one in checks}
    alone = [
        replace(
            one,
            needs=tuple(n for n in one.needs if n in ids),
            unless=tuple(u for u in one.unless if u in ids),
        )
        for one in checks
    ]
    return ask(alone, world, progress=progress, total=DEEP_TOTAL)


def look(settings: Settings) -> World:
    """The world as it stands: settings, and the stack's run state if its supervisor lives."""
    try:
        stack = json.loads((settings.run_dir / "stack.json").read_text("utf-8"))
        alive = any(_lives(one) for one in (stack.get("supervisor"), *stack.get("services", ())))
    except (OSError, ValueError, TypeError, AttributeError):
        stack, alive = None, False
    return World.of(settings, today=datetime.now(UTC).date(), stack=stack if alive else None)


def _lives(one: Mapping[str, Any] | None) -> bool:
    """Whether the very process of a run state's entry still runs."""
    if not one or not one.get("pid"):
        return False
    who = Identity(int(one["pid"]), int(one.get("start_ticks") or 0), str(one.get("boot_id")))
    return identity.lives(who)


def chosen(checks: Sequence[Check[World]], only: tuple[str, ...]) -> frozenset[str]:
    """The ids that `only` names: an id, or a group such as `twilio`; all when it is empty."""
    ids = frozenset(check.id for check in checks)
    if not only:
        return ids
    found = {}
    for name in only:
        group = GROUPS.get(name, name)
        found[name] = {one for one in ids if one == group or one.startswith(f"{group}.")}
    strange = [name for name, ones in found.items() if not ones]
    if strange:
        groups = sorted({one.partition(".")[0] for one in ids})
        raise OpsError(
            f"No check is called {', '.join(strange)}.", fix=f"use an id, or a group: {', '.join(groups)}"
        )
    return frozenset().union(*found.values())


def _with_needs(checks: Sequence[Check[World]], wanted: frozenset[str]) -> tuple[Check[World], ...]:
    by_id = {check.id: check for check in checks}
    closure: set[str] = set()
    queue_ = list(wanted)
    while queue_:
        name = queue_.pop()
        if name not in closure and name in by_id:
            closure.add(name)
            queue_ += (*by_id[name].needs, *by_id[name].unless)
    return tuple(check for check in checks if check.id in closure)


def _behind(
    world: World, vendor: str, address: str, variable: str, checks: Iterable[Check[World]]
) -> tuple[Check[World], ...]:
    """Checks of a vendor whose stand-in is one of our services wait for that service."""
    service = world.stand_in(address)
    if service is not None:
        need = f"service.{service.name}"
        return tuple(check if check.needs else replace(check, needs=(need,)) for check in checks)
    if world.mode(vendor) == "SIMULATED" and variable not in world.settings.sources:
        return tuple(replace(check, ask=_nobody(check.id, vendor), needs=(), unless=()) for check in checks)
    return tuple(checks)


def _nobody(id: str, vendor: str) -> Callable[[World], Finding]:
    return lambda world: skip(id, f"{vendor} is simulated, and this stack has no simulator of it.")
