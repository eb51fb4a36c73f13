"""The vendors of a habitat: simulators that answer at the vendors' addresses, and can be asked to fail."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ops.bench.stage import Stage, free_ports
from ops.errors import OpsError
from ops.net.http import Http
from ops.values import Secret

NUMBER = "+12025550100"
EVER = 1_000_000  # times that an armed fault strikes: until it is taken away
READY_WITHIN = 15.0  # seconds


def _hex(length: int) -> str:
    return secrets.token_hex(length // 2)


@dataclass
class Vendors:
    """Credentials made up for this run, ports, and the way to each simulator."""

    bridge_port: int
    account: str = field(default_factory=lambda: "AC" + _hex(32))
    token: str = field(default_factory=lambda: _hex(32))
    api_key: str = field(default_factory=lambda: "SK" + _hex(32))
    api_secret: str = field(default_factory=lambda: _hex(32))
    openai_key: str = field(default_factory=lambda: "sk-" + _hex(40))
    ngrok_token: str = field(default_factory=lambda: f"{_hex(26)}_{_hex(20)}")
    ports: list[int] = field(default_factory=lambda: free_ports(4))

    programs: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False)

    @property
    def twilio(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def openai(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    @property
    def ngrok(self) -> str:
        return f"http://127.0.0.1:{self.ports[2]}"

    @property
    def edge(self) -> str:
        """The public address of the tunnel."""
        return f"http://127.0.0.1:{self.ports[3]}"

    def credentials(self) -> dict[str, str]:
        """What each simulator needs to know, as environment."""
        return {
            "TWILIO_ACCOUNT_SID": self.account,
            "TWILIO_AUTH_TOKEN": self.token,
            "TWILIO_API_KEY": self.api_key,
            "TWILIO_API_SECRET": self.api_secret,
            "TWILIO_PHONE_NUMBER": NUMBER,
            "OPENAI_API_KEY": self.openai_key,
            "NGROK_AUTH_TOKEN": self.ngrok_token,
        }

    def start(self, here: Stage, checkout: Path, voice_url: str) -> None:
        """Start the three and wait until they answer."""
        module = "ops.vendors.{}.simulator"
        ports = [str(port) for port in self.ports]
        arguments = {
            "twilio": ("--port", ports[0], "--voice-url", voice_url, "--calls-per-second", "0.02"),
            "openai": ("--port", ports[1]),
            "ngrok": (
                "--api-port", ports[2], "--edge-port", ports[3], "--forward", str(self.bridge_port),
                "--inspect", "false",
            ),
        }  # fmt: skip
        for vendor, words in arguments.items():
            place = here.place()
            (place / "logs").mkdir()
            environment = here.environment(place) | self.credentials() | {"PYTHONPATH": str(checkout)}
            argv = [sys.executable, "-m", module.format(vendor), *words]
            self.programs.append(here.launch(argv, place, environment))
        for address, path in (
            (self.twilio, "/health"), (self.openai, "/health"), (self.ngrok, "/api/tunnels"),
        ):  # fmt: skip
            _await(address, path)

    @contextmanager
    def blackout(self) -> Iterator[None]:
        """All of them take connections and never answer, as through a network that loses everything."""
        for one in self.programs:
            one.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for one in self.programs:
                one.send_signal(signal.SIGCONT)

    def arm(self, vendor: str, name: str, numbers: Mapping[str, float], times: int = EVER) -> None:
        """Let a simulator fail so from now on."""
        self._control(vendor, "POST", {"name": name, "times": times, **numbers})

    def disarm(self, vendor: str) -> None:
        self._control(vendor, "DELETE", None)

    def _control(self, vendor: str, method: str, body: Mapping[str, object] | None) -> None:
        import json

        content = json.dumps(body).encode() if body is not None else b""
        base = {"twilio": self.twilio, "openai": self.openai, "ngrok": self.ngrok}[vendor]
        with Http(base, timeout=3.0) as http:
            answer = http.request(method, "/_sim/faults", content=content)
        if answer.status >= 300:
            raise OpsError(f"{vendor} does not fail so: {answer.text[:200]}", fix="correct the zoo's table")

    def rest(self) -> Http:
        """Twilio's REST API of the account, as its owner."""
        base = f"{self.twilio}/2010-04-01/Accounts/{self.account}"
        return Http(base, auth=(self.account, Secret(self.token)), timeout=3.0)

    def point(self, **form: str) -> dict[str, str]:
        """Set fields of the number, such as VoiceUrl; gives what they were."""
        with self.rest() as http:
            (number,) = http.get("/IncomingPhoneNumbers.json").checked().json()["incoming_phone_numbers"]
            http.post(f"/IncomingPhoneNumbers/{number['sid']}.json", form).checked()
        was = {
            "VoiceUrl": "voice_url",
            "VoiceMethod": "voice_method",
            "VoiceFallbackUrl": "voice_fallback_url",
        }
        return {name: str(number[was[name]] or "") for name in form}


def _await(address: str, path: str) -> None:
    until = time.monotonic() + READY_WITHIN
    while True:
        try:
            with Http(address, timeout=1.0) as http:
                if http.get(path).status < 300:
                    return
        except OpsError:
            pass
        if time.monotonic() > until:
            raise OpsError(
                f"{address} did not come up.", fix="look into its output, or use a quieter machine"
            )
        time.sleep(0.05)
