from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from ops.calls.phone import audio, heard, order_fault, teach, withdraw_fault
from ops.calls.scenario import REPAIR_SHOP
from ops.errors import OpsError, Refused
from tests.calls.stand_in import StandIn, serving, settings_for


def test_the_phone_gets_the_scenarios_steps(root: Path) -> None:
    """As the wire form says, at its number."""
    stand_in = StandIn(root / "logs", [])
    with serving(stand_in) as address:
        assert teach(settings_for(root, address), "+12025550199", REPAIR_SHOP)
    method, path, body = stand_in.asked[-1]
    assert (method, path) == ("PUT", "/_sim/phones/%2B12025550199")
    assert json.loads(body) == {"steps": [dict(step) for step in REPAIR_SHOP.steps]}


def test_another_projects_simulator_is_left_alone(root: Path) -> None:
    """It stands at the address, but knows other credentials: nothing of it is changed."""
    stand_in = StandIn(root / "logs", [])
    stand_in.ours = False
    with serving(stand_in) as address, pytest.raises(Refused, match="another project"):
        teach(settings_for(root, address), "+12025550199", REPAIR_SHOP)
    assert [method for method, _, _ in stand_in.asked] == ["GET"]


def test_a_live_phone_is_left_alone(root: Path) -> None:
    """With Twilio's own credentials nothing is asked of a simulator."""
    stand_in = StandIn(root / "logs", [])
    live = {"TWILIO_ACCOUNT_SID": "AC" + secrets.token_hex(16), "TWILIO_AUTH_TOKEN": secrets.token_hex(16)}
    with serving(stand_in) as address:
        settings = settings_for(root, address, **live)
        assert not teach(settings, "+12025550199", REPAIR_SHOP)
        assert heard(settings, stand_in.sid) is None
        assert audio(settings, stand_in.sid) is None
    assert stand_in.asked == []


def test_the_phones_view_is_read(root: Path) -> None:
    """Steps, errors and whether there was a media stream; odd rows are left out."""
    stand_in = StandIn(root / "logs", [])
    stand_in.view["errors"] = [{"code": 31951, "message": "bad frame"}, "odd"]
    stand_in.view["steps"] = None
    with serving(stand_in) as address:
        view = heard(settings_for(root, address), stand_in.sid)
    assert view is not None
    assert view.streamed
    assert view.steps == []
    assert [error["code"] for error in view.errors] == [31951]


def test_a_fault_goes_to_the_simulator_that_knows_it(root: Path) -> None:
    """The first one that accepts it fails once."""
    stand_in = StandIn(root / "logs", [])
    with serving(stand_in) as address:
        assert order_fault(settings_for(root, address), "drop-frames") == "twilio"
    assert json.loads(stand_in.asked[0][2]) == {"name": "drop-frames", "times": 1}


def test_an_unknown_fault_is_an_error_with_every_answer(root: Path) -> None:
    """Both simulators were asked, and what they said is told."""
    stand_in = StandIn(root / "logs", [])
    with serving(stand_in) as address, pytest.raises(OpsError) as refused:
        order_fault(settings_for(root, address), "rain")
    assert "twilio: 404" in str(refused.value)
    assert "openai: 404" in str(refused.value)


def test_a_fault_may_name_its_vendor(root: Path) -> None:
    """Two catalogues can have the same name; only the named vendor is asked."""
    stand_in = StandIn(root / "logs", [])
    with serving(stand_in) as address:
        assert order_fault(settings_for(root, address), "openai:drop-frames") == "openai"
        with pytest.raises(OpsError, match="ngrok is not simulated"):
            order_fault(settings_for(root, address), "ngrok:drop-frames")
    assert len(stand_in.asked) == 1


def test_a_fault_is_taken_back(root: Path) -> None:
    """By DELETE, or where that is not known by ordering it no more times."""
    stand_in = StandIn(root / "logs", [])
    with serving(stand_in) as address:
        withdraw_fault(settings_for(root, address), "twilio", "twilio:drop-frames")
    assert [method for method, _, _ in stand_in.asked] == ["DELETE", "POST"]
    assert json.loads(stand_in.asked[1][2]) == {"name": "drop-frames", "times": 0}


def test_a_fault_needs_a_simulator(root: Path) -> None:
    """With live vendors there is nothing to order it from."""
    live = {
        "TWILIO_ACCOUNT_SID": "AC" + secrets.token_hex(16),
        "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
        "OPENAI_API_KEY": secrets.token_hex(16),
    }
    with pytest.raises(OpsError, match="no vendor is simulated"):
        order_fault(settings_for(root, "http://127.0.0.1:9", **live), "rain")
