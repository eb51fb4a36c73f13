"""Twilio's REST client, against a real server that answers as Twilio does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.errors import OpsError
from ops.net.http import Declined, Unanswered
from ops.vendors.twilio.client import Twilio
from ops.vendors.twilio.codes import CODES, explain
from tests.standin import NUMBER, StandIn


def test_account_balance_and_numbers_are_read(root: Path) -> None:
    """The account, its money and its numbers come back as typed values."""
    with StandIn(account={"status": "active", "type": "Trial"}, balance="12.5").up() as standin:
        with Twilio.of(standin.settings(root)) as twilio:
            assert (twilio.account().kind, twilio.account().sid) == ("Trial", standin.account_sid)
            assert twilio.balance().amount == 12.5
            (number,) = twilio.numbers(NUMBER)
    assert (number.phone_number, number.voice, number.trunk_sid) == (NUMBER, True, "")
    assert number.voice_url == f"{standin.url}/twiml"


def test_a_number_is_pointed_elsewhere(root: Path) -> None:
    """`update_number` changes voice URL and method."""
    with StandIn().up() as standin, Twilio.of(standin.settings(root)) as twilio:
        (number,) = twilio.numbers()
        changed = twilio.update_number(number.sid, voice_url="https://new.test/twiml")
        assert changed.voice_url == "https://new.test/twiml"
        assert twilio.numbers()[0].voice_url == "https://new.test/twiml"


def test_a_call_is_asked_for_with_all_its_events(root: Path) -> None:
    """Placing a call sends To, From, Url and every status event, each under its own repeated name."""
    with StandIn().up() as standin, Twilio.of(standin.settings(root)) as twilio:
        call = twilio.create_call(
            to="+12025550123",
            from_=NUMBER,
            url="https://a.test/twiml",
            status_callback="https://a.test/status",
        )
    sent = json.loads(standin.asked[0])
    assert ["To", "+12025550123"] in sent
    events = [value for name, value in sent if name == "StatusCallbackEvent"]
    assert events == ["initiated", "ringing", "answered", "completed"]
    assert (call.status, call.from_, call.duration) == ("queued", NUMBER, None)


def test_nothing_is_dialled_that_may_not_be(root: Path) -> None:
    """Neither by a call nor by a transfer: Twilio is not even asked. What is allowed gets there."""
    premium, other, sid = "+19005550100", "+12025550142", "CA" + "0" * 32
    with StandIn().up() as standin:
        settings = standin.settings(root, ALLOWED_NUMBERS="+12025550123", TWILIO_AGENT_NUMBER="+12025550199")
        with Twilio.of(settings) as twilio:
            for number in (premium, other):
                with pytest.raises(OpsError, match="not dialled"):
                    twilio.create_call(to=number, from_=NUMBER, url="https://a.test/twiml")
                with pytest.raises(OpsError, match="not dialled"):
                    twilio.transfer(sid, number, "Goodbye.")
            assert standin.asked == []
            twilio.create_call(to="+12025550123", from_=NUMBER, url="https://a.test/twiml")
            with pytest.raises(Declined):  # this server knows no such call
                twilio.transfer(sid, "+12025550199", "Goodbye.")
    assert len(standin.asked) == 2


def test_a_refusal_carries_twilios_number_and_its_meaning(root: Path) -> None:
    """Wrong credentials raise 20003 with what it means and what to do."""
    with StandIn().up() as standin:
        settings = standin.settings(root, TWILIO_AUTH_TOKEN="0" * 32)
        with Twilio.of(settings) as twilio, pytest.raises(Declined) as caught:
            twilio.account()
    assert caught.value.code == 20003
    assert "credentials are not accepted" in caught.value.message
    assert "console" in caught.value.fix


def test_a_call_is_never_tried_twice(root: Path) -> None:
    """After a server error exactly one request has reached the other side."""
    with StandIn(refuse=(500, {"code": 20500, "message": "oops"})).up() as standin:
        with Twilio.of(standin.settings(root)) as twilio, pytest.raises(Declined):
            twilio.create_call(to="+12025550123", from_=NUMBER, url="https://a.test/twiml")
    assert sum(one.startswith("POST") for one in standin.asked) == 1


def test_an_error_page_is_not_mistaken_for_twilio(root: Path) -> None:
    """An address where something else answers is named with its status."""
    with StandIn().up() as standin:
        settings = standin.settings(root, TWILIO_API_URL=f"{standin.url}/nothing")
        with Twilio.of(settings) as twilio, pytest.raises(Declined) as caught:
            twilio.account()
    assert caught.value.unknown_question


def test_nobody_there_is_unanswered(root: Path, free_ports: object) -> None:
    """A dead address raises an error of its own kind, not a refusal."""
    with StandIn().up() as standin:
        settings = standin.settings(root, TWILIO_API_URL="http://127.0.0.1:1")
    with Twilio.of(settings) as twilio, pytest.raises(Unanswered):
        twilio.balance()


def test_the_api_key_is_preferred(root: Path) -> None:
    """With an API key REST uses it in place of the auth token."""
    with StandIn().up() as standin:
        settings = standin.settings(root, TWILIO_API_KEY="SK" + "1" * 32, TWILIO_API_SECRET="2" * 32)
        with Twilio.of(settings) as twilio, pytest.raises(Declined):
            twilio.account()  # the stand-in knows the token alone


def test_every_number_has_a_meaning_and_a_fix() -> None:
    """The table explains each number; a number that it does not have is None."""
    assert all(code.meaning and code.fix for code in CODES.values())
    assert explain("31920") is CODES[31920]
    assert explain(99999) is None
    assert explain("x") is None
