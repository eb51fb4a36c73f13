"""Faults of the vendors, the tunnel and the public door, each seeded alone: the right rule fires, no other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.doctor.zoo import alarms, examine
from tests.standin import NUMBER, StandIn

TUNNEL = {"PUBLIC_URL": ""}  # the public URL then comes from the ngrok agent
Seed = Callable[[StandIn], None]


@dataclass(frozen=True)
class Fault:
    """A fault: how it is made, the rule that must find it, and words that its finding must have."""

    name: str
    rule: str
    status: str
    words: str
    seed: Seed = lambda standin: None
    settings: dict[str, str] = field(default_factory=dict)


def _set(**fields: object) -> Seed:
    def seed(standin: StandIn) -> None:
        for name, value in fields.items():
            setattr(standin, name, value)

    return seed


def _number(**changes: object) -> Seed:
    return lambda standin: setattr(standin, "numbers", [standin.number(**changes)])


def _tunnel(**changes: object) -> Seed:
    return lambda standin: setattr(standin, "tunnels", [standin.tunnel(**changes)])


def _twiml(text: str) -> Seed:
    return _set(twiml=text)


def _now() -> str:
    return datetime.now(UTC).isoformat()


STREAM = "<Response><Connect><Stream url='{}'/></Connect></Response>"
FAULTS = [
    Fault("wrong token", "twilio.credentials", "fail", "20003", settings={"TWILIO_AUTH_TOKEN": "0" * 32}),
    Fault(
        "suspended",
        "twilio.account",
        "fail",
        "suspended",
        _set(account={"status": "suspended", "type": "Full"}),
    ),
    Fault("trial", "twilio.account", "warn", "trial", _set(account={"status": "active", "type": "Trial"})),
    Fault("no money", "twilio.balance", "fail", "calls are refused", _set(balance="-0.10")),
    Fault("little money", "twilio.balance", "warn", "low", _set(balance="1.20")),
    Fault(
        "another's number",
        "twilio.number",
        "fail",
        "does not own",
        settings={"TWILIO_PHONE_NUMBER": "+12025550133"},
    ),
    Fault("no voice", "twilio.number", "fail", "not voice capable", _number(capabilities={"voice": False})),
    Fault("no number", "twilio.number", "warn", "not set", settings={"TWILIO_PHONE_NUMBER": ""}),
    Fault(
        "old tunnel",
        "webhook.drift",
        "fail",
        "old.ngrok.app",
        _number(voice_url="https://old.ngrok.app/twiml"),
    ),
    Fault("wrong path", "webhook.drift", "fail", "/voice", lambda s: _number(voice_url=f"{s.url}/voice")(s)),
    Fault("no voice URL", "webhook.drift", "fail", "nobody answers", _number(voice_url="")),
    Fault("GET", "webhook.drift", "fail", "takes POST", _number(voice_method="GET")),
    Fault(
        "TwiML app", "webhook.drift", "fail", "application", _number(voice_application_sid="AP" + "0" * 32)
    ),
    Fault("SIP trunk", "webhook.drift", "fail", "trunk", _number(trunk_sid="TK" + "0" * 32)),
    Fault(
        "wrong key", "openai.key", "fail", "invalid_api_key", settings={"OPENAI_API_KEY": "sk-" + "0" * 40}
    ),
    Fault(
        "misspelled model", "openai.model", "fail", "may not use", settings={"OPENAI_MODEL": "gpt-realtime-9"}
    ),
    Fault(
        "retiring model",
        "openai.shutdown",
        "warn",
        "in 58 days",
        _set(models=[{"id": "gpt-realtime-2.1", "shutdown_date": "2027-01-20"}]),
    ),
    Fault(
        "retired model",
        "openai.shutdown",
        "fail",
        "was shut down",
        _set(models=[{"id": "gpt-4o-realtime-preview-2024-12-17"}]),
        {"OPENAI_MODEL": "gpt-4o-realtime-preview-2024-12-17"},
    ),
    Fault(
        "PCM in place of mu-law",
        "openai.realtime",
        "fail",
        "audio/pcm in",
        _set(formats=("audio/pcm", "audio/pcm")),
    ),
    Fault(
        "beta shape",
        "openai.realtime",
        "fail",
        "beta_api_shape_disabled",
        _set(realtime_close=(4000, "beta_api_shape_disabled")),
    ),
    Fault(
        "no quota",
        "openai.realtime",
        "fail",
        "insufficient_quota",
        _set(
            realtime_error={"type": "x", "code": "insufficient_quota", "message": "You exceeded your quota"}
        ),
    ),
    Fault(
        "tunnel elsewhere",
        "ngrok.tunnel",
        "fail",
        "none to port",
        _tunnel(config={"addr": "localhost:3000"}),
        TUNNEL,
    ),
    Fault(
        "inspector on",
        "ngrok.inspection",
        "warn",
        "keeps whole requests",
        _tunnel(config={"inspect": True}),
        TUNNEL,
    ),
    Fault(
        "random domain",
        "ngrok.domain",
        "warn",
        "not the fixed domain",
        settings={**TUNNEL, "NGROK_DOMAIN": "ours.ngrok.app", "NGROK_AUTH_TOKEN": "2" * 40},
    ),
    Fault(
        "other origin",
        "webhook.signed",
        "fail",
        "whatever spelling",
        _set(origin="https://elsewhere.test"),
    ),
    Fault("a web page", "webhook.signed", "fail", "DOCTYPE", _twiml("<!DOCTYPE html><html></html>")),
    Fault("text before", "webhook.signed", "fail", "first character", _twiml("ok <Response/>")),
    Fault("broken XML", "webhook.signed", "fail", "line 1", _twiml("<Response><Say>a & b</Say></Response>")),
    Fault("wrong root", "webhook.signed", "fail", "<response>", _twiml("<response/>")),
    Fault(
        "no stream", "webhook.signed", "warn", "no <Stream>", _twiml("<Response><Say>Hello</Say></Response>")
    ),
    Fault(
        "one-way stream",
        "webhook.signed",
        "fail",
        "one-way",
        _twiml("<Response><Start><Stream url='wss://a.test/call'/></Start></Response>"),
    ),
    Fault("query string", "webhook.signed", "fail", "31920", _twiml(STREAM.format("wss://a.test/call?a=1"))),
    Fault("https stream", "webhook.signed", "fail", "wss://", _twiml(STREAM.format("https://a.test/call"))),
    Fault(
        "doubled scheme",
        "webhook.signed",
        "fail",
        "not a URL",
        _twiml(STREAM.format("wss://https://a.test/call")),
    ),
    Fault(
        "server sees another host",
        "webhook.signed",
        "fail",
        "host localhost",
        lambda s: setattr(s, "origin", s.url.replace("127.0.0.1", "localhost")),
    ),
    Fault(
        "fallback through an old tunnel",
        "webhook.callbacks",
        "warn",
        "old.ngrok.app",
        _number(voice_fallback_url="https://old.ngrok.app/fallback"),
    ),
    Fault(
        "old key, old token",
        "twilio.credentials",
        "fail",
        "20003",
        settings={"TWILIO_API_KEY": "SK" + "1" * 32, "TWILIO_API_SECRET": "2" * 32},
    ),
    Fault(
        "Debugger is full",
        "twilio.alerts",
        "warn",
        "31920: the media stream's handshake",
        lambda s: s.alerts.extend(
            {"error_code": "31920", "log_level": "error", "date_generated": _now(), "resource_sid": "CA1"}
            for _ in range(3)
        ),
    ),
    Fault(
        "transcription retires",
        "openai.transcription",
        "fail",
        "was shut down",
        lambda s: s.models.append({"id": "whisper-1", "shutdown_date": "2026-11-01"}),
        {"OPENAI_TRANSCRIPTION_MODEL": "whisper-1"},
    ),
    Fault("Live model", "openai.protocol", "fail", "Live protocol", settings={"OPENAI_MODEL": "gpt-live-1"}),
    Fault("text model", "openai.protocol", "fail", "not a Realtime", settings={"OPENAI_MODEL": "gpt-4o"}),
    Fault(
        "kept quotes",
        "env.quoting",
        "fail",
        "OPENAI_VOICE",
        settings={"OPENAI_VOICE": "'marin'"},
    ),
    Fault("open webhook", "webhook.stranger", "fail", "any stranger", _set(check_webhooks=False)),
    Fault("open stream", "websocket.stranger", "fail", "any stranger", _set(check_streams=False)),
    Fault(
        "stream elsewhere",
        "websocket.stream",
        "fail",
        "Expected 101",
        lambda s: _set(stream_url=s.url.replace("http", "ws") + "/media")(s),
    ),
    Fault("open pages", "security.door", "fail", "/metrics", _set(private_open=True)),
    Fault(
        "agent calls itself", "env.numbers", "warn", "call itself", settings={"TWILIO_AGENT_NUMBER": NUMBER}
    ),
    Fault(
        "debug in production",
        "security.production",
        "warn",
        "DEBUG",
        settings={"OPS_ENV": "production", "DEBUG": "*"},
    ),
]


@pytest.fixture(scope="module")
def _server() -> Iterator[StandIn]:
    with StandIn().up() as standin:
        yield standin


@pytest.fixture
def standin(_server: StandIn) -> Iterator[StandIn]:
    """A server that is well; what a test breaks is put right afterwards."""
    well = copy.deepcopy(vars(_server))
    yield _server
    vars(_server).update(well)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_right_rule_fires_and_no_other(fault: Fault, standin: StandIn, root: Path) -> None:
    """One seeded fault: its rule names it with a fix, and nothing else cries wolf."""
    fault.seed(standin)
    found = examine(standin, root, **fault.settings)
    assert alarms(found) == {fault.rule: fault.status}, [one for one in found.values() if one.status != "ok"]
    assert fault.words in found[fault.rule].summary
    assert found[fault.rule].fix


BRIDGE = '[services.bridge]\ncommand = "node server.js"\nport = {port}\n'
ELSEWHERE = '[services.site]\ncommand = "node site.js"\nport = 1\n'
NO_TWILIO = {
    "TWILIO_ACCOUNT_SID": "",
    "TWILIO_AUTH_TOKEN": "",
    "TWILIO_PHONE_NUMBER": "",
    "TWILIO_API_URL": "",
}
NO_OPENAI = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", "OPENAI_REALTIME_URL": ""}
NO_WAY_IN = {"PUBLIC_URL": "", "NGROK_API_URL": ""}
SETUPS: dict[str, tuple[dict[str, str], str]] = {
    "all live, public URL": ({}, ""),
    "all live, tunnel": (TUNNEL, ""),
    "with an agent's number": ({"TWILIO_AGENT_NUMBER": "+12025550199"}, ""),
    "staging": ({"OPS_ENV": "staging", "DEBUG": "*"}, ""),
    "production": ({"OPS_ENV": "production", "NGROK_AUTH_TOKEN": "2" * 40}, ""),
    "own stack, public URL": ({}, BRIDGE),
    "own stack, tunnel": (TUNNEL, BRIDGE),
    "own stack, no way in": (NO_WAY_IN, BRIDGE),
    "own stack without a bridge": ({}, ELSEWHERE),
    "own stack, nothing live": ({**NO_TWILIO, **NO_OPENAI, **NO_WAY_IN}, BRIDGE),
    "Twilio live, OpenAI simulated elsewhere": ({"OPENAI_API_KEY": ""}, BRIDGE),
    "other settings": ({"MAX_LIVE_CALLS": "20", "LOG_LEVEL": "DEBUG", "RECORD_CALLS": "all"}, ""),
}


@pytest.mark.parametrize("name", SETUPS)
def test_a_healthy_stack_raises_no_alarm(name: str, standin: StandIn, root: Path) -> None:
    """With nothing wrong there is nothing to say, whatever the set-up."""
    settings, toml = SETUPS[name]
    if toml:
        (root / "ops.toml").write_text(toml.format(port=standin.port))
    if not settings.get("OPENAI_API_KEY", "set"):
        standin.key = ""  # anyone may ask
    found = examine(standin, root, **settings)
    assert alarms(found) == {}, found


def test_on_the_whole_stack_every_question_is_asked(standin: StandIn, root: Path) -> None:
    """With everything live nothing but the unused tunnel is skipped."""
    found = examine(standin, root)
    assert [id for id, one in found.items() if one.status == "skip" and not id.startswith("ngrok")] == []


def test_a_stack_of_ones_own_is_asked_on_its_own_path(standin: StandIn, root: Path) -> None:
    """The number says where the webhook is: it is asked there, and open doors are a warning."""
    (root / "ops.toml").write_text(BRIDGE.format(port=standin.port))
    standin.numbers = [standin.number(voice_url=f"{standin.url}/incoming-call")]
    found = examine(standin, root)
    assert alarms(found) == {}
    assert str(found["webhook.signed"].evidence["asked"]).endswith("/incoming-call")
    standin.check_webhooks = standin.check_streams = False
    found = examine(standin, root)
    assert alarms(found) == {"webhook.stranger": "warn", "websocket.stranger": "warn"}


def test_a_site_that_shows_one_page_for_every_path_has_no_private_pages(standin: StandIn, root: Path) -> None:
    """A single-page site answers 200 to anything: that says nothing about private pages."""
    standin.private_open = standin.any_path = True
    assert examine(standin, root)["security.door"].summary.startswith("Anyone can read /health")


def test_probes_open_no_session_upstream(standin: StandIn, root: Path) -> None:
    """Knocking at the door opens the media stream but never a model's session beyond the one check of it."""
    examine(standin, root)
    assert standin.asked.count("WS realtime") == 1
    assert standin.asked.count("session.update") == 1


def test_without_network_each_vendor_is_unknown(root: Path) -> None:
    """Nobody answers: unknown for each vendor, quickly, and no failure is claimed."""
    with StandIn().up() as standin:
        pass
    found = examine(standin, root)
    assert set(alarms(found).values()) == {"unknown"}
    assert {"twilio.credentials", "openai.key", "openai.realtime", "webhook.signed"} <= set(alarms(found))
