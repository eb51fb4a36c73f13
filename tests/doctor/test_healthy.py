"""Healthy stacks raise no alarm, whatever the set-up: in this process, against one small server in place of all.

`inv bench doctor` asks the same of real stacks from the real command line.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.examination import alarms, examine
from tests.standin import StandIn

TUNNEL = {"PUBLIC_URL": ""}  # the public URL then comes from the ngrok agent


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


def test_nothing_outside_is_changed_by_asking(standin: StandIn, root: Path) -> None:
    """A number that points elsewhere is told of and left alone: no vendor gets anything but questions."""
    standin.numbers = [standin.number(voice_url="https://old.ngrok.app/twiml")]
    found = examine(standin, root)
    assert found["webhook.drift"].status == "fail"
    assert standin.numbers[0]["voice_url"] == "https://old.ngrok.app/twiml"
    assert not [one for one in standin.asked if one.startswith("POST /2010")]
