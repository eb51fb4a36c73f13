"""Becomes a service: this process is replaced by it, and whoever started us watches it, such as systemd."""

from __future__ import annotations

import os
from typing import NoReturn

from ops.processes.environment import for_service
from ops.services import Service

SYSTEMD = "NOTIFY_SOCKET"  # where systemd wants to be told that a service is ready (sd_notify(3))


def become(service: Service) -> NoReturn:
    """Run this service in place of our own program, with what the supervisor would give it."""
    told = {SYSTEMD: os.environ[SYSTEMD]} if SYSTEMD in os.environ else {}
    os.chdir(service.cwd)
    os.execve(service.argv[0], service.argv, for_service(service, told))
