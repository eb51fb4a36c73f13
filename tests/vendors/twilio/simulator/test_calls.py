"""A call as a value, and as Twilio shows it."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from ops.vendors.twilio.simulator.calls import Call, formatted, parameters, progress, resource

T0 = datetime(2026, 11, 23, 6, 20, tzinfo=UTC)
CALL = Call(
    "CA" + secrets.token_hex(16),
    "AC" + secrets.token_hex(16),
    "+12025550100",
    "+12025550123",
    "outbound-api",
    T0,
)


def test_a_final_status_stays() -> None:
    """What is completed cannot become busy."""
    assert CALL.at("completed", T0).at("busy", T0).status == "completed"


def test_duration_counts_begun_seconds_from_the_answer() -> None:
    """Ringing is free; 1.2 s are two seconds; without an answer it is 0."""
    ringing = CALL.at("initiated", T0).at("ringing", T0)
    up = ringing.at("in-progress", T0 + timedelta(seconds=5))
    assert up.at("completed", T0 + timedelta(seconds=6.2)).duration == 2
    assert ringing.at("no-answer", T0 + timedelta(seconds=60)).duration == 0


def test_numbers_are_strings_and_dates_are_rfc_2822() -> None:
    """As twilio-python expects them."""
    shown = resource(CALL.at("in-progress", T0).at("completed", T0 + timedelta(seconds=3)))
    assert shown["duration"] == "3"
    assert shown["queue_time"] == "0"
    assert shown["date_created"] == "Mon, 23 Nov 2026 06:20:00 +0000"
    assert resource(CALL)["duration"] is None


def test_initiated_is_shown_as_queued() -> None:
    """REST knows no status initiated; callbacks do."""
    initiated = CALL.at("initiated", T0)
    assert resource(initiated)["status"] == "queued"
    assert parameters(initiated)["CallStatus"] == "initiated"


def test_a_callback_says_its_place_and_how_it_ended() -> None:
    """SequenceNumber, source, time, and in the last one the durations in seconds and minutes."""
    last = progress(CALL.at("in-progress", T0).at("completed", T0 + timedelta(seconds=61)), 3, T0)
    assert last["SequenceNumber"] == "3"
    assert last["CallbackSource"] == "call-progress-events"
    assert (last["CallDuration"], last["Duration"], last["SipResponseCode"]) == ("61", "2", "200")
    assert last["To"] == last["Called"] == CALL.to
    assert last["From"] == last["Caller"] == CALL.from_


def test_numbers_are_displayed_as_twilio_displays_them() -> None:
    """North American ones with brackets, others as they are."""
    assert formatted("+12025550100") == "(202) 555-0100"
    assert formatted("+4912345678") == "+4912345678"
