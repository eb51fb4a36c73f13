"""The supervisors side by side, each described as its own documents say: files, start, stop.

All get the same three services. Each may do its best: options against leaks are on where there are
any, everything else is as it comes.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.bench import service
from ops.bench.stage import VARIABLE

NAMES = ("a", "b", "c")
CHECKOUT = Path(__file__).resolve().parents[2]
DEKIT_INTERVAL = "20ms"


@dataclass(frozen=True)
class Scene:
    """One try: a folder of its own, a port for each service, whether they have helpers."""

    folder: Path
    ports: tuple[int, ...]
    token: str
    helpers: bool = False

    @property
    def starts(self) -> Path:
        """The file to which each start of a service adds a line."""
        return self.folder / "starts"

    def command(self, port: int) -> list[str]:
        more = ["helpers"] if self.helpers else []
        return [sys.executable, "-I", "-S", service.__file__, str(port), str(self.starts), *more]

    @property
    def services(self) -> dict[str, list[str]]:
        return {name: self.command(port) for name, port in zip(NAMES, self.ports, strict=True)}


@dataclass(frozen=True)
class Way:
    """How a tool runs a scene. Without `stop`, SIGTERM to what `start` started ends it: it stays in
    the foreground."""

    start: tuple[tuple[str, ...], ...]
    stop: tuple[str, ...] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tool:
    """One supervisor; `version` is None where it is not installed."""

    name: str
    version: str | None
    way: Callable[[Scene], Way]
    supervises: bool = True
    returns_ready: bool = False  # its start command promises to return when the services are ready


def tools(cache: Path, versions: Mapping[str, str]) -> tuple[Tool, ...]:
    """Ours first, then bare processes, then everybody else."""
    venv, npm = cache / "venv" / "bin", cache / "npm" / "node_modules" / ".bin"
    return (
        Tool("trunkline", "this checkout", _trunkline, returns_ready=True),
        Tool("bare", "-", _bare, supervises=False),
        Tool("dekit", versions.get("dekit-cli"), lambda scene: _dekit(venv, scene), returns_ready=True),
        Tool(f"dekit {DEKIT_INTERVAL}", versions.get("dekit-cli"), lambda s: _dekit(venv, s, DEKIT_INTERVAL)),
        Tool("pm2", versions.get("pm2"), lambda scene: _pm2(npm, scene), returns_ready=True),
        Tool("circus", versions.get("circus"), lambda scene: _circus(venv, scene)),
        Tool("supervisor", versions.get("supervisor"), lambda scene: _supervisor(venv, scene)),
        Tool("honcho", versions.get("honcho"), lambda scene: _honcho(venv, scene)),
    )


def _trunkline(scene: Scene) -> Way:
    rows = []
    for name, port in zip(NAMES, scene.ports, strict=True):
        command = json.dumps(scene.command(port))  # a JSON list of texts is a TOML one
        rows.append(
            f'[services.{name}]\ncommand = {command}\nport = {port}\nready = "/"\nenv_file = "bench.env"'
        )
    inv = (sys.executable, "-m", "invoke")
    return Way(
        start=((*inv, "start"),),
        stop=(*inv, "cleanup"),
        files={"ops.toml": "\n".join(rows) + "\n", "bench.env": f"{VARIABLE}={scene.token}\n"},
        links={"tasks.py": CHECKOUT / "tasks.py", "ops": CHECKOUT / "ops"},
    )


def _bare(scene: Scene) -> Way:
    return Way(start=tuple(tuple(command) for command in scene.services.values()))


def _honcho(venv: Path, scene: Scene) -> Way:
    rows = "".join(f"{name}: {shlex.join(command)}\n" for name, command in scene.services.items())
    return Way(start=((str(venv / "honcho"), "start"),), files={"Procfile": rows})


def _supervisor(venv: Path, scene: Scene) -> Way:
    here = scene.folder
    head = (
        f"[supervisord]\nlogfile={here}/supervisord.log\npidfile={here}/supervisord.pid\nchildlogdir={here}\n"
        f"[unix_http_server]\nfile={here}/s.sock\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{here}/s.sock\n"
    )
    rows = (
        f"[program:{name}]\ncommand={shlex.join(command)}\nautorestart=true\nstopasgroup=true\nkillasgroup=true\n"
        for name, command in scene.services.items()
    )
    return Way(
        start=((str(venv / "supervisord"), "-c", "s.conf"),),
        stop=(str(venv / "supervisorctl"), "-c", "s.conf", "shutdown"),
        files={"s.conf": head + "".join(rows)},
    )


def _circus(venv: Path, scene: Scene) -> Way:
    endpoint = f"ipc://{scene.folder}/c.sock"
    head = f"[circus]\nendpoint = {endpoint}\npubsub_endpoint = ipc://{scene.folder}/p.sock\n"
    rows = (
        f"[watcher:{name}]\ncmd = {shlex.join(command)}\ncopy_env = True\nstop_children = True\n"
        for name, command in scene.services.items()
    )
    return Way(
        start=((str(venv / "circusd"), "--daemon", "--pidfile", "circus.pid", "circus.ini"),),
        stop=(str(venv / "circusctl"), "--endpoint", endpoint, "quit", "--waiting"),
        files={"circus.ini": head + "".join(rows)},
    )


def _dekit(venv: Path, scene: Scene, interval: str | None = None) -> Way:
    tasks = {}
    for (name, command), port in zip(scene.services.items(), scene.ports, strict=True):
        ready = {"http": f"http://127.0.0.1:{port}/"} | ({"interval": interval} if interval else {})
        tasks[name] = {"cmd": command, "autostart": True, "autorestart": "always", "ready": ready}
    dekit = str(venv / "dekit")
    return Way(
        start=((dekit, "up", "--wait", "--wait-timeout", "20s"),),
        stop=(dekit, "down"),
        files={"dekit.yaml": json.dumps({"tasks": tasks})},  # JSON is YAML
    )


def _pm2(npm: Path, scene: Scene) -> Way:
    apps = [
        {"name": name, "interpreter": "none", "script": command[0], "args": command[1:], "exec_mode": "fork"}
        for name, command in scene.services.items()
    ]
    pm2 = str(npm / "pm2")
    return Way(
        start=((pm2, "start", "stack.json"),),
        stop=(pm2, "kill"),
        files={"stack.json": json.dumps({"apps": apps})},
        environment={"PM2_HOME": str(scene.folder / "pm2")},
    )
