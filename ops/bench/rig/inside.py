"""Holds the hosts of a rig: a program for `unshare`, PID 1 of its own namespaces, of one file.

It reads one JSON request on standard input, answers with one JSON line when all hosts boot, and ends when
standard input does: whoever started it has then closed it, or died. With it go its mounts, networks and
processes; the control groups, which the kernel keeps, it removes itself.

    request   {"token": …, "hosts": [{"name": …, "address": "198.18.7.11/24"}], "gateway": "198.18.7.1",
               "key": public key that may log in as root, "lower": folder that is the hosts' disk,
               "binds": what the hosts see read-only (see systemd-nspawn(1)), "folder": removed at the end}
    answer    {"hosts": {name: public host key}} or {"error": what failed}
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

HOLD = Path("/run/rig")  # on a file system in memory that only these namespaces see
GONE_WITHIN = 10.0  # seconds for the hosts' processes to end
SSHD = """\
HostKey /etc/ssh/rig_host_key
AuthorizedKeysFile /etc/ssh/rig_authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM yes
UseDNS no
MaxStartups 100
Subsystem sftp internal-sftp
"""
UNITS = ("ssh.service", "sshd.service")  # Debian's name and everybody else's: all that starts by itself


def main() -> None:
    """Build what the request asks for, hold it until standard input ends, take it down."""
    if os.getpid() != 1:
        sys.exit("This holds the hosts of a rig and wants a process namespace of its own: see outside.py.")
    request: dict[str, Any] = json.loads(sys.stdin.readline())
    groups = [Path(root) / request["token"] for root in control_groups()]
    try:
        try:
            keys = {}
            prepare()
            for host in request["hosts"]:
                wire(host, request["gateway"])
                keys[host["name"]] = disk(host, request)
                boot(host, request, groups)
            tell({"hosts": keys})
        except (OSError, subprocess.CalledProcessError) as problem:
            said = getattr(problem, "stderr", b"") or b""
            tell({"error": f"{problem} {said.decode('utf-8', 'replace').strip()}".strip()})
            return
        sys.stdin.read()
    finally:
        end_all()
        for group in groups:
            remove(group)
        shutil.rmtree(request["folder"], ignore_errors=True)


def end_all() -> None:
    """End whatever is below PID 1 of this namespace, as its own end would, and take leave of it: an orphan
    falls to PID 1, and holds its control group until then."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def prepare() -> None:
    """A private /run, and the bridge; `outside` is the link to whoever asked, who puts it there."""
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    Path("/run/netns").mkdir()
    HOLD.mkdir()
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "bridge", "type", "bridge")
    run("ip", "link", "set", "bridge", "up")


def wire(host: dict[str, Any], gateway: str) -> None:
    """A network namespace for a host, with eth0 on the bridge; its other end here is named as the host."""
    name = host["name"]
    run("ip", "netns", "add", name)
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
    run("ip", "link", "set", name, "master", "bridge", "up")
    for words in (
        ("link", "set", "lo", "up"),
        ("address", "add", host["address"], "dev", "eth0"),
        ("link", "set", "eth0", "up"),
        ("route", "add", "default", "via", gateway),
    ):
        run("ip", "-n", name, *words)


def disk(host: dict[str, Any], request: dict[str, Any]) -> str:
    """A host's root: the lower folder, covered by memory; only sshd starts by itself. Its public host key."""
    here = HOLD / str(host["name"])
    for part in ("upper", "work", "root"):
        (here / part).mkdir(parents=True)
    root = here / "root"
    layers = f"lowerdir={request['lower']},upperdir={here / 'upper'},workdir={here / 'work'}"
    run("mount", "-t", "overlay", "overlay", "-o", layers, str(root))
    etc = root / "etc"
    for name, text in {
        "machine-id": f"{secrets.token_hex(16)}\n",
        "hostname": f"{host['name']}\n",
        "ssh/sshd_config": SSHD,
        "ssh/rig_authorized_keys": f"{request['key']}\n",
    }.items():
        replace(etc / name, text)
    key = etc / "ssh/rig_host_key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host["name"], "-f", str(key))
    units = etc / "systemd/system"
    for wants in units.glob("*.wants"):
        for link in wants.iterdir():
            link.unlink()
    start = units / "multi-user.target.wants"
    start.mkdir(exist_ok=True)
    unit = next(name for name in UNITS if (root / "lib/systemd/system" / name).exists())
    (start / unit).symlink_to(f"/lib/systemd/system/{unit}")
    return key.with_suffix(".pub").read_text().strip()


def boot(host: dict[str, Any], request: dict[str, Any], groups: list[Path]) -> None:
    """Start a host's systemd in control groups of its own: hosts that share one would share their units."""
    name = host["name"]
    mine = [group / name for group in groups]
    for group in mine:
        group.mkdir(parents=True)

    def enter() -> None:
        for group in mine:
            (group / "cgroup.procs").write_text("0")

    binds = [f"--bind-ro={folder}" for folder in request["binds"]]
    with (HOLD / name / "log").open("wb") as log:
        subprocess.Popen(
            ["systemd-nspawn", "--quiet", f"--directory={HOLD / name / 'root'}", "--boot", "--register=no",
             "--keep-unit", f"--machine={name}", f"--hostname={name}", "--console=passive",
             f"--network-namespace-path=/run/netns/{name}", "--tmpfs=/root:mode=0700", *binds],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=enter,
        )  # fmt: skip


def control_groups() -> list[str]:
    """Our own group in each hierarchy that systemd manages: the named one, the unified one, or both."""
    mounted = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split()[:3]
        where = left.split()[4]
        if kind == "cgroup2":
            mounted[""] = where
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            mounted["name=systemd"] = where
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if names in mounted:
            found.append(mounted[names] + path.rstrip("/"))
    return found


def remove(group: Path) -> None:
    """Remove a tree of control groups; they are busy for a moment while their processes end."""
    until = time.monotonic() + GONE_WITHIN
    while group.exists() and time.monotonic() < until:
        for path, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(path).rmdir()
        if group.exists():
            time.sleep(0.02)


def replace(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # it may be a link out of the disk
    path.write_text(text)


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
