"""HAProxy on this host: its configuration, checked before it counts, and what a running one is told."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from ops.remote.receiver.files import Refusal, write

CONFIG = Path("/etc/haproxy/haproxy.cfg")
SERVER = re.compile(r"^ +server (\S+) .* weight (\d+)\b", re.MULTILINE)
WEIGHT = re.compile(r"(?<= weight )\d+\b")
BACKEND = "bridges"
UP_WITHIN = 10.0  # seconds until a slot's health check is through


class Balancer:
    """One HAProxy: the file it is configured by, and the socket at which it takes orders."""

    def __init__(self, config: Path = CONFIG) -> None:
        self.config = config

    def weights(self, request: dict[str, Any]) -> dict[str, Any]:
        """How much of the new calls each server of the present configuration gets."""
        return {"weights": {name: int(weight) for name, weight in SERVER.findall(self._text())}}

    def balance(self, request: dict[str, Any]) -> dict[str, Any]:
        """Put a configuration in force without cutting a call.

        Where only weights differ the running HAProxy is told at its socket, once the servers that get calls
        are up there; the file says the same, so that a reload forgets nothing. Other changes are a reload:
        its old process stays with the calls that it has.
        """
        text, socket_path = request["config"], request["socket"]
        if shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin") is None:
            raise Refusal("haproxy is not installed here.", "apt-get install haproxy")
        before = self._text()
        draft = self.config.with_name(f".{self.config.name}.draft")
        write(draft, text.encode(), 0o640)
        if text != before:  # what the file says was checked when it came
            self._check(draft)
        same = WEIGHT.sub("", before) == WEIGHT.sub("", text) and _answers(socket_path)
        if same:
            for name in request["ready"]:
                _until_up(socket_path, name)
            told_to = self._tell(socket_path, dict(SERVER.findall(text)))
            draft.replace(self.config)
            return {"reloaded": False, "told": told_to}
        draft.replace(self.config)
        self._reload()
        return {"reloaded": True, "told": []}

    def _check(self, draft: Path) -> None:
        checked = _ran("haproxy", "-c", "-f", str(draft))
        if checked.returncode:
            told = checked.stderr.decode("utf-8", "replace").strip().splitlines()
            wrong = " / ".join([line for line in told if "[NOTICE]" not in line][:5])
            draft.unlink()
            raise Refusal(f"haproxy does not take its configuration: {wrong}", "correct [proxy]")

    def _tell(self, path: str, weights: dict[str, str]) -> list[str]:
        """The ones that get calls first: at no moment is there nobody to take a call."""
        told = []
        for name, weight in sorted(weights.items(), key=lambda one: int(one[1]), reverse=True):
            _order(path, f"set server {BACKEND}/{name} weight {int(weight)}")
            told.append(f"{name}={weight}")
        return told

    def _reload(self) -> None:
        if _ran("systemctl", "reload-or-restart", "haproxy").returncode:
            said = _ran("journalctl", "--no-pager", "--lines=8", "--output=cat", "--unit=haproxy").stdout
            told = " / ".join(said.decode("utf-8", "replace").strip().splitlines())
            raise Refusal(f"haproxy cannot be reloaded: {told}", "see journalctl -u haproxy")
        _ran("systemctl", "enable", "--quiet", "haproxy")

    def _text(self) -> str:
        try:
            return self.config.read_text()
        except OSError:
            return ""


def _ran(*argv: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


def _until_up(path: str, name: str) -> None:
    """Wait until the health check of a server that shall get calls is through."""
    until = time.monotonic() + UP_WITHIN
    while not (state := _states(path).get(name, "")).startswith("UP"):
        if time.monotonic() > until:
            raise Refusal(f"haproxy does not see {name} up: {state or 'unknown'}.", "see its health check")
        time.sleep(0.1)


def _states(path: str) -> dict[str, str]:
    rows = [line.split(",") for line in _order(path, "show stat").splitlines() if line.startswith(BACKEND)]
    return {row[1]: row[17] for row in rows if len(row) > 17}


def _answers(path: str) -> bool:
    try:
        return bool(_order(path, "show info"))
    except OSError:
        return False


def _order(path: str, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as runtime:
        runtime.settimeout(5)
        runtime.connect(path)
        runtime.sendall(command.encode() + b"\n")
        answer = bytearray()
        while data := runtime.recv(65536):
            answer += data
    return answer.decode("utf-8", "replace")
