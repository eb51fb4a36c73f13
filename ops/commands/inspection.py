"""What is the case here: settings with their source, env files, versions, ports, processes. Reads only."""

from __future__ import annotations

import platform
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import metadata
from typing import Any

from ops.config import Settings, variables
from ops.config.sources import ENV_FILES
from ops.journal.redact import Redactor
from ops.processes import ports
from ops.services import Service

LIBRARIES = ("invoke", "fabric", "websockets", "httpx", "twilio", "starlette", "uvicorn")


def inspect(settings: Settings, services: Iterable[Service], running: Mapping[str, Any]) -> dict[str, Any]:
    """The state as plain data; secrets are dots, whatever they stand in."""
    redactor = Redactor(settings.secrets)
    return {
        "settings": _settings(settings),
        "env_files": [_env_file(settings, name) for name in (*ENV_FILES, "ops.toml")],
        "versions": _versions(),
        "ports": [
            {**row, "holder": redactor.clean(row["holder"]) if row["holder"] else None}
            for row in _ports(services)
        ],
        "processes": [
            {**row, "command": redactor.clean(row["command"])}
            for service in running.get("services", ())
            for row in _tree(service)
        ],
    }


def rows(found: Mapping[str, Any]) -> Iterable[str]:
    """The same for people."""
    yield "settings (value, source):"
    for row in found["settings"]:
        yield f"  {row['name']:<32} {row['value']}  ({row['source']})"
    yield "files:"
    for row in found["env_files"]:
        yield f"  {row['file']:<32} {row['mode'] or 'absent'}"
    yield "versions: " + ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    yield "ports:"
    for row in found["ports"]:
        yield f"  {row['port']:<6} {row['service']:<20} {row['holder'] or 'free'}"
    yield "processes:" if found["processes"] else "processes: none"
    for row in found["processes"]:
        yield f"  {row['pid']:<8} {row['service']:<20} {row['command'][:160]}"


def _settings(settings: Settings) -> list[dict[str, str]]:
    defaults = {spec.name: spec.default for spec in fields(Settings)}
    found = []
    for name in variables():
        value = getattr(settings, name.lower())
        unset = "default" if value == defaults[name.lower()] else "stand-in of a simulated vendor"
        shown = "–" if value is None else str(value)
        found.append({"name": name, "value": shown, "source": settings.sources.get(name, unset)})
    return found


def _env_file(settings: Settings, name: str) -> dict[str, Any]:
    try:
        mode = f"{stat.S_IMODE((settings.root / name).stat().st_mode):04o}"
    except OSError:
        mode = None
    return {"file": name, "mode": mode}


def _versions() -> dict[str, str]:
    return {
        "trunkline": "0.1.0",
        "python": platform.python_version(),
        "system": f"{sys.platform} {platform.release()}",
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def _ports(services: Iterable[Service]) -> Iterable[dict[str, Any]]:
    owners = {port: service.name for service in services for port in service.ports}
    held = {one.port: ports.holder(one, ports.owner(one.inode)) for one in ports.listeners(owners)}
    for port, name in sorted(owners.items()):
        yield {"port": port, "service": name, "holder": str(held[port]) if port in held else None}


def _tree(service: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    import psutil

    try:
        top = psutil.Process(service["pid"])
        family = [top, *top.children(recursive=True)]
    except (psutil.Error, TypeError, ValueError):
        return
    for process in family:
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        yield {"service": service["name"], "pid": process.pid, "command": command}
