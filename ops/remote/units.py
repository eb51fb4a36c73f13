"""What systemd runs on a host: the slots, their ports and environment, and their one template unit. Pure."""

from __future__ import annotations

import re

from ops.errors import OpsError

SLOTS = ("blue", "green", "amber", "violet")  # two take turns; the others while calls of earlier ones go on
USER = "trunkline"
FIRST_PORT = 18081
PATH = re.compile(r"/(?!-)[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)


def ports(first: int = FIRST_PORT) -> dict[str, int]:
    """The slots by name, each with the port of its bridge."""
    return {name: first + index for index, name in enumerate(SLOTS)}


def environment(port: int, address: str, name: str) -> str:
    """What a slot has of its own; everything else comes with the release's environment file."""
    return f"WEBSOCKET_PORT={port}\nWEBSOCKET_ADDRESS={address}\nBRIDGE_NAME={name}\n"


def template(base: str, drain_hours: float) -> str:
    """The unit `trunkline@.service` for the releases below `base`.

    SIGTERM goes to the keeper alone, which has the bridge drain; after `drain_hours` whatever is left is
    killed. Of the file system a slot may write its logs alone (systemd.exec(5), systemd-analyze security).
    """
    if not PATH.fullmatch(base) or ".." in base.split("/"):
        raise OpsError(
            f"No unit can be made for {base[:80]!r}.", fix='set path like "/srv/trunkline" in ops.toml'
        )
    return UNIT.format(base=base, user=USER, seconds=round(drain_hours * 3600))


UNIT = """\
# Written by deploy: changes here are lost.
[Unit]
Description=Trunkline, slot %i
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=120
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=all
User={user}
Group={user}
WorkingDirectory={base}/slots/%i
EnvironmentFile={base}/slots/%i.env
ExecStart={base}/slots/%i/inv start --serve
KillMode=mixed
KillSignal=SIGTERM
TimeoutStartSec=60
TimeoutStopSec={seconds}
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=2
LimitNOFILE=65536
OOMPolicy=continue

UMask=0077
ReadWritePaths={base}/shared/logs
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
PrivateIPC=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
