"""`inv start --serve`: becomes the bridge itself, in the foreground: what a slot's systemd unit runs."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from ops.config import Settings
from ops.errors import Fault, SettingsError
from ops.processes.become import become
from ops.services import table

BRIDGE = "websocket-server"


def serve(settings: Settings) -> NoReturn:
    """Replace this process by the service that `inv start --only websocket-server` would start.

    systemd then has the one process that it needs to know: SIGTERM drains it, exit code 0 says that the
    last call is over. It rotates its own logs, since no supervisor does. Raises SettingsError where nothing
    can stand in front of it.
    """
    service = next((one for one in table(settings) if one.name == BRIDGE), None)
    faults = []
    if service is None or settings.table.get("services"):
        message = "The stack of ops.toml has no bridge of ours that a slot could run."
        faults.append(Fault("services", message, "run it with inv start", "ops.toml"))
    if settings.public_url is None:
        message = (
            "PUBLIC_URL is not set: a slot stands behind a proxy, and its calls come through that address."
        )
        faults.append(Fault("PUBLIC_URL", message, "set it to the proxy's origin", ".env"))
    if faults or service is None:
        raise SettingsError(tuple(faults), settings.vendors)
    become(replace(service, argv=(*service.argv, "--keep-logs")))
