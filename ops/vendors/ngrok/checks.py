"""What the ngrok agent can be asked: does it answer, where does its tunnel lead, who may look in."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable

from ops.findings import Check, Finding, Knowledge, fail, ok, skip, warn
from ops.net.http import Declined
from ops.vendors.ngrok import client
from ops.vendors.ngrok.client import public_url, tunnels
from ops.vendors.ngrok.codes import explain, find
from ops.world import World

TAIL = 64 * 1024  # bytes of the agent's log that are read
OF_REQUESTS = (702, 3004, 3200, 8012)  # errors of one request: they end no tunnel
OF_OWNERS = (108, 334)  # somebody else has the session or the endpoint
FRESH = 3600.0  # seconds; an older error is no news


def agent(world: World) -> Finding:
    if world.settings.public_url:
        return _not_used("ngrok.agent", world)
    found = tunnels(world.settings.ngrok_api)
    asked = f"{world.settings.ngrok_api}/api/tunnels"
    return ok(
        "ngrok.agent", f"The ngrok agent answers; tunnels: {len(found)}.", asked=asked, tunnels=len(found)
    )


def tunnel(world: World) -> Finding:
    if world.settings.public_url:
        return _not_used("ngrok.tunnel", world)
    url = public_url(world.settings, deadline=0.5)
    port = world.settings.websocket_port
    return ok(
        "ngrok.tunnel",
        f"The tunnel {url} leads to port {port}.",
        asked=f"{world.settings.ngrok_api}/api/tunnels",
        public_url=url,
    )


def session(world: World) -> Finding:
    """Who has the session with ngrok's service: the agent that answers, and is it ours?"""
    id = "ngrok.session"
    if world.settings.public_url:
        return _not_used(id, world)
    asked = f"{world.settings.ngrok_api}/api/status"
    try:
        found = client.session(world.settings.ngrok_api)
    except Declined as problem:
        if problem.unknown_question:
            return skip(id, "This agent does not tell of its session.", asked=asked)
        raise
    others = _others(world)
    evidence = {
        "asked": asked, "status": found.status, "regions": found.regions, "version": found.version,
        "other_agents": others,
    }  # fmt: skip
    if found.status != "online":
        return fail(
            id,
            f"The ngrok agent has no session: it is {found.status}.",
            fix="end other agents of this account"
            + (f": {others[0]}" if others else " (the ngrok dashboard lists them under Agents)")
            + ", and check the network; then `inv cleanup start`",
            **evidence,
        )
    where = f" in {', '.join(found.regions)}" if found.regions else ""
    return ok(id, f"The ngrok agent has its session{where} (agent {found.version}).", **evidence)


def _others(world: World) -> list[str]:
    """The ngrok agents of this machine that are not this stack's: `pid 12 (ngrok http 80)`, never a token."""
    import psutil

    ours = (world.running.get("ngrok") or {}).get("pid")
    found = []
    for process in psutil.process_iter(("pid", "name", "cmdline")):
        words = process.info["cmdline"] or ()
        if process.info["name"] == "ngrok" and process.info["pid"] != ours:
            shown = " ".join(word for word in words[:3] if not word.startswith("--authtoken"))
            found.append(f"pid {process.info['pid']} ({shown})")
    return found


def domain(world: World) -> Finding:
    wanted = world.settings.ngrok_domain
    if world.settings.public_url:
        return _not_used("ngrok.domain", world)
    if wanted is None:
        return ok("ngrok.domain", "No fixed domain is asked for (NGROK_DOMAIN).")
    url = public_url(world.settings, deadline=0.5)
    if url.partition("://")[2] != wanted and world.settings.vendors["ngrok"] == "live":
        return warn(
            "ngrok.domain",
            f"The tunnel is {url}, not the fixed domain {wanted}.",
            fix="restart the tunnel with the domain: `inv cleanup start`; check the domain on the ngrok "
            "dashboard",
            public_url=url,
            wanted=wanted,
        )
    return ok("ngrok.domain", f"The tunnel has its fixed domain {wanted}.", public_url=url)


def inspection(world: World) -> Finding:
    if world.settings.public_url:
        return _not_used("ngrok.inspection", world)
    if world.mode("ngrok") == "SIMULATED" and world.stand_in(world.settings.ngrok_api):
        return ok("ngrok.inspection", "The tunnel is simulated: nothing of it leaves this machine.")
    port = world.settings.websocket_port
    open_ones = [one.name for one in tunnels(world.settings.ngrok_api) if one.port == port and one.inspect]
    asked = f"{world.settings.ngrok_api}/api/tunnels"
    if open_ones:
        return warn(
            "ngrok.inspection",
            "The ngrok agent keeps whole requests of the public endpoint, with signatures, for anyone on "
            "this machine.",
            fix="start the agent with --inspect=false, as `inv start` does",
            asked=asked,
            tunnels=open_ones,
        )
    return ok("ngrok.inspection", "The ngrok agent keeps no requests.", asked=asked)


def _not_used(id: str, world: World) -> Finding:
    return skip(id, "PUBLIC_URL is set, so no tunnel is used.", public_url=world.settings.public_url)


def binary(world: World) -> Finding:
    service = world.stand_in(world.settings.ngrok_api)
    if service is None or service.argv[:1] != ("ngrok",):
        return ok("ngrok.binary", "No ngrok program is needed here.")
    found = shutil.which("ngrok")
    if found is None:
        return fail(
            "ngrok.binary",
            "The ngrok program is not installed, or not on the PATH.",
            fix="install it (https://ngrok.com/download), or set PUBLIC_URL to a public address of this "
            "machine",
        )
    return ok("ngrok.binary", f"The ngrok program is {found}.")


