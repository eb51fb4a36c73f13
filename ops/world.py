"""World: all that a check may know before it asks: the settings and what runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from ops import services
from ops.config import Settings
from ops.services import Service
from ops.values import is_loopback


@dataclass(frozen=True)
class World:
    """Settings, the run state of a stack that lives (None when none does), and today's date.

    `stack` is the document of logs/run/stack.json; `table` the services that belong to the stack.
    """

    settings: Settings
    today: date
    stack: Mapping[str, Any] | None = None
    table: tuple[Service, ...] = field(default=(), repr=False)

    @staticmethod
    def of(settings: Settings, *, today: date, stack: Mapping[str, Any] | None = None) -> World:
        return World(settings, today, stack, services.table(settings))

    def mode(self, vendor: str) -> str:
        """LIVE or SIMULATED, as every screen says it."""
        return self.settings.vendors.get(vendor, "error").upper()

    @property
    def running(self) -> Mapping[str, Mapping[str, Any]]:
        """The services of the running stack by name, as its run state has them."""
        return {str(one.get("name")): one for one in (self.stack or {}).get("services", ())}

    @property
    def own_stack(self) -> bool:
        """Whether the stack is the user's own, from ops.toml."""
        return bool(self.settings.table.get("services"))

    def stand_in(self, address: str) -> Service | None:
        """The service of this stack that answers at a loopback address; None when it is someone else's."""
        try:
            port = urlsplit(address).port
        except ValueError:
            return None
        ours = (one for one in self.table if port in one.ports and one is not self.bridge)
        return next(ours, None) if is_loopback(address) else None

    @property
    def bridge(self) -> Service | None:
        """The service behind the public door: the one that listens on WEBSOCKET_PORT."""
        return next((one for one in self.table if self.settings.websocket_port in one.ports), None)

    @property
    def has_way_in(self) -> bool:
        """Whether calls are meant to reach this stack: by PUBLIC_URL or by a tunnel."""
        settings = self.settings
        return bool(
            settings.public_url
            or settings.ngrok_api_url
            or settings.vendors.get("ngrok") == "live"
            or self.stand_in(settings.ngrok_api)
        )
