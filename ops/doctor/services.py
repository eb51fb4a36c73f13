"""Does the stack run, and does each of its services answer?"""

from __future__ import annotations

import socket
from collections.abc import Callable

from ops.findings import Check, Finding, Knowledge, fail, ok, skip, warn
from ops.net.http import Http, Unanswered
from ops.processes.slots import slots
from ops.services import Service
from ops.world import World

STACK = "service.stack"


def checks(world: World) -> tuple[Check[World], ...]:
    """The stack as a whole, then each service of it."""
    stack = Check(
        STACK,
        "Does the stack run?",
        running,
        about=Knowledge(
            symptom="The number rings, then an application error is read out.",
            evidence="The run state in logs/run, whether its processes live, and with which vendors it "
            "was started.",
            cause="The stack was not started, or was stopped.",
            fix="Start it: `inv start`.",
            verify="The run state names a supervisor that lives.",
            source="README.md",
        ),
    )
    return (stack, *(_check(service) for service in world.table))


def running(world: World) -> Finding:
    if world.stack is None and (world.settings.run_dir / "stack.json").exists():
        return fail(
            STACK,
            "The stack does not run; its run state is left from one that ended without cleaning up.",
            fix="start it: `inv start`; `inv validate --fix` removes the stale state",
            stale=str(world.settings.run_dir / "stack.json"),
        )
    if world.stack is None and (here := [one for one in slots(world.settings.root) if one.in_force]):
        at = f"inv validate --deep --at=http://127.0.0.1:{here[0].port}"
        return skip(STACK, f"Releases run in slots here, {here[0].unit} is in force: `{at}` proves it.")
    if world.stack is None:
        return fail(STACK, "The stack does not run.", fix="start it: `inv start`")
    names = ", ".join(world.running) or "no service"
    differ = {
        vendor: [str(was), now]
        for vendor, was in dict(world.stack.get("vendors") or {}).items()
        if (now := world.settings.vendors.get(vendor)) and was != now
    }
    if differ:
        words = "; ".join(
            f"{vendor} was {was}, the settings now say {now}" for vendor, (was, now) in differ.items()
        )
        return warn(
            STACK,
            f"The stack runs with other settings than those of now: {words}.",
            fix="restart it: `inv cleanup start`, or put the settings back",
            vendors=differ,
        )
    return ok(STACK, f"The stack runs: {names}.", since=world.stack.get("started"))


def _check(service: Service) -> Check[World]:
    id = f"service.{service.name}"
    return Check(
        id,
        f"Does the {service.name} answer?",
        _asker(id, service),
        needs=(STACK,),
        unless=(
            *((f"port.{service.name}",) if service.ports else ()),
            *(("ngrok.binary", "ngrok.log") if service.name == "ngrok" else ()),
        ),
        about=Knowledge(
            symptom="A part of the stack is silent, or restarts again and again.",
            evidence="Its state, process number and restarts; the status and time of its readiness probe.",
            cause="The service has died, hangs, or is not ready yet.",
            fix="Its log says why: `inv logs --service NAME`; then `inv cleanup start`.",
            verify="Its readiness probe is answered as it should be.",
            source="README.md",
        ),
    )


def _asker(id: str, service: Service) -> Callable[[World], Finding]:
    return lambda world: answers(id, service, world)


def answers(id: str, service: Service, world: World) -> Finding:
    known = world.running.get(service.name)
    if known is None:
        return skip(id, f"The {service.name} does not belong to this run.")
    state, reason = str(known.get("state")), str(known.get("reason") or "")
    because = f": {reason}" if reason else ""
    evidence = {"state": state, "pid": known.get("pid"), "restarts": known.get("restarts")}
    log = f"read its log: `inv logs --service {service.name}`"
    if state in ("failed", "stopped"):
        return fail(
            id,
            f"The {service.name} has {state}{because}.",
            fix=f"{log}; then `inv cleanup start`",
            **evidence,
        )
    ready, port = service.ready, service.port
    try:
        if ready.probe == "http" and port is not None:
            with Http(f"http://127.0.0.1:{port}", timeout=3.0) as http:
                answer = http.get(ready.argument or "/")
            evidence |= {"asked": answer.url, "status": answer.status, "ms": round(answer.seconds * 1000)}
            if answer.status >= 300 or ready.contains not in answer.text:
                said = answer.text.strip()[:120]
                return fail(
                    id, f"The {service.name} is not ready: {answer.status} {said}", fix=log, **evidence
                )
        elif ready.probe == "tcp" and port is not None:
            with socket.create_connection(("127.0.0.1", port), timeout=3.0):
                evidence["asked"] = f"127.0.0.1:{port}"
        elif state != "ready":
            return fail(id, f"The {service.name} is {state}{because}.", fix=log, **evidence)
    except (Unanswered, OSError) as problem:
        words = (
            problem.message if isinstance(problem, Unanswered) else f"127.0.0.1:{port}: {problem.strerror}"
        )
        return fail(
            id, f"The {service.name} does not answer ({state}{because}): {words}", fix=log, **evidence
        )
    restarts = known.get("restarts") or 0
    if isinstance(restarts, int) and restarts >= 3:
        return warn(
            id,
            f"The {service.name} answers, but was restarted {restarts} times{because}.",
            fix=log,
            **evidence,
        )
    return ok(id, f"The {service.name} answers.", **evidence)
