"""Who is meant by `-H a,b`: names and groups of ops.toml, aliases of ~/.ssh/config, user@host:port. Pure."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.errors import Fault

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", re.ASCII)
USER = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,63}", re.ASCII)
IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]{1,15})?", re.ASCII)
PATH = re.compile(r"/?(?!-)[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)
TARGET = re.compile(
    r"(?:(?P<user>[^@]*)@)?(?:\[(?P<ipv6>[^\]]*)\]|(?P<address>[^@:\[\]]*))(?::(?P<port>[^:]*))?"
)
KEYS = ("address", "user", "port", "path", "key", "jump", "env_file", "groups", "role", "inside", "slot_port")
EXPECTED = "a name from [hosts] of ops.toml or ~/.ssh/config, or user@host:port"


@dataclass(frozen=True)
class Host:
    """One machine: how people call it, and how it is reached.

    `address` is a host name, an IP address or an alias of ~/.ssh/config; None leaves the choice to that
    file. `path` holds the releases: absolute, or below the login's home. `jump` is a host to go through.
    A host with the role `proxy` has no slots of its own; `inside` is the address at which it reaches this
    one, whose first slot listens on `slot_port`.
    """

    name: str
    address: str
    user: str | None = None
    port: int | None = None
    path: str = "trunkline"
    key: str | None = None
    jump: str | None = None
    env_file: str | None = None
    groups: tuple[str, ...] = ()
    role: str = ""
    inside: str | None = None
    slot_port: int = 18081

    @property
    def target(self) -> tuple[object, ...]:
        return (self.user, self.address.lower(), self.port, self.path)


def choose(text: str, table: Mapping[str, Any]) -> tuple[tuple[Host, ...], tuple[Fault, ...]]:
    """The hosts that `-H TEXT` names, each once and in order, and every fault of the text and of [hosts]."""
    inventory, faults = read(table)
    words = [word.strip() for word in text.split(",")]
    chosen: dict[str, Host] = {}
    groups = {group for host in inventory.values() for group in host.groups}
    for word, times in Counter(words).items():
        if times > 1:
            faults.append(_fault(f"-H names {_shown(word)} twice.", "name each host once"))
        if word in inventory:
            chosen[word] = inventory[word]
        elif word in groups:
            chosen |= {host.name: host for host in inventory.values() if word in host.groups}
        else:
            host = parse(word)
            if host is None:
                faults.append(
                    _fault(f"-H: expected {EXPECTED}, got {_shown(word)}.", "correct the host name")
                )
            else:
                chosen[word] = host
    targets = Counter(host.target for host in chosen.values())
    for target in (target for target, times in targets.items() if times > 1):
        names = " and ".join(host.name for host in chosen.values() if host.target == target)
        faults.append(_fault(f"{names} are the same host.", "name each host once"))
    return tuple(chosen.values()), tuple(faults)


def parse(text: str, **more: Any) -> Host | None:
    """`user@host:port`, its parts checked; None where it is no such thing."""
    found = TARGET.fullmatch(text)
    if found is None or len(text) > 320:
        return None
    user, port = found["user"], found["port"]
    address = found["ipv6"] if found["ipv6"] is not None else found["address"]
    pattern = IPV6 if found["ipv6"] is not None else NAME
    if not pattern.fullmatch(address) or ".." in address or (user is not None and not USER.fullmatch(user)):
        return None
    if port is not None and not (re.fullmatch(r"\d{1,5}", port, re.ASCII) and 1 <= int(port) <= 65535):
        return None
    return Host(
        **{"name": text, "address": address, "user": user, "port": int(port) if port else None, **more}
    )


def read(table: Mapping[str, Any]) -> tuple[dict[str, Host], list[Fault]]:
    """The hosts of `[hosts.NAME]` in ops.toml, and what is wrong with them."""
    hosts: dict[str, Host] = {}
    faults: list[Fault] = []
    rows = table.get("hosts", {})
    if not isinstance(rows, Mapping):
        return {}, [_fault("[hosts] in ops.toml is not a table.", "write [hosts.NAME] and one row a value")]
    for name, row in rows.items():
        wrong = _faults(name, row)
        faults += wrong
        if not wrong:
            host = parse(str(row.get("address", name)), **_fields(name, row))
            assert host is not None  # _faults has looked
            hosts[name] = host
    for name in {group for host in hosts.values() for group in host.groups} & set(hosts):
        faults.append(_fault(f"ops.toml: {name} is a host and a group.", "rename one of them"))
    return hosts, faults


def _fields(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: row[key] for key in KEYS if key in row and key not in ("address", "groups")}
    return {"name": name, "groups": tuple(row.get("groups", ())), **given}


def _faults(name: str, row: Any) -> list[Fault]:
    title = f"[hosts.{name}]"
    if not NAME.fullmatch(name) or not isinstance(row, Mapping):
        return [_fault(f"ops.toml {_shown(title)} is no host.", "use letters, digits, dots and dashes")]
    found = []
    for key in row.keys() - set(KEYS):
        near = difflib.get_close_matches(key, KEYS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(KEYS)}"
        found.append(_fault(f"ops.toml {title} has an unknown row {_shown(key)}.", hint))
    groups = row.get("groups", [])
    wrong = {
        "address": parse(str(row.get("address", name))) is None,
        "user": "user" in row and not USER.fullmatch(str(row["user"])),
        "port": "port" in row and not (type(row["port"]) is int and 1 <= row["port"] <= 65535),
        "path": not PATH.fullmatch(str(row.get("path", "x"))) or ".." in str(row.get("path", "")).split("/"),
        "jump": "jump" in row and parse(str(row["jump"])) is None,
        "role": row.get("role", "") not in ("", "proxy"),
        "inside": not _is_address(str(row.get("inside", "x"))),
        "slot_port": not (type(first := row.get("slot_port", 1024)) is int and 1024 <= first <= 65000),
        "key": not isinstance(row.get("key", ""), str),
        "env_file": not isinstance(row.get("env_file", ""), str),
        "groups": not isinstance(groups, list) or not all(NAME.fullmatch(str(group)) for group in groups),
    }
    for key in (key for key, is_wrong in wrong.items() if is_wrong):
        came = _shown(str(row.get(key, name)))
        found.append(_fault(f"ops.toml {title} {key} cannot be {came}.", f"correct {key}"))
    return found


def _is_address(text: str) -> bool:
    return bool(NAME.fullmatch(text) or (":" in text and IPV6.fullmatch(text))) and ".." not in text


def _shown(text: str) -> str:
    return repr(text[:80])


def _fault(message: str, fix: str) -> Fault:
    return Fault("hosts", message, fix, "ops.toml" if "ops.toml" in message else "-H")
