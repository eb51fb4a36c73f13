from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from ops.calls.place import Followed, Progress, numbers, place
from ops.calls.scenario import REPAIR_SHOP, Scenario
from ops.errors import OpsError, Refused, Unreachable
from tests.calls import histories
from tests.calls.stand_in import StandIn, serving, settings_for


def placed(
    root: Path, stand_in: StandIn, scenario: Scenario = REPAIR_SHOP, **more: str
) -> tuple[Followed, list[Progress]]:
    seen: list[Progress] = []
    with serving(stand_in) as address:
        settings = settings_for(root, address, **more)
        followed = place(
            settings, scenario, public_url="https://a.test", to="+12025550123", progress=seen.append
        )
    return followed, seen


def test_a_call_is_placed_and_followed_to_its_last_record(root: Path) -> None:
    """Twilio is asked as documented; every record of the journal is there, ours of the placing first."""
    stand_in = StandIn(root / "logs", histories.good())
    followed, seen = placed(root, stand_in)
    assert (followed.call_sid, followed.status, followed.cut_short) == (stand_in.sid, "completed", False)
    assert followed.records[0]["event"] == "call.placed"
    assert followed.records[-1]["event"] == "call.ended"
    assert len(followed.records) == len(histories.good())
    form = parse_qs(next(body for _, path, body in stand_in.asked if path.endswith("/Calls.json")))
    assert form["To"] == ["+12025550123"]
    assert form["Url"] == ["https://a.test/twiml?record=1"]
    assert form["StatusCallback"] == ["https://a.test/status"]
    kinds = {one.kind for one in seen}
    assert {"status", "hop", "caller", "agent", "turn"} <= kinds
    assert [one.fields["latency_ms"] for one in seen if one.kind == "turn"] == [640.0, 655.5, 652.0]
    assert not stand_in.hung_up.is_set()


def test_a_call_that_takes_too_long_is_hung_up(root: Path) -> None:
    """The scenario's time begins with the media stream; afterwards nobody is left on the line."""
    endless = [one for one in histories.good() if one["event"] not in ("stream.stopped", "call.ended")]
    stand_in = StandIn(root / "logs", endless)
    hasty = Scenario("hasty", REPAIR_SHOP.steps, REPAIR_SHOP.hops, turns=3, barge_ins=1, seconds=0.6)
    began = time.monotonic()
    followed, _ = placed(root, stand_in, hasty, TIMEOUT_ADDITIONAL_LOGS="20")
    assert time.monotonic() - began < 10  # hung up when its time was over, not after the last logs' time
    assert followed.cut_short
    assert stand_in.hung_up.is_set()
    assert followed.records[-1]["event"] == "call.ended"


def test_an_interrupted_command_hangs_up(root: Path) -> None:
    """Ctrl-C while the call goes on ends the call, too."""
    stand_in = StandIn(root / "logs", histories.good())

    def interrupt(progress: Progress) -> None:
        if progress.kind == "hop":
            raise KeyboardInterrupt

    with serving(stand_in) as address:
        settings = settings_for(root, address)
        with pytest.raises(KeyboardInterrupt):
            place(settings, REPAIR_SHOP, public_url="https://a.test", to="+12025550123", progress=interrupt)
        assert stand_in.hung_up.is_set()


def test_an_unanswered_call_is_not_waited_for(root: Path) -> None:
    """Nothing reached the bridge, so no last record is due."""
    stand_in = StandIn(root / "logs", [], status="busy")
    stand_in._over.set()
    followed, _ = placed(root, stand_in)
    assert followed.status == "busy"
    assert [record["event"] for record in followed.records] == ["call.placed"]


def test_a_call_sid_that_is_none_is_refused(root: Path) -> None:
    """It would become a path."""
    stand_in = StandIn(root / "logs", [])
    stand_in.sid = "../../etc"
    with pytest.raises(Refused, match="SID"):
        placed(root, stand_in)


def test_twilio_that_is_not_there_is_unreachable(root: Path) -> None:
    """The question could not be asked."""
    settings = settings_for(root, "http://127.0.0.1:9")
    with pytest.raises(Unreachable):
        place(settings, REPAIR_SHOP, public_url="https://a.test", to="+12025550123", progress=print)


@pytest.mark.parametrize(("to", "said"), [("12", "E.164"), ("+12025550100", "cannot call itself")])
def test_a_number_that_cannot_be_called_is_refused(root: Path, to: str, said: str) -> None:
    """Before anything is asked of Twilio."""
    with pytest.raises(OpsError, match=said):
        numbers(settings_for(root, "http://127.0.0.1:9"), to)


def test_without_a_number_the_agents_test_number_is_called(root: Path) -> None:
    """`--to` is optional."""
    assert numbers(settings_for(root, "http://127.0.0.1:9"), None) == ("+12025550199", "+12025550100")
