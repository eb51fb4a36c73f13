"""Who could read or use what is ours: files, command lines, listening sockets, the public door."""

from __future__ import annotations

import ipaddress
import re
import secrets
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from ops.doctor import knock
from ops.findings import Check, Finding, Knowledge, fail, ok, warn
from ops.net.http import Http
from ops.processes import procfs, sock_diag
from ops.world import World

NGROK_TOKEN = re.compile(r"^\S*\bngrok\b.*--authtoken[ =][A-Za-z0-9_]{20,}")
PRIVATE_PATHS = ("/metrics", "/public-url", "/tools", "/logs")


def loose_files(run_dir: Path) -> list[Path]:
    """Files of ours that hold secrets and that others can read or write, below the run folder."""
    found = [path for pattern in ("*.json", "*.key") for path in run_dir.glob(pattern)]
    return [path for path in found if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077]


def files(world: World) -> Finding:
    loose = loose_files(world.settings.run_dir)
    shown = [str(path.relative_to(world.settings.root)) for path in loose]
    if loose:
        return warn(
            "security.files",
            f"Others can read {', '.join(shown)}.",
            fix=f"`inv validate --fix`, or `chmod 600 {shown[0]}`",
            files=shown,
        )
    return ok("security.files", "No run file with secrets can be read by others.")


def command_lines(world: World) -> Finding:
    """Looks for our secrets, and for anyone's ngrok token, in all command lines that we may see."""
    ours = [secret for secret in world.settings.secrets if len(secret) >= 8]
    seen = []
    for pid in procfs.all_stats():
        command = procfs.command(pid)
        if any(secret in command for secret in ours) or NGROK_TOKEN.search(command):
            seen.append((pid, command.split(" ")[0]))
    if seen:
        pid, name = seen[0]
        return fail(
            "security.command-lines",
            f"A secret stands in the command line of pid {pid} ({name}): every user of this machine can "
            "read it.",
            fix="pass it by environment (NGROK_AUTHTOKEN for ngrok), restart the program, and change the "
            "secret",
            pids=[pid for pid, _ in seen],
        )
    return ok("security.command-lines", "No secret stands in a command line.")


def listeners(world: World) -> Finding:
    """Whether our private services listen on this machine alone."""
    return judge_listeners(
        ((str(ipaddress.ip_address(one.address)), one.port) for one in sock_diag.listening()),
        _private_ports(world),
    )


def _private_ports(world: World) -> dict[int, str]:
    """The ports that should be this machine's alone; a stack of the user's own decides for itself."""
    ours = () if world.own_stack else world.table
    return {world.settings.ngrok_port: "ngrok's agent API"} | {
        port: one.name for one in ours for port in one.ports
    }


def judge_listeners(listening: Iterable[tuple[str, int]], private: Mapping[int, str]) -> Finding:
    """Compares listening addresses with the ports that should be this machine's alone, by service."""
    exposed = [
        f"{private[port]} on {address}:{port}"
        for address, port in listening
        if port in private and not ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback
    ]
    if exposed:
        return warn(
            "security.listeners",
            f"Not for this machine alone: {', '.join(exposed)}.",
            fix="bind it to 127.0.0.1; the tunnel reaches it there",
            exposed=exposed,
        )
    return ok("security.listeners", "Our services listen on this machine alone.")


def public_door(world: World) -> Finding:
    """Asks for private pages through the public URL."""
    id = "security.door"
    if nobody := knock.nobody(id, world):
        return nobody
    base = knock.origin(world.settings)
    # The bridge's own address is asked as a tunnel in front of it would ask: we ourselves may see all.
    direct = base == f"http://127.0.0.1:{world.settings.websocket_port}"
    headers = {"X-Forwarded-For": "192.0.2.1"} if direct else {}
    shown = []
    with Http(base, timeout=2.0, headers=headers) as http:
        if http.get(f"/{secrets.token_hex(8)}").status >= 300:  # else it shows one page for every path
            shown += [path for path in PRIVATE_PATHS if http.get(path).status < 300]
        health = http.get("/health")
    if health.status in (200, 503) and any(word in health.text for word in ("live_calls", "call_sid", "pid")):
        shown.append("/health with details")
    if shown:
        return (warn if world.own_stack else fail)(
            id,
            f"Anyone can read {', '.join(shown)} through {base}.",
            fix="answer 404 there unless peer and Host are loopback and no forwarding header is present",
            asked=base,
            paths=shown,
        )
    return ok(id, "Private pages do not answer through the public URL.", asked=base)