def log(world: World) -> Finding:
    """What the agent itself wrote last: an error by number, or that its tunnel started."""
    path = world.settings.logs / "ngrok.out"
    try:
        age = time.time() - path.stat().st_mtime
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ok("ngrok.log", "The ngrok agent has written no log.")
    number, words = judge_log(lines)
    if number is None or age > FRESH:
        return ok("ngrok.log", "The ngrok agent's log ends without an error.", file=str(path))
    known = explain(number)
    others = _others(world) if number in OF_OWNERS else []
    fix = known.fix if known else f"see https://ngrok.com/docs/errors/err_ngrok_{number}"
    return fail(
        "ngrok.log",
        f"ngrok says ERR_NGROK_{number}: {known.meaning if known else words}.",
        fix=f"{fix}; on this machine runs {', '.join(others)}" if others else fix,
        file=str(path),
        code=number,
        other_agents=others,
    )


def judge_log(lines: Iterable[str]) -> tuple[int | None, str]:
    """The last error number that no started tunnel came after, and its line. Pure."""
    number, words = None, ""
    for line in lines:
        found = find(line)
        if found is not None and found not in OF_REQUESTS:
            number, words = found, line[:200]
        elif "started tunnel" in line or "tunnel session started" in line:
            number, words = None, ""
    return number, words


_SOURCE = "https://ngrok.com/docs/agent/api"

LOCAL: tuple[Check[World], ...] = (
    Check(
        "ngrok.binary",
        "Is the ngrok program there, if it is needed?",
        binary,
        about=Knowledge(
            symptom="`inv start` fails at the tunnel.",
            evidence="What the PATH has under the name ngrok.",
            cause="A live tunnel needs the ngrok program, and it is not on the PATH.",
            fix="Install it, or set PUBLIC_URL and use no tunnel.",
            verify="The program is found on the PATH.",
            source="https://ngrok.com/download",
        ),
    ),
    Check(
        "ngrok.log",
        "Does the ngrok agent's log end without an error?",
        log,
        about=Knowledge(
            symptom="The tunnel does not come up, or was up and is gone.",
            evidence="The last ERR_NGROK number in the agent's output, and the ngrok programs of this "
            "machine.",
            cause="The agent was refused: a bad token (105, 107), a session elsewhere (108), a domain in "
            "use (334), "
            "an old agent (120), a limit (702).",
            fix="Each number has its own fix.",
            verify="The last thing in the agent's log is a started tunnel.",
            source="https://ngrok.com/docs/errors",
        ),
    ),
)

CHECKS: tuple[Check[World], ...] = (
    Check(
        "ngrok.agent",
        "Does the ngrok agent answer?",
        agent,
        unless=("ngrok.binary", "ngrok.log"),
        about=Knowledge(
            symptom="The number rings, then an application error is read out.",
            evidence="The agent's list of tunnels.",
            cause="The tunnel's agent does not run, or another program has its port.",
            fix="Start the stack: `inv start`; the agent's log says why it ended.",
            verify="The agent's API lists its tunnels.",
            source=_SOURCE,
        ),
    ),
    Check(
        "ngrok.tunnel",
        "Does a tunnel lead to our port?",
        tunnel,
        needs=("ngrok.agent",),
        unless=("ngrok.session",),
        about=Knowledge(
            symptom="The webhook answers 502, or an unknown page.",
            evidence="Each tunnel's public URL and the address it leads to.",
            cause="The tunnel is not up yet, was refused, or leads to another port.",
            fix="Restart the tunnel to WEBSOCKET_PORT: `inv cleanup start`.",
            verify="The agent lists a tunnel whose address is our port.",
            source=_SOURCE,
        ),
    ),
    Check(
        "ngrok.session",
        "Has our ngrok agent its session, and nobody else's?",
        session,
        needs=("ngrok.agent",),
        about=Knowledge(
            symptom="The tunnel comes and goes, or calls reach another machine.",
            evidence="The agent's status, regions and version, and other ngrok programs of this machine.",
            cause="The agent lost its session: another agent of the account took it (108), or the network is "
            "gone.",
            fix="End the other agent; the dashboard lists all of an account.",
            verify="The agent's status is online.",
            source="https://ngrok.com/docs/errors/err_ngrok_108",
        ),
    ),
    Check(
        "ngrok.domain",
        "Has the tunnel its fixed domain?",
        domain,
        needs=("ngrok.tunnel",),
        about=Knowledge(
            symptom="It worked yesterday; since the restart calls reach nobody.",
            evidence="The tunnel's public URL beside NGROK_DOMAIN.",
            cause="The tunnel got a random name instead of NGROK_DOMAIN.",
            fix="Restart the tunnel; check that the domain belongs to the account and is not online "
            "elsewhere (334).",
            verify="The tunnel's public URL is the domain.",
            source="https://ngrok.com/docs/errors/err_ngrok_334",
        ),
    ),
    Check(
        "ngrok.inspection",
        "Is the inspector of the public endpoint off?",
        inspection,
        needs=("ngrok.agent",),
        about=Knowledge(
            symptom="Nobody notices: signed requests can be read and replayed on this machine.",
            evidence="The `inspect` of the tunnel's configuration.",
            cause="The agent was started with inspection on.",
            fix="Start the agent with --inspect=false.",
            verify="The agent lists the tunnel with inspect false.",
            source="https://ngrok.com/docs/agent/web-inspection-interface",
        ),
    ),
)
