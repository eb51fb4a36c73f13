"""Settings: frozen, typed, read once; this is the only reader of the environment.

Sources, the first one wins: the process environment, `.env`, `webapp/.env`,
`websocket-server/.env`, `ops.toml` (`[env.NAME]` over `[settings]`), the defaults below.
Every field of `Settings` that carries a `Variable` is one variable of `.env.example`, which
`python -m ops.config` prints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ops import values
from ops.config.variable import Variable
from ops.errors import Fault, SettingsError
from ops.findings import Finding
from ops.values import Secret

Mode = Literal["auto", "offline", "live"]
DEFAULT_INSTRUCTIONS = (
    "You answer the phone for a small repair shop. Greet the caller first. "
    "Be friendly, honest and brief: one or two short sentences at a time."
)


def _var(group: str, comment: str, parse: Callable[[str], Any], default: Any, where: str = "") -> Any:
    return field(default=default, metadata={"variable": Variable(group, comment, parse, where)})


_TWILIO = "Twilio: both of the first two, or neither (then Twilio is simulated)"
_OPENAI = "OpenAI: without a key OpenAI is simulated"
_NGROK = "The tunnel: without a token ngrok is simulated; with PUBLIC_URL no tunnel is used"
_URLS = "Addresses: the vendors' own, unless a simulator, a proxy or a test server stands elsewhere"
_PORTS = "Ports on this machine"
_TIMES = "How long to wait, in seconds, and how often to try again"
_BRIDGE = "The bridge"
_LOGS = "Logs and environment"
_CAPS = "Caps: what a stranger, a runaway call or a mistake can cost at most"
_ONE_WORKER = Fault(
    "WEBSOCKET_WORKERS",
    "Expected WEBSOCKET_LIBRARY=picows where WEBSOCKET_WORKERS is more than 1, got websockets: the reference "
    "cannot take over a connection from another process.",
    "leave out WEBSOCKET_LIBRARY, or set WEBSOCKET_WORKERS=1",
)
_port = values.whole_number(1, 65535)
_seconds = values.amount(0.1, 86_400, "seconds")
_tries = values.whole_number(0, 100)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything the tools need to know, read once; secrets are `Secret` and print as dots."""

    twilio_account_sid: str | None = _var(
        _TWILIO, "AC… of the account", values.sid("AC"), None, "it is on the Twilio console's front page"
    )
    twilio_auth_token: Secret | None = _var(
        _TWILIO,
        "its primary auth token; also checks signatures",
        values.secret,
        None,
        "the token is on the Twilio console's front page",
    )
    twilio_phone_number: str | None = _var(
        _TWILIO,
        "the agent's own number, E.164",
        values.phone_number,
        None,
        "it is under Phone Numbers in the Twilio console",
    )
    twilio_agent_number: str | None = _var(
        _TWILIO,
        "the human or test number it dials or transfers to, E.164",
        values.phone_number,
        None,
        "any number that the account may call",
    )
    twilio_api_key: str | None = _var(
        _TWILIO,
        "SK… of a restricted API key, preferred for REST; with its secret",
        values.sid("SK"),
        None,
        "it is under API keys & tokens in the Twilio console",
    )
    twilio_api_secret: Secret | None = _var(
        _TWILIO,
        "the API key's secret",
        values.secret,
        None,
        "it was shown once when the API key was made; make a new key if it is lost",
    )
    openai_api_key: Secret | None = _var(
        _OPENAI,
        "a key that may use the Realtime API",
        values.secret,
        None,
        "it is under API keys on the OpenAI platform page",
    )
    openai_model: str = _var(_OPENAI, "the Realtime model", values.text, "gpt-realtime-2.1")
    openai_voice: str = _var(_OPENAI, "the agent's voice", values.text, "marin")
    openai_transcription_model: str = _var(
        _OPENAI, "writes down what the caller says", values.text, "gpt-transcribe"
    )
    openai_instructions: str = _var(_OPENAI, "what the agent is told", values.text, DEFAULT_INSTRUCTIONS)
    ngrok_auth_token: Secret | None = _var(
        _NGROK,
        "the agent's authtoken",
        values.secret,
        None,
        "it is under Your Authtoken on the ngrok dashboard",
    )
    ngrok_domain: str | None = _var(
        _NGROK, "the fixed domain", values.domain, None, "it is under Domains on the ngrok dashboard"
    )
    public_url: str | None = _var(
        _NGROK, "the origin that Twilio reaches; set it to use no tunnel", values.public_url, None
    )
    twilio_api_url: str = _var(_URLS, "Twilio REST", values.url("https", "http"), "https://api.twilio.com")
    openai_base_url: str = _var(
        _URLS, "OpenAI REST", values.url("https", "http"), "https://api.openai.com/v1"
    )
    openai_realtime_url: str = _var(
        _URLS, "OpenAI Realtime", values.url("wss", "ws"), "wss://api.openai.com/v1/realtime"
    )
    ngrok_api_url: str | None = _var(
        _URLS, "the ngrok agent's API; by default on NGROK_PORT", values.url("http", "https"), None
    )
    webapp_port: int = _var(_PORTS, "the private page", _port, 3000)
    websocket_port: int = _var(_PORTS, "the public door and the bridge", _port, 8081)
    websocket_address: str = _var(
        _PORTS, "where it listens: 0.0.0.0 for a proxy on another host", values.ipv4, "127.0.0.1"
    )
    bridge_name: str | None = _var(
        _PORTS, "this bridge among several behind one proxy: a part of its stream's path", values.name, None
    )
    ngrok_port: int = _var(_PORTS, "the ngrok agent's API", _port, 4040)
    simulator_port: int = _var(
        _PORTS, "the first simulator; the others follow it", values.whole_number(1, 65533), 8101
    )
    timeout_websocket_connection: float = _var(_TIMES, "a websocket opens", _seconds, 5.0)
    timeout_additional_logs: float = _var(_TIMES, "late log lines after a call", _seconds, 30.0)
    timeout_service_startup: float = _var(_TIMES, "a service becomes ready", _seconds, 30.0)
    timeout_ngrok_tunnel: float = _var(_TIMES, "the tunnel comes up", _seconds, 10.0)
    retry_interval: float = _var(_TIMES, "between two tries", _seconds, 1.0)
    max_retries_websocket: int = _var(_TIMES, "tries for a websocket", _tries, 3)
    max_retries_services: int = _var(_TIMES, "quick deaths until a service is failed", _tries, 5)
    max_retries_ngrok: int = _var(_TIMES, "tries for the tunnel", _tries, 5)
    websocket_library: str = _var(
        _BRIDGE,
        "carries both sockets of a call: picows, or websockets, the slower reference",
        values.choice("picows", "websockets"),
        "picows",
    )
    websocket_workers: int = _var(
        _BRIDGE,
        "processes that carry the calls' audio, where one core is not enough; 1: the bridge itself",
        values.whole_number(1, 64),
        1,
    )
    log_level: str = _var(
        _LOGS,
        "DEBUG, INFO, SUCCESS, WARNING or ERROR",
        values.choice("DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR"),
        "INFO",
    )
    debug: str | None = _var(_LOGS, "reaches the services as it is, like DEBUG=*", values.text, None)
    ops_env: str = _var(
        _LOGS,
        "development, staging or production: rows of [env.NAME] in ops.toml",
        values.choice("development", "staging", "production"),
        "development",
    )
    record_calls: str = _var(
        _LOGS,
        "whose audio is kept in logs/calls: test, all or none",
        values.choice("test", "all", "none"),
        "test",
    )
    max_live_calls: int = _var(_CAPS, "calls at once", values.whole_number(1, 100_000), 500)
    max_signed_calls_per_hour: int = _var(
        _CAPS, "signed webhooks that may open a call", values.whole_number(1, 1_000_000), 2000
    )
    max_seconds_per_call: int = _var(_CAPS, "then the agent hangs up", values.whole_number(10, 86_400), 3600)
    max_dollars_per_call: float = _var(
        _CAPS, "of model usage; then the agent hangs up", values.amount(0.01, 10_000, "dollars"), 5.0
    )
    max_unauthenticated_per_address: int = _var(
        _CAPS, "open connections that are slow to show a whole request", values.whole_number(1, 10_000), 20
    )
    allowed_numbers: str | None = _var(
        _CAPS,
        "the only numbers that are dialled, beside TWILIO_AGENT_NUMBER: in full or a beginning, like "
        "+12025550123,+1555*; unset: all of an ordinary kind",
        values.numbers_and_prefixes,
        None,
    )

    root: Path
    sources: Mapping[str, str] = field(default_factory=dict)
    vendors: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Finding, ...] = ()
    door_at: str | None = None  # where checks reach the public door, in place of its own address
    table: Mapping[str, Any] = field(default_factory=dict)  # ops.toml: services and hosts

    @staticmethod
    def load(
        root: Path, environ: Mapping[str, str] | None = None, *, mode: Mode = "auto", files: bool = True
    ) -> Settings:
        """Read all sources below `root`; raises SettingsError with every fault at once.

        `files=False` reads the environment alone: what a service started by us gets.
        """
        return _load(root, os.environ if environ is None else environ, mode, files)

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run_dir(self) -> Path:
        return self.logs / "run"

    @property
    def ngrok_api(self) -> str:
        """The agent API's base address, without a trailing `/api`."""
        address = self.ngrok_api_url or f"http://127.0.0.1:{self.ngrok_port}"
        return address.removesuffix("/api")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret text in these settings, for redaction."""
        found = (getattr(self, spec.name) for spec in fields(self))
        return tuple(value.reveal() for value in found if isinstance(value, Secret))

    def environment(self, names: Iterable[str]) -> dict[str, str]:
        """The named variables as a child process gets them, secrets revealed, unset ones left out."""
        result = {}
        for name in names:
            value = getattr(self, name.lower())
            if value is not None:
                result[name] = value.reveal() if isinstance(value, Secret) else f"{value}"
        return result


def variables() -> dict[str, Variable]:
    """Every variable by its name, in the order of `.env.example`."""
    return {
        spec.name.upper(): spec.metadata["variable"]
        for spec in fields(Settings)
        if "variable" in spec.metadata
    }


def _load(root: Path, environ: Mapping[str, str], mode: Mode, files: bool) -> Settings:
    from ops.config import sources, vendors

    known = variables()
    faults: list[Fault] = []
    warnings: list[Finding] = []
    texts, table = sources.gather(root, environ, known, faults, warnings, files=files)
    if mode == "offline":
        texts = {name: text for name, text in texts.items() if not vendors.reaches_out(name, text.value)}
    parsed = sources.parse(texts, known, faults, warnings)
    if parsed.get("websocket_workers", 1) > 1 and parsed.get("websocket_library") == "websockets":
        faults.append(_ONE_WORKER)
    modes = vendors.modes(texts, parsed, known, faults, live=mode == "live")
    if files:
        sources.open_secret_files(
            root, known, faults, warnings, production=parsed.get("ops_env") == "production"
        )
    if faults:
        raise SettingsError(tuple(faults), modes)
    settings = Settings(
        root=root,
        sources={name: text.source for name, text in texts.items()},
        vendors=modes,
        warnings=tuple(warnings),
        table=table,
        **parsed,
    )
    return vendors.with_stand_ins(settings) if files else settings


def no_color() -> bool:
    """Whether the person asked for no colour (no-color.org)."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