def production(world: World) -> Finding:
    """What development forgives and production does not."""
    settings = world.settings
    if settings.ops_env != "production":
        return ok("security.production", f"OPS_ENV is {settings.ops_env}.")
    odd = []
    if settings.debug:
        odd.append("DEBUG is set: services write what callers say into their logs")
    if settings.record_calls == "all":
        odd.append("RECORD_CALLS is all: every caller's voice is kept")
    simulated = [vendor for vendor, how in settings.vendors.items() if how == "simulated"]
    if simulated:
        odd.append(f"{', '.join(simulated)} simulated")
    if odd:
        return warn(
            "security.production",
            f"OPS_ENV is production, but: {'; '.join(odd)}.",
            fix="correct these settings, or set OPS_ENV to what this machine is",
            found=odd,
        )
    return ok("security.production", "The settings fit production.")


def checks(world: World) -> tuple[Check[World], ...]:
    return (
        Check(
            "security.files",
            "Can only we read the run files?",
            files,
            about=Knowledge(
                symptom="Nobody notices: another user of the machine reads tokens.",
                evidence="The run files whose mode gives something to group or others.",
                cause="A run file was copied or restored with a loose mode.",
                fix="`inv validate --fix`, or `chmod 600` of the file.",
                verify="The file's mode gives nothing to group and others.",
                source="https://man7.org/linux/man-pages/man1/chmod.1.html",
                mend="automatic",
            ),
        ),
        Check(
            "security.command-lines",
            "Are command lines free of secrets?",
            command_lines,
            about=Knowledge(
                symptom="Nobody notices: `ps` shows the token to every user.",
                evidence="The process numbers whose command lines hold one of our secrets, or an ngrok "
                "token.",
                cause="A token was given as an argument, like `ngrok --authtoken`.",
                fix="Pass it by environment, restart the program, change the secret.",
                verify="No command line holds one of our secrets.",
                source="https://man7.org/linux/man-pages/man5/proc_pid_cmdline.5.html",
            ),
        ),
        Check(
            "security.listeners",
            "Do our services listen on this machine alone?",
            listeners,
            about=Knowledge(
                symptom="Someone in the same network opens the private page.",
                evidence="The address and port of each listener of ours that is not loopback.",
                cause="A service listens on all addresses.",
                fix="Bind it to 127.0.0.1.",
                verify="Every port of ours is bound to a loopback address.",
                source="https://man7.org/linux/man-pages/man7/ip.7.html",
            ),
        ),
        Check(
            "security.door",
            "Are private pages hidden behind the public URL?",
            public_door,
            needs=(*knock.service(world), *knock.tunnel(world)),
            unless=("env.public-url", "webhook.certificate"),
            about=Knowledge(
                symptom="Strangers see live calls and metrics.",
                evidence="The private paths that answer through the public URL as to a stranger.",
                cause="The public door answers more than the webhook and the media stream.",
                fix="Answer 404 to everyone but this machine.",
                verify="Private paths give 404 through the public URL.",
                source="docs/architecture.md",
                vantage="public URL",
            ),
        ),
        Check(
            "security.production",
            "Do the settings fit the environment's name?",
            production,
            about=Knowledge(
                symptom="A production machine answers calls with a simulator, or keeps every voice.",
                evidence="Under OPS_ENV=production: DEBUG, RECORD_CALLS and the simulated vendors.",
                cause="Development settings were carried over.",
                fix="Correct the named settings in ops.toml or .env.",
                verify="Under OPS_ENV=production nothing is simulated, debugged or recorded.",
                source=".env.example",
            ),
        ),
    )
