"""`inv simulate`: the vendors' stand-ins alone, beside whatever runs, for a bridge of somebody's own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ops.commands.progress import teller
from ops.commands.start import fresh_logs
from ops.config import Settings
from ops.errors import OpsError
from ops.findings import VENDORS, Finding, Report, fail, ok
from ops.processes import start as processes
from ops.processes.run_files import RunFiles, write_whole
from ops.processes.status import status
from ops.report import Printer
from ops.services import Service, stand_ins

FILE = "simulated.env"


class BadChoice(OpsError):
    """`--only` or `--forward` says something that cannot be."""

    exit_code = 2


def simulate(
    settings: Settings, printer: Printer, *, only: tuple[str, ...] = (), forward: int | None = None
) -> Report:
    """Bring the simulators up, tell their addresses, and write the environment for a bridge to a file."""
    if unknown := [name for name in only if name not in VENDORS]:
        raise BadChoice(
            f"There is no simulator of {', '.join(unknown)}.", fix=f"choose from {', '.join(VENDORS)}"
        )
    if forward is not None and not 1 <= forward <= 65535:
        raise BadChoice(
            f"--forward: expected a port from 1 to 65535, got {forward}.", fix="give the bridge's port"
        )
    chosen = tuple(name for name in VENDORS if not only or name in only)
    simulated = simulated_settings(settings)
    findings, data = bring_up(settings, simulated, printer, chosen, forward)
    if any(finding.status == "fail" for finding in findings):
        return Report("simulate", simulated.vendors, findings, data)
    up = _up(settings, simulated)
    tunnel = _tunnel(simulated, forward) if "ngrok" in up else None
    environment = _environment(simulated, up, tunnel, forward)
    path = settings.run_dir / FILE
    write_whole(path, "".join(f"{name}={value}\n" for name, value in environment.items()))
    shown = path.relative_to(settings.root)
    addresses = {name: value for name, value in environment.items() if name.endswith("_URL")}
    found = [*(_told(name, addresses, tunnel) for name in up)]
    found.append(
        ok("simulate.environment", f"For your bridge: set -a; . {shown}; set +a", variables=list(environment))
    )
    more = {"addresses": addresses, "public_url": environment.get("PUBLIC_URL"), "files": {FILE: str(path)}}
    return Report("simulate", simulated.vendors, (*findings, *found), {**data, **more})


def simulated_settings(settings: Settings) -> Settings:
    """The settings with which everything is simulated, at the simulators' own addresses."""
    offline = Settings.load(settings.root, mode="offline")
    base = f"127.0.0.1:{offline.simulator_port}"
    model = f"127.0.0.1:{offline.simulator_port + 1}"
    return replace(
        offline,
        twilio_api_url=f"http://{base}",
        openai_base_url=f"http://{model}/v1",
        openai_realtime_url=f"ws://{model}/v1/realtime",
        ngrok_api_url=None,
    )


def bring_up(
    settings: Settings,
    simulated: Settings,
    printer: Printer,
    vendors: Sequence[str],
    forward: int | None = None,
) -> tuple[tuple[Finding, ...], Mapping[str, Any]]:
    """Start what does not run yet of these vendors' simulators; findings and the processes' data.

    What runs keeps running as it is, and the stack stays what `settings` say it is.
    """
    wanted = {
        vendor: service for vendor, service in stand_ins(simulated, forward).items() if vendor in vendors
    }
    running = _running(settings)
    if foreign := _foreign(wanted.values(), running):
        return foreign, status(settings).data
    missing = [service for service in wanted.values() if service.name not in running]
    if not missing:
        return (), status(settings).data
    if not running:
        fresh_logs(settings)

    names = [service.name for service in missing]
    mode = (status(settings).data["mode"] if running else None) or "start"
    outcome = processes.start(settings, missing, only=names, mode=mode, progress=teller(printer))
    return outcome.findings, outcome.data


def _running(settings: Settings) -> dict[str, Service]:
    """The services of this project that live, as they were ordered."""
    lives = {row["name"] for row in status(settings).data["services"] if row["pid"] is not None}
    wanted = RunFiles(settings.root).wanted()
    return {one.name: one for one in wanted.services if one.name in lives} if wanted else {}


def _up(settings: Settings, simulated: Settings) -> tuple[str, ...]:
    """The vendors whose simulators run, those of an earlier command too: one file describes them all."""
    running = _running(settings)
    return tuple(
        vendor
        for vendor, service in stand_ins(simulated).items()
        if (here := running.get(service.name)) and service.argv[2] in here.argv
    )


def _foreign(wanted: Iterable[Service], running: Mapping[str, Service]) -> tuple[Finding, ...]:
    """A finding for each simulator whose name or port belongs to another service of the stack."""
    found = []
    for service in wanted:
        module = service.argv[2]
        for other in running.values():
            taken = other.name == service.name or bool({*other.ports} & {*service.ports})
            if taken and module not in other.argv:
                found.append(
                    fail(
                        f"simulate.{service.name}",
                        f"The stack's own {other.name} stands where its simulator would.",
                        fix="leave it out with --only, or stop the stack first: inv cleanup",
                    )
                )
    return tuple(found)


def _tunnel(simulated: Settings, forward: int | None) -> str:
    """The public address that leads to the bridge: the agent's tunnel, or one more that is asked for."""
    from ops.net.http import Http
    from ops.vendors.ngrok.client import tunnels

    port = forward or simulated.websocket_port
    for one in tunnels(simulated.ngrok_api):
        if one.port == port:
            return one.public_url
    order = json.dumps({"name": f"port-{port}", "proto": "http", "addr": str(port)}).encode()
    kind = {"Content-Type": "application/json"}
    with Http(simulated.ngrok_api) as http:
        answer = http.request("POST", "/api/tunnels", content=order, headers=kind)
    answer = answer.checked(fix="start it anew: inv cleanup simulate")
    return str(answer.json()["public_url"])


def _environment(
    simulated: Settings, vendors: Sequence[str], tunnel: str | None, forward: int | None
) -> dict[str, str]:
    """The variables that public bridges read, by vendor."""
    names: list[str] = []
    if "twilio" in vendors:
        names += ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER", "TWILIO_API_URL"]
    if "openai" in vendors:
        names += ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_REALTIME_URL"]
    found = simulated.environment(names)
    if tunnel:
        found |= {"NGROK_API_URL": simulated.ngrok_api, "PUBLIC_URL": tunnel}
    elif forward:
        found |= {"PUBLIC_URL": f"http://127.0.0.1:{forward}"}
    return found


def _told(vendor: str, addresses: Mapping[str, str], tunnel: str | None) -> Finding:
    if vendor == "twilio":
        url = addresses["TWILIO_API_URL"]
        return ok(
            "simulate.twilio", f"Twilio stands at {url}; ring a webhook: inv call --webhook URL", url=url
        )
    if vendor == "openai":
        url, rest = addresses["OPENAI_REALTIME_URL"], addresses["OPENAI_BASE_URL"]
        return ok("simulate.openai", f"OpenAI stands at {url} and {rest}", url=url, base_url=rest)
    api = addresses["NGROK_API_URL"]
    host = urlsplit(api).netloc
    return ok(
        "simulate.ngrok",
        f"ngrok's agent stands at {host}, the tunnel at {tunnel}",
        url=api,
        public_url=tunnel,
    )
