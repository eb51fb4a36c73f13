"""The user's own stack: `[services.NAME]` of ops.toml as Service values, all faults at once. Pure.

[services.web]
command = "npm run dev"          # or a list of words
cwd = "webapp"                   # below the project's folder
port = 3000                      # also given to the program as PORT
ready = "/health"                # a path, "tcp", "log:REGEX", "command:LINE", "alive";
                                 # default: its own socket on `port`, else that it lives
liveness = "tcp"                 # the same forms; default: as `ready`
after = ["api"]
env_file = "webapp/.env"
stop_signal = "SIGTERM"
grace = 10                       # seconds until SIGKILL
restart = "always"               # or "on-failure", "never"
replicas = 1                     # web-1, web-2 …, on port, port + 1 …
"""

from __future__ import annotations

import difflib
import graphlib
import re
import shlex
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from ops.errors import Fault
from ops.services import Ready, Restart, Service

SOURCE = "ops.toml"
KEYS = (
    "command", "cwd", "port", "ready", "liveness", "after", "env_file", "stop_signal", "grace", "restart",
    "replicas",
)  # fmt: skip
MOST_REPLICAS = 64
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")
RESERVED = ("supervisor", "code-watcher", "latest")  # their files in logs/ would be mixed up
NEEDS_PORT = "add port = …, or use log:, command: or alive"
EnvReader = Callable[[Path], Mapping[str, str]]


@dataclass
class Reading:
    """One `[services.NAME]` table while it is read, and what was wrong with it."""

    name: str
    rows: Mapping[str, Any]
    faults: list[Fault] = field(default_factory=list)

    def fault(self, key: str, message: str, fix: str) -> None:
        where = f"services.{self.name}.{key}" if key else f"services.{self.name}"
        self.faults.append(Fault(where, f"{SOURCE} [services.{self.name}] {message}", fix, SOURCE))

    def expected(self, key: str, what: str) -> None:
        self.fault(key, f"{key}: expected {what}, got {self.rows[key]!r}.", f"write {key} as {what}")

    def number(self, key: str, low: float, high: float, default: float) -> float:
        value = self.rows.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            self.expected(key, f"a number from {low:g} to {high:g}")
            return default
        return value

    def whole(self, key: str, low: int, high: int) -> int | None:
        value = self.rows.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.expected(key, f"a whole number from {low} to {high}")
            return None
        return value

    def text(self, key: str) -> str | None:
        value = self.rows.get(key)
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        self.expected(key, "a text")
        return None


def own_stack(
    table: Mapping[str, Any], root: Path, read_env: EnvReader, common: Mapping[str, str]
) -> tuple[tuple[Service, ...], tuple[Fault, ...]]:
    """The services in `table["services"]` and every fault found; `common` goes to each of them."""
    sections = table.get("services", {})
    if not isinstance(sections, Mapping):
        fault = Fault("services", f"{SOURCE}: services is not a table.", "write [services.NAME]", SOURCE)
        return (), (fault,)
    services: list[Service] = []
    faults: list[Fault] = []
    replicas = {str(name): _replica_names(str(name), rows) for name, rows in sections.items()}
    for name, rows in sections.items():
        reading = Reading(str(name), rows if isinstance(rows, Mapping) else {})
        if not isinstance(rows, Mapping):
            reading.fault("", "is not a table.", f"write [services.{name}] and one row a key")
        else:
            services += _services(reading, root, read_env, common, replicas)
        faults += reading.faults
    return tuple(services), (*faults, *_together(services))


def _services(
    reading: Reading,
    root: Path,
    read_env: EnvReader,
    common: Mapping[str, str],
    replicas: Mapping[str, tuple[str, ...]],
) -> list[Service]:
    _known_keys(reading)
    if not NAME.fullmatch(reading.name) or reading.name in RESERVED:
        reading.fault("", "has a name that cannot be used.", "choose letters, digits, - and _ for it")
    port = reading.whole("port", 1, 65535)
    reading.whole("replicas", 1, MOST_REPLICAS)
    names = replicas[reading.name]
    cwd = root / (reading.text("cwd") or ".")
    env_file = reading.text("env_file")
    try:
        own = dict(read_env(root / env_file)) if env_file else {}
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        reading.fault(
            "env_file", f"env_file {env_file} cannot be read: {reason}.", "make it a readable text file"
        )
        own = {}
    after = _after(reading, replicas)
    ready = _probe(reading, "ready", port) or Ready("tcp" if port else "alive")
    liveness = _probe(reading, "liveness", port)
    one = Service(
        name=reading.name,
        argv=_command(reading),
        cwd=cwd,
        ready=ready,
        liveness=liveness,
        after=after,
        stop_signal=_stop_signal(reading),
        grace=float(reading.number("grace", 0, 3600, 10.0)),
        restart=_restart(reading),
    )
    if port is None:
        return [replace(one, name=name, env={**common, **own}) for name in names]
    if len(names) > 1:
        own.pop("PORT", None)  # replicas cannot share the port of one env file
    return [
        replace(one, name=name, ports=(port + n,), env={**common, "PORT": f"{port + n}", **own})
        for n, name in enumerate(names)
    ]


