"""Where the doctor is asked: a project folder with settings, a repository, a bridge, and vendors to reach.

Everything is started as a user starts it (`inv start`), carries the stage's token, and ends with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.bench.doctor.setups import Setup
from ops.bench.doctor.vendors import NUMBER, Vendors
from ops.bench.stage import Stage, free_ports
from ops.errors import OpsError
from ops.net.http import Http

CHECKOUT = Path(__file__).parents[3]
BRIDGE = """[services.bridge]
command = ["{python}", "-m", "ops.bench.doctor.own_bridge", "{port}"]
cwd = "bridge"
port = {port}
env_file = "bridge/.env"
"""
SOURCE = '''"""The bridge's own source, as the lint reads it."""

VALIDATOR = RequestValidator(TOKEN)
MODEL = "gpt-realtime-2.1"


async def media_stream(phone):
    async with websockets.connect(url(MODEL), additional_headers=headers()) as model:
        async for message in phone:
            if message["event"] == "stop":
                await model.close()
'''
WITHIN = 40.0  # seconds for one command


@dataclass
class Habitat:
    """One set-up, on ports of its own."""

    setup: Setup
    here: Stage
    root: Path
    vendors: Vendors
    ports: list[int] = field(default_factory=list)
    exported: dict[str, str] = field(default_factory=dict)  # settings in the commands' environment
    seconds: float = 0.0  # what the last command took

    @staticmethod
    def make(here: Stage, setup: Setup) -> Habitat:
        """The folder, not started yet; the project is a repository whose .gitignore leaves out the usual."""
        root = here.place()
        ports = free_ports(7)  # page, bridge, agent API, three simulators, a spare one
        one = Habitat(setup, here, root, Vendors(ports[1]), ports)
        for name in ("tasks.py", "ops", ".env.example"):
            (root / name).symlink_to(CHECKOUT / name)
        (root / "logs").mkdir()
        ignored = (
            "/.env",
            "/webapp/.env",
            "/bridge/.env",
            "/logs/",
            "/tasks.py",
            "/ops",
            "/.env.example",
            "output.txt",
            "__pycache__/",
        )
        (root / ".gitignore").write_text("\n".join(ignored) + "\n", "utf-8")
        if setup.own:
            (root / "bridge").mkdir()
            (root / "bridge/bridge.py").write_text(SOURCE, "utf-8")
            (root / "ops.toml").write_text(BRIDGE.format(python=sys.executable, port=ports[1]), "utf-8")
            _private(root / "bridge/.env", one._bridge_settings())
        one.write_env(one.settings())
        one.git("init", "-q")
        one.commit("The project")
        return one

    def settings(self) -> dict[str, str]:
        """The lines of .env: ports, and for each live vendor its credentials and where it is."""
        vendors, live = self.vendors, self.setup.live
        lines = {"WEBAPP_PORT": str(self.ports[0]), "WEBSOCKET_PORT": str(self.ports[1])}
        lines |= {"NGROK_PORT": str(self.ports[2]), "SIMULATOR_PORT": str(self.ports[3])}
        known = vendors.credentials()
        if "twilio" in live:
            lines |= {name: known[name] for name in ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN")}
            lines |= {"TWILIO_PHONE_NUMBER": NUMBER, "TWILIO_API_URL": vendors.twilio}
        if "openai" in live:
            lines |= {"OPENAI_API_KEY": vendors.openai_key, "OPENAI_BASE_URL": f"{vendors.openai}/v1"}
            lines |= {"OPENAI_REALTIME_URL": vendors.openai.replace("http", "ws") + "/v1/realtime"}
        if "ngrok" in live:
            lines |= {"NGROK_AUTH_TOKEN": vendors.ngrok_token}
        if "ngrok" in live and self.setup.way_in == "tunnel":
            lines |= {"NGROK_API_URL": vendors.ngrok}
        if self.setup.way_in == "public-url":
            lines |= {"PUBLIC_URL": vendors.edge}
        if self.setup.way_in == "bridge":
            lines |= {"PUBLIC_URL": f"http://127.0.0.1:{self.ports[1]}"}
        more = dict(self.setup.more)
        if more.pop("API_KEY", None):
            more |= {name: known[name] for name in ("TWILIO_API_KEY", "TWILIO_API_SECRET")}
        return lines | more

    def _bridge_settings(self) -> dict[str, str]:
        settings = self.settings()
        wanted = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "WEBSOCKET_PORT", "NGROK_API_URL", "PUBLIC_URL")
        given = {name: settings[name] for name in wanted if name in settings}
        return {**given, "PYTHONPATH": str(CHECKOUT)}

    @property
    def public_url(self) -> str:
        """Where calls come in, for the set-ups that have vendors of their own."""
        return self.vendors.edge

    @property
    def voice_url(self) -> str:
        return self.public_url + ("/incoming-call" if self.setup.own else "/twiml")

    def write_env(self, lines: dict[str, str]) -> None:
        _private(self.root / ".env", lines)

    def start(self) -> None:
        """The vendors that are live, then the stack."""
        if self.setup.live or self.setup.way_in == "public-url":
            self.vendors.start(self.here, CHECKOUT, self._number_points_at())
        if self.setup.started:
            done = self.run("start", "--json")
            if done.returncode not in (0, 4):
                raise OpsError(
                    f"{self.setup.name} did not start: {done.stdout[-2000:]}", fix="see what it says"
                )

    def _number_points_at(self) -> str:
        """The tunnel's address: the live one's, or that of the simulator in the stack."""
        if "ngrok" in self.setup.live or self.setup.way_in == "public-url":
            return self.voice_url
        return f"http://127.0.0.1:{self.ports[5]}/twiml"

    def settle(self) -> None:
        """Wait until the built-in bridge knows its public URL: after the tunnel was gone it looks for it."""
        until = time.monotonic() + 5.0
        with Http(f"http://127.0.0.1:{self.ports[1]}", timeout=1.0) as http:
            while self.setup.started and not self.setup.own and time.monotonic() < until:
                if http.get("/health").json().get("public_url"):
                    return
                time.sleep(0.05)

    def stop(self) -> None:
        if self.setup.started:
            self.run("cleanup", "--now")

    def run(self, *words: str, wrapper: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """`inv WORDS` as a user types it in this project."""
        argv = [*wrapper, sys.executable, "-m", "invoke", *words]
        began = time.perf_counter()
        done = subprocess.run(
            argv, cwd=self.root, env={**self.here.environment(self.root), **self.exported},
            capture_output=True, text=True, timeout=WITHIN, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        self.seconds = time.perf_counter() - began
        return done

    def validate(self, *words: str, wrapper: Sequence[str] = ()) -> dict[str, Any]:
        """The document of `inv validate --json`."""
        done = self.run("validate", "--json", *words, wrapper=wrapper)
        try:
            document: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            said = (done.stdout + done.stderr)[-2000:]
            raise OpsError(f"validate printed no JSON document: {said}", fix="report this") from None
        return document

    def git(self, *words: str) -> None:
        """git in the project, as somebody without a configuration."""
        who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false")
        subprocess.run(
            ["git", "-C", str(self.root), *who, *words], check=True, capture_output=True,
            env=self.here.environment(self.root),
        )  # fmt: skip

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)

    def pid(self, service: str) -> int:
        """The process of a service, as the run state has it."""
        stack = json.loads((self.root / "logs/run/stack.json").read_text("utf-8"))
        return int(next(one["pid"] for one in stack["services"] if one["name"] == service))


def _private(path: Path, lines: dict[str, str]) -> None:
    """An env file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={text}\n" for name, text in lines.items()), "utf-8")
    path.chmod(0o600)
