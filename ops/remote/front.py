"""What stands before the calls of one host: its slots, and the proxies that lead calls to them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.remote import units
from ops.remote.hosts import Host
from ops.remote.proxy import SOCKET, Proxy, Server, configuration

FULL = 100  # weight of a slot that gets new calls


@dataclass(frozen=True)
class Front:
    """One host's slots. `proxies` are the hosts whose role it is, before all of `behind`; without any,
    HAProxy stands on the host itself."""

    host: Host
    proxy: Proxy
    proxies: tuple[Host, ...]
    behind: tuple[Host, ...]

    @property
    def ports(self) -> dict[str, int]:
        return units.ports(self.host.slot_port)

    def looking(self, release: str | None) -> dict[str, Any]:
        """The step that asks which slot a release would get; None: the one that was in force before."""
        return {"do": "look", "id": release, "ports": self.ports}

    def starting(self, release: str, slot: str, base: str, *, deep: bool) -> dict[str, Any]:
        """The step that runs and proves a release in a slot."""
        address = "0.0.0.0" if self.proxies else "127.0.0.1"
        env = {
            name: units.environment(port, address, _server(self.host, name))
            for name, port in self.ports.items()
        }
        unit = units.template(base, self.proxy.drain_hours)
        return {
            "do": "slot", "id": release, "slot": slot, "ports": self.ports, "user": units.USER, "unit": unit,
            "env": env, "deep": deep,
        }  # fmt: skip

    def draining(self) -> dict[str, Any]:
        """The step that lets all other slots finish."""
        return {"do": "drain", "ports": self.ports}

    def balancing(self, slot: str, known: Mapping[str, int] | None = None) -> dict[str, Any]:
        """The step that leads new calls to a slot of this host; other hosts keep the weights they have."""
        servers = []
        for host in self.behind if self.proxies else (self.host,):
            address = (host.inside or host.address) if self.proxies else "127.0.0.1"
            for name, port in units.ports(host.slot_port).items():
                server = _server(host, name)
                mine = FULL if name == slot else 0
                weight = mine if host.name == self.host.name else (known or {}).get(server, 0)
                shown = f"[{address}]" if ":" in address else address
                servers.append(Server(server, shown, port, weight))
        config = configuration(self.proxy, servers)
        return {"do": "balance", "config": config, "socket": SOCKET, "ready": [_server(self.host, slot)]}


def before(host: Host, proxy: Proxy | None, inventory: Mapping[str, Host]) -> Front | None:
    """What stands before a host; None where ops.toml has no [proxy]."""
    if proxy is None:
        return None
    proxies = tuple(one for one in inventory.values() if one.role == "proxy")
    behind = tuple(one for one in inventory.values() if one.role != "proxy")
    if host.name not in inventory:
        behind += (host,)
    return Front(host, proxy, proxies, behind)


def _server(host: Host, slot: str) -> str:
    return f"{host.name}-{slot}"
