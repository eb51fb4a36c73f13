"""`inv call` from a real command line: whom it calls, and whom it never does."""

from __future__ import annotations

from urllib.parse import parse_qs

from tests.calls import histories
from tests.calls.stand_in import StandIn, serving
from tests.conftest import Project


def test_a_number_that_may_not_be_called_never_reaches_twilio(project: Project) -> None:
    """Premium rate, and any number beside those of ALLOWED_NUMBERS: exit code 3, and Twilio is asked nothing.
    The same command with an allowed number is a call."""
    stand_in = StandIn(project.root / "logs", histories.good())
    with serving(stand_in) as address:
        here = {"TWILIO_API_URL": address, "PUBLIC_URL": "http://127.0.0.1:9", "TIMEOUT_ADDITIONAL_LOGS": "1"}
        listed = here | {"ALLOWED_NUMBERS": "+1555*"}
        for number, environ, said in (
            ("+19005550100", here, "a premium-rate number"),
            ("+12025550142", listed, "one of ALLOWED_NUMBERS"),
        ):
            document = project.json("call", "--to", number, **environ)
            assert document["exit_code"] == 3
            (finding,) = document["findings"]
            assert said in finding["summary"]
            assert "ALLOWED_NUMBERS" in finding["fix"] or "another number" in finding["fix"]
        assert stand_in.asked == []

        assert project.json("call", "--to", "+15550100001", **listed)["data"]["call_sid"] == stand_in.sid
    (form,) = [parse_qs(body) for method, path, body in stand_in.asked if path.endswith("/Calls.json")]
    assert form["To"] == ["+15550100001"]