def _known_keys(reading: Reading) -> None:
    for key in reading.rows:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"choose from: {', '.join(KEYS)}"
            reading.fault(str(key), f"has an unknown key {key}.", hint)


def _command(reading: Reading) -> tuple[str, ...]:
    command = reading.rows.get("command")
    if command is None:
        reading.fault("command", "has no command.", 'add command = "…", or a list of words')
    elif isinstance(command, str):
        try:
            words = tuple(shlex.split(command))
        except ValueError as problem:
            reading.fault("command", f"command cannot be read: {problem}.", "correct its quotes")
            return ("",)
        if words:
            return words
        reading.expected("command", "a text or a list of texts, not empty")
    elif isinstance(command, list) and command and all(isinstance(w, str) for w in command) and command[0]:
        return tuple(command)
    else:
        reading.expected("command", "a text or a list of texts, not empty")
    return ("",)


def _probe(reading: Reading, key: str, port: int | None) -> Ready | None:
    text = reading.text(key)
    if text is None:
        return None
    kind, colon, argument = text.partition(":")
    if text.startswith("/") or kind == "http":
        path = text if text.startswith("/") else argument
        if not path.startswith("/"):
            reading.expected(key, 'a path such as "/health"')
        elif port is None:
            reading.fault(key, f"{key} = {text!r} needs a port.", NEEDS_PORT)
        return Ready("http", path)
    if text == "tcp":
        if port is None:
            reading.fault(key, f"{key} = {text!r} needs a port.", NEEDS_PORT)
        return Ready("tcp")
    if text == "alive":
        return Ready("alive")
    if kind == "log" and colon and argument:
        try:
            re.compile(argument)
        except re.error as problem:
            reading.fault(key, f"{key}: {argument!r} is not a regular expression: {problem}.", "correct it")
        return Ready("log", argument)
    if kind == "command" and colon and argument.strip():
        try:
            shlex.split(argument)
        except ValueError as problem:
            reading.fault(key, f"{key}: {argument!r} cannot be read: {problem}.", "correct its quotes")
        return Ready("command", argument)
    reading.expected(key, 'a path such as "/health", "tcp", "log:REGEX", "command:LINE" or "alive"')
    return None


def _after(reading: Reading, replicas: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    value = reading.rows.get("after", [])
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        reading.expected("after", "a list of service names")
        return ()
    found: list[str] = []
    for name in names:
        if name not in replicas or name == reading.name:
            near = difflib.get_close_matches(name, [one for one in replicas if one != reading.name], 1)
            hint = f"did you mean {near[0]}?" if near else "name another service of ops.toml"
            reading.fault("after", f"after names {name!r}, which is no other service.", hint)
        else:
            found += replicas[name]
    return tuple(found)


def _stop_signal(reading: Reading) -> str:
    value = reading.rows.get("stop_signal", "SIGTERM")
    name = value.upper() if isinstance(value, str) else ""
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name in signal.Signals.__members__:
        return name
    reading.expected("stop_signal", "the name of a signal, such as SIGTERM or SIGINT")
    return "SIGTERM"


def _restart(reading: Reading) -> Any:
    value = reading.rows.get("restart", "always")
    if value in get_args(Restart):
        return value
    reading.expected("restart", " or ".join(f'"{word}"' for word in get_args(Restart)))
    return "always"


def _replica_names(name: str, rows: Any) -> tuple[str, ...]:
    count = rows.get("replicas", 1) if isinstance(rows, Mapping) else 1
    if isinstance(count, bool) or not isinstance(count, int) or not 1 < count <= MOST_REPLICAS:
        return (name,)
    return tuple(f"{name}-{number}" for number in range(1, count + 1))


def _together(services: list[Service]) -> list[Fault]:
    """What is wrong only when the services are seen together: a port twice, a circle."""
    faults = []
    holders: dict[int, str] = {}
    for service in services:
        for port in service.ports:
            if port in holders:
                faults.append(
                    Fault(
                        f"services.{service.name}.port",
                        f"{SOURCE}: {holders[port]} and {service.name} both have port {port}.",
                        "give each its own",
                        SOURCE,
                    )
                )
            holders[port] = service.name
    try:
        graphlib.TopologicalSorter({one.name: one.after for one in services}).prepare()
    except graphlib.CycleError as problem:
        circle = " after ".join(problem.args[1])
        faults.append(
            Fault("services.after", f"{SOURCE}: services wait for each other: {circle}.", "break it", SOURCE)
        )
    return faults
