"""Are our ports free, or held by us? A stranger is named: number, command, age."""

from __future__ import annotations

from pathlib import Path

from ops.findings import Check, Finding, Knowledge, fail, ok, warn
from ops.processes import ports
from ops.services import Service
from ops.world import World

SQUATTERS = {
    3000: "other web servers under development like this port",
    4040: "another ngrok agent has this port; the next one takes 4041",
    8081: "React Native's Metro and LiveKit's agent server like this port",
}


def checks(world: World) -> tuple[Check[World], ...]:
    """Whether two services want one port; then one check for each service that listens."""
    clash = Check[World](
        "port.clash",
        "Has each service a port of its own?",
        clashes,
        about=Knowledge(
            symptom="One of two services dies at its start with 'address already in use'.",
            evidence="The port and the services that want it.",
            cause="Two settings name the same port, or one is among the simulators' ports.",
            fix="Give each service a port of its own.",
            verify="No port is named twice.",
            source=".env.example",
        ),
    )
    return (clash, *(_check(service) for service in world.table if service.ports))


def clashes(world: World) -> Finding:
    wanted: dict[int, list[str]] = {}
    for service in world.table:
        for port in service.ports:
            wanted.setdefault(port, []).append(service.name)
    double = {port: names for port, names in wanted.items() if len(names) > 1}
    if double:
        port, names = next(iter(double.items()))
        return fail(
            "port.clash",
            f"{' and '.join(names)} both want port {port}.",
            fix="change one of WEBAPP_PORT, WEBSOCKET_PORT, NGROK_PORT, SIMULATOR_PORT, or a port in "
            "ops.toml",
            ports={str(port): names for port, names in double.items()},
        )
    return ok("port.clash", "Each service has a port of its own.")


def _check(service: Service) -> Check[World]:
    id = f"port.{service.name}"
    shown = ", ".join(str(port) for port in service.ports)
    return Check(
        id,
        f"Is port {shown} free, or held by our {service.name}?",
        lambda world: held(id, service, world),
        about=Knowledge(
            symptom="A service dies at its start with 'address already in use', or another program "
            "answers in its place.",
            evidence="The holder's process number, command, age, folder and project.",
            cause="Another program, or a forgotten run of this one, listens on the port.",
            fix="End the named holder, let `inv start --take-over` do it after showing it, or choose "
            "another port.",
            verify="The port is free, or its holder is the service of this stack.",
            source="https://man7.org/linux/man-pages/man2/bind.2.html",
            mend="offered",
        ),
    )


def held(id: str, service: Service, world: World) -> Finding:
    found = ports.listeners(service.ports)
    if not found:
        return ok(
            id,
            f"{_shown(service)}: free." if not world.stack else f"{_shown(service)}: nothing listens.",
        )
    mine = [int(one.get("pid") or 0) for one in world.running.values()]
    strangers = []
    for listener in found:
        pid = ports.owner(listener.inode, first=mine)
        holder = ports.holder(listener, pid)
        if not _ours(holder, world.settings.root):
            strangers.append(holder)
    if not strangers and world.stack is None:
        return warn(
            id,
            f"{_shown(service)}: held by an earlier run of this project, of which no stack is left.",
            fix="end it: `inv cleanup`",
            ports=[listener.port for listener in found],
        )
    if not strangers:
        return ok(id, f"{_shown(service)}: held by our {service.name}.")
    first = strangers[0]
    squatter = SQUATTERS.get(first.port)
    hint = f" ({squatter})" if squatter and not first.stack else ""
    end = f"end it: `kill {first.pid}`" if first.pid else "end it as its user"
    return fail(
        id,
        f"The {service.name} cannot have its port: {first}{hint}.",
        fix=f"{end}, or let `inv start --take-over` do it, or set another port",
        port=first.port,
        pid=first.pid,
        command=first.command[:200],
        age_seconds=round(first.age),
        cwd=first.cwd,
        stack=first.stack,
    )


def _ours(holder: ports.Holder, root: Path) -> bool:
    return holder.stack is not None and Path(holder.stack).resolve() == root.resolve()


def _shown(service: Service) -> str:
    word = "Port" if len(service.ports) == 1 else "Ports"
    return f"{word} {', '.join(str(port) for port in service.ports)}"
