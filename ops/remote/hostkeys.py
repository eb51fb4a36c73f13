"""Whom the known hosts files vouch for; a key they do not know, or know otherwise, is refused."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import paramiko

from ops.errors import Refused

USUAL = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts")


def files(ssh_config: dict[str, Any]) -> tuple[Path, ...]:
    """The known hosts files that OpenSSH would read for this host."""
    named = f"{ssh_config.get('userknownhostsfile', '')} {ssh_config.get('globalknownhostsfile', '')}".split()
    return tuple(Path(name).expanduser() for name in named or USUAL if name != "none")


def make_strict(client: paramiko.SSHClient, known_hosts: Iterable[Path], host: str) -> None:
    """Let this client talk only to a host whose key is in the files, and not marked as revoked there."""
    keys = client.get_host_keys()
    rows = [line.split() for path in known_hosts for line in _lines(path)]
    revoked = {row[3] for row in rows if row[0] == "@revoked" and len(row) > 3}
    for fields in (row for row in rows if not row[0].startswith("@")):
        try:
            entry = paramiko.hostkeys.HostKeyEntry.from_line(" ".join(fields[:3]))
        except paramiko.SSHException:
            continue  # a line that no one can read vouches for nobody
        if entry is not None and fields[2] not in revoked:
            for name in entry.hostnames:
                keys.add(name, entry.key.get_name(), entry.key)
    client.set_missing_host_key_policy(_Refuse(host, revoked))


def fingerprint(key: paramiko.PKey) -> str:
    """As ssh-keygen -l shows it: SHA256 and unpadded base64."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def changed(host: str, problem: paramiko.BadHostKeyException) -> Refused:
    """What to tell where a host shows another key than the one on file."""
    name = problem.hostname
    return Refused(
        f"{host} shows another host key than the one on file: {_told(problem.key)}, expected"
        f" {fingerprint(problem.expected_key)}. Either the host was set up anew or someone is in between.",
        fix=f"if the host was set up anew: ssh-keygen -R '{name}', then {_accept(name, problem.key)}",
        code="host-key-changed",
    )


class _Refuse(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # paramiko tells mypy nothing
    def __init__(self, host: str, revoked: set[str]) -> None:
        self._host = host
        self._revoked = revoked

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        if key.get_base64() in self._revoked:
            raise Refused(
                f"{self._host}: its host key {_told(key)} is marked @revoked in the known hosts.",
                fix="give the host a new key, and put that one into the known hosts",
                code="host-key-revoked",
            )
        raise Refused(
            f"{self._host}: its host key {_told(key)} is not known here.",
            fix=_accept(hostname, key),
            code="host-key-unknown",
        )


def _told(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {fingerprint(key)}"


def _accept(hostname: str, key: paramiko.PKey) -> str:
    bare, _, port = hostname.removeprefix("[").partition("]:")
    at = f"-p {port} {bare}" if port else bare
    return (
        f"compare {fingerprint(key)} with `ssh-keygen -lf` of the key on the host's own console;"
        f" if equal, accept it with `ssh {at}`"
    )


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return []
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if len(line.split()) >= 3 and not line.startswith("#")]
