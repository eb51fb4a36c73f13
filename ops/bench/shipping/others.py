"""pyinfra and Ansible doing the steps of a deploy, each as its own documents say.

Both are given the release and its wheels as archives that lie here already. They bring them to the host,
unpack the release beside the others, make the environment with uv unless it is there, try the release, and
switch. What else Trunkline does (each file verified by its hash, lock, record, units and slots) is not asked.
"""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ops.bench.rig.outside import Rig
from ops.bench.shipping.desk import Desk
from ops.errors import OpsError

PATIENCE = 240.0  # seconds for one run
INSTALL = (
    "test -e {venv}/done || ( rm -rf {venv} && mkdir -p {venv}/wheels"
    " && tar -xf {base}/wheels.tar -C {venv}/wheels"
    " && uv venv --quiet --allow-existing --python /usr/bin/python3 {venv}"
    " && uv pip install --quiet --offline --no-index --find-links {venv}/wheels --require-hashes"
    " --python {venv}/bin/python -r {release}/requirements.lock"
    " && cksum <{release}/requirements.lock >{venv}/.lock && touch {venv}/done )"
)
UNPACK = (
    "test -e {release}/COMPLETE || ( mkdir -p {release} && tar -xf {base}/release.tar -C {release}"
    " && mkdir -p {release}/logs && ln -sfn {venv} {release}/.venv )"
)
TRY = "cd {release} && ./inv --list >/dev/null && touch COMPLETE"
SWITCH = "ln -sfn releases/{id} {base}/.next && mv -T {base}/.next {base}/current"
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  serial: [1, "100%"]
  tasks:
    - file: {{path: {base}, state: directory}}
    - copy: {{src: "{here}/wheels.tar", dest: {base}/wheels.tar}}
    - copy: {{src: "{here}/release.tar", dest: {base}/release.tar}}
    - shell: "{unpack}"
    - shell: "{install}"
    - shell: "{attempt}"
    - shell: "{switch}"
"""
DEPLOY = """\
from pyinfra.operations import files, server

files.directory(path="{base}")
files.put(src="{here}/wheels.tar", dest="{base}/wheels.tar")
files.put(src="{here}/release.tar", dest="{base}/release.tar")
server.shell(commands=["{unpack}", "{install}", "{attempt}", "{switch}"])
"""
INVENTORY = """\
hosts = [
    (address, {{"ssh_user": "root", "ssh_key": "{key}", "ssh_known_hosts_file": "{known}",
                "ssh_strict_host_key_checking": "yes"}})
    for address in {addresses!r}
]
"""


@dataclass(frozen=True)
class Other:
    """A tool, its folder, and what to type for some of the hosts."""

    name: str
    folder: Path
    argv: Callable[[int], list[str]]  # for so many hosts

    def deploy(self, desk: Desk, hosts: int) -> float:
        """Ship the last commit of the desk to so many hosts; seconds of the whole command."""
        base, release = f"/srv/{self.folder.name}", _pack(desk, self.folder)
        paths = {
            "base": base,
            "id": release,
            "here": self.folder,
            "release": f"{base}/releases/{release}",
            "venv": f"{base}/venv",
        }
        steps = {"unpack": UNPACK, "install": INSTALL, "attempt": TRY, "switch": SWITCH}
        filled = {name: text.format(**paths) for name, text in steps.items()}
        (self.folder / "playbook.yml").write_text(PLAYBOOK.format(**paths, **filled))
        (self.folder / "deploy.py").write_text(DEPLOY.format(**paths, **filled))
        environment = desk.environment | {"LC_ALL": "C.UTF-8", "ANSIBLE_NOCOWS": "1"}
        began = time.perf_counter()
        done = subprocess.run(
            self.argv(hosts), cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        if done.returncode:
            raise OpsError(
                f"{self.name} ended with {done.returncode}: {(done.stdout + done.stderr)[-800:]}",
                fix="run the same by hand",
            )
        return time.perf_counter() - began


def others(bin: Path, versions: dict[str, str], folder: Path, rig: Rig, desk: Desk) -> list[Other]:
    """Those that are installed, ready to ship to the hosts of a rig."""
    addresses = [host.address for host in rig.hosts]
    key, known = desk.home / ".ssh/id_ed25519", desk.home / ".ssh/known_hosts"
    folders = {name: folder / name for name in ("pyinfra", "ansible")}
    for path in folders.values():
        path.mkdir()
        (path / "hosts").write_text("\n".join(addresses) + "\n")
        (path / "inventory.py").write_text(INVENTORY.format(key=key, known=known, addresses=addresses))
    strict = f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes"

    def pyinfra(hosts: int) -> list[str]:
        limit = [f"--limit={address}" for address in addresses[:hosts]]
        return [str(bin / "pyinfra"), "-y", *limit, "inventory.py", "deploy.py"]

    def ansible(hosts: int) -> list[str]:
        limit = f"--limit={','.join(addresses[:hosts])}"
        login = ["--user=root", f"--private-key={key}", f"--ssh-common-args={strict}"]
        return [str(bin / "ansible-playbook"), "--inventory=hosts", limit, *login, "playbook.yml"]

    known_ones = {"pyinfra": ("pyinfra", pyinfra), "ansible": ("ansible-core", ansible)}
    return [
        Other(f"{package} {versions[package]}", folders[name], argv)
        for name, (package, argv) in known_ones.items()
        if package in versions
    ]


def _pack(desk: Desk, folder: Path) -> str:
    """The last commit and its wheels as archives; the release's name."""
    desk.git("archive", "--format=tar", f"--output={folder / 'release.tar'}", "HEAD")
    if not (folder / "wheels.tar").exists():
        fetched = next(path.parent for path in sorted((desk.root / "dist").glob("wheels/*/COMPLETE")))
        names = sorted(path.name for path in fetched.glob("*.whl"))
        subprocess.run(
            ["tar", "--create", f"--file={folder / 'wheels.tar'}", f"--directory={fetched}", *names],
            check=True, env=desk.environment,
        )  # fmt: skip
    return hashlib.sha256((folder / "release.tar").read_bytes()).hexdigest()[:12]
