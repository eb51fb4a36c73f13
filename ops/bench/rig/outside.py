"""Builds a rig, tells where its hosts are, cuts and mends their links, and takes it down."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ops.bench.rig import inside
from ops.errors import OpsError

CHECKOUT = Path(__file__).resolve().parents[3]
PROGRAMS = ("unshare", "nsenter", "ip", "systemd-nspawn", "sshd", "ssh-keygen")
APART = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
TRIAL = (
    "mount -t tmpfs tmpfs /run && mkdir /run/u /run/w /run/m && ip link add name bridge type bridge"
    " && mount -t overlay overlay -o lowerdir=/,upperdir=/run/u,workdir=/run/w /run/m"
)
PACKAGES = "apt-get install systemd-container openssh-server iproute2"
SEEN = "/opt/checkout"  # where the hosts see the checkout for everybody, beside its own path
MACHINE = "--machine="
INITS = ("systemd", "init")
UP = 30.0  # seconds for the hosts to boot and answer SSH
DOWN = 20.0  # seconds for the keeper to end


@dataclass(frozen=True)
class RigHost:
    """A host: its address and host key, and its PID 1 as numbered here."""

    name: str
    address: str
    host_key: str
    leader: int

    @property
    def root(self) -> Path:
        """Its files, as seen from here."""
        return Path(f"/proc/{self.leader}/root")

    def run(self, *argv: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a program on it as root, past the network; its exit code is the caller's matter."""
        return subprocess.run(
            ["nsenter", f"--target={self.leader}", "--all", "--", *argv],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        """Everything that runs on it, numbered as here."""
        return psutil.Process(self.leader).children(recursive=True)


@dataclass(frozen=True)
class Rig:
    """Running hosts: the rig's own name, our address on their network, and the key of its root logins."""

    token: str
    hosts: tuple[RigHost, ...]
    gateway: str
    key: Path
    keeper: int

    def cut(self, host: RigHost) -> None:
        """Take the host's link down: nothing arrives any more, and nobody is told."""
        self._link(host, "down")

    def mend(self, host: RigHost) -> None:
        self._link(host, "up")

    def known_hosts(self) -> str:
        """The text of a known_hosts file."""
        return "".join(f"{host.address} {' '.join(host.host_key.split()[:2])}\n" for host in self.hosts)

    def _link(self, host: RigHost, state: str) -> None:
        _run("nsenter", f"--target={self.keeper}", "--net", "--", "ip", "link", "set", host.name, state)


def obstacle() -> str | None:
    """Why no rig can be built here, as one sentence; None where it can."""
    if sys.platform != "linux":
        return "The rig of hosts needs Linux."
    if os.geteuid() != 0:
        return "The rig of hosts needs root: it makes network namespaces and mounts."
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"The rig of hosts needs {', '.join(missing)} ({PACKAGES})."
    tried = subprocess.run([*APART, "sh", "-c", TRIAL], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"The rig of hosts may not make namespaces and mounts here: {tried.stderr.strip()}."
    if not inside.control_groups():
        return "The rig of hosts needs control groups, and none are mounted here."
    return None


@contextmanager
def rig(count: int = 3, *, lower: Path = Path("/")) -> Iterator[Rig]:
    """So many fresh hosts, host1 first, that answer SSH; nothing of them is left afterwards.

    `lower` is the folder that is their disk: this machine's own, or one made by debootstrap. The checkout
    and its Python are there to read. Raises OpsError when a host does not come up.
    """
    token = f"trunkline-rig-{secrets.token_hex(4)}"
    folder = Path(tempfile.mkdtemp(prefix=f"{token}-"))
    try:
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", token, "-f", str(folder / "id"))
        with (folder / "log").open("wb") as log:
            keeper = subprocess.Popen(
                [*APART, sys.executable, inside.__file__],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip
        try:
            yield _built(keeper, token, folder, count, lower)
        finally:
            _quietly("ip", "link", "delete", link_name(token))  # the kernel would, some moments later
            _end(keeper)
            for root in inside.control_groups():
                inside.remove(Path(root) / token)  # the keeper has, but for one that was killed
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _built(keeper: subprocess.Popen[str], token: str, folder: Path, count: int, lower: Path) -> Rig:
    net = _free_net()
    addresses = {f"host{number}": f"{net}.{10 + number}" for number in range(1, count + 1)}
    request = {
        "token": token, "gateway": f"{net}.1", "key": (folder / "id.pub").read_text().strip(),
        "hosts": [{"name": name, "address": f"{address}/24"} for name, address in addresses.items()],
        "lower": str(lower), "binds": _binds(lower), "folder": str(folder),
    }  # fmt: skip
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    keeper.stdin.write(json.dumps(request) + "\n")
    keeper.stdin.flush()
    answer = json.loads(keeper.stdout.readline() or "{}")
    if "hosts" not in answer:
        told = answer.get("error") or (folder / "log").read_text().strip()[-400:]
        raise OpsError(f"The rig of hosts cannot be built: {told}", fix="see what it says")
    _connect(keeper.pid, link_name(token), f"{net}.1/24")
    leaders = _leaders(keeper, count)
    hosts = tuple(
        RigHost(name, address, answer["hosts"][name], leaders[name]) for name, address in addresses.items()
    )
    for host in hosts:
        _wait_for(host, keeper)
    return Rig(token, hosts, f"{net}.1", folder / "id", keeper.pid)


def _binds(lower: Path) -> list[str]:
    """What a host shall see of this machine beside its disk; its own /tmp and /root hide theirs."""
    if lower != Path("/"):
        return []
    python = Path(sys.base_prefix)
    return [
        str(CHECKOUT),
        f"{CHECKOUT}:{SEEN}",
        *([str(python)] if python.parts[1] in ("root", "tmp") else []),
    ]


def link_name(token: str) -> str:
    """Our end of the link to a rig's network; the kernel allows 15 characters."""
    return f"tl{token[-8:]}"


def _connect(keeper: int, name: str, address: str) -> None:
    """A link from here to the bridge of the keeper; it goes when either end's namespace goes."""
    _run("ip", "link", "add", name, "type", "veth", "peer", "name", "outside", "netns", str(keeper))
    _run("ip", "address", "add", address, "dev", name)
    _run("ip", "link", "set", name, "up")
    _run(
        "nsenter",
        f"--target={keeper}",
        "--net",
        "--",
        "ip",
        "link",
        "set",
        "outside",
        "master",
        "bridge",
        "up",
    )


def _leaders(keeper: subprocess.Popen[str], count: int) -> dict[str, int]:
    """PID 1 of each host, by its name."""
    until = time.monotonic() + UP
    while True:
        family = psutil.Process(keeper.pid).children(recursive=True)
        found = {name: one.pid for one in family if (name := _host_of(one)) is not None}
        if len(found) == count:
            return found
        _still(keeper, until, "no systemd has begun")


def _host_of(process: psutil.Process) -> str | None:
    """The host whose PID 1 this is: systemd, right below the nspawn that was told the host's name."""
    with suppress(psutil.NoSuchProcess):
        words, above = process.cmdline(), process.parent()
        if above is not None and words and Path(words[0]).name in INITS:
            return next((word[len(MACHINE) :] for word in above.cmdline() if word.startswith(MACHINE)), None)
    return None


def _wait_for(host: RigHost, keeper: subprocess.Popen[str]) -> None:
    until = time.monotonic() + UP
    while True:
        try:
            with socket.create_connection((host.address, 22), 1) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        _still(keeper, until, f"{host.name} does not answer SSH")


def _still(keeper: subprocess.Popen[str], until: float, told: str) -> None:
    if keeper.poll() is not None or time.monotonic() > until:
        raise OpsError(
            f"The rig of hosts does not come up: {told}.", fix="try `systemd-nspawn --boot` by hand"
        )
    time.sleep(0.02)


def _end(keeper: subprocess.Popen[str]) -> None:
    """Close its standard input; it then ends with all that it holds. A stubborn one is killed with it all."""
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        keeper.stdin.close()
        keeper.wait(DOWN)
    except (OSError, subprocess.TimeoutExpired):
        keeper.kill()  # unshare; its child, PID 1 of all others, is killed with it
        keeper.wait()
    finally:
        keeper.stdout.close()


def _free_net() -> str:
    """Three numbers of 198.18.0.0/15, which belongs to no network (RFC 2544), and which nobody here has."""
    taken = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True).stdout
    while True:
        net = f"198.{random.SystemRandom().choice((18, 19))}.{random.SystemRandom().randrange(256)}"
        if f"{net}." not in taken:
            return net


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def _quietly(*argv: str) -> None:
    subprocess.run(argv, capture_output=True, check=False)


def _run(*argv: str) -> None:
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as problem:
        raise OpsError(f"{' '.join(argv)}: {problem.stderr.strip()}", fix="see what it says") from None
