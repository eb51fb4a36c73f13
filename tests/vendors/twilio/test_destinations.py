"""What may be dialled: a table of numbers, each put together here from its country code and the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.config import Settings
from ops.vendors.twilio import destinations
from ops.vendors.twilio.destinations import Destinations, kind

# country code, the rest, what it is (None: ordinary)
NUMBERS = [
    ("1", "202" "5550123", None),
    ("1", "555" "5550123", None),  # an area that nobody has: fictional
    ("1", "555" "0100001", None),
    ("1", "500" "5550006", None),  # Twilio's own, for tests
    ("1", "809" "5550100", None),  # ordinary, though it is no number of the United States
    ("1", "800" "5550100", None),
    ("44", "20" "79460000", None),
    ("44", "7700" "900000", None),
    ("49", "12345678", None),
    ("39", "089" "0000000", None),  # Salerno: its nought belongs to the number
    ("61", "491" "570006", None),
    ("800", "12345678", None),  # international freephone
    ("1", "900" "5550100", destinations.PREMIUM),
    ("1", "900" "5550100" "12", destinations.PREMIUM),  # digits too many: the network drops them
    ("44", "909" "8790000", destinations.PREMIUM),
    ("44", "0909" "8790000", destinations.PREMIUM),  # the nought of calls inside the country
    ("49", "900" "1234567", destinations.PREMIUM),
    ("49", "00900" "1234567", destinations.PREMIUM),
    ("33", "899" "123456", destinations.PREMIUM),
    ("33", "810" "123456", destinations.SHARED),
    ("49", "1805" "123456", destinations.SHARED),
    ("44", "70" "09990000", destinations.PERSONAL),
    ("1", "500" "5550106", destinations.PERSONAL),
    ("44", "306" "9990000", destinations.COMPANY),
    ("870", "771234567", destinations.NOWHERE),
    ("878", "101234567890", destinations.NOWHERE),
    ("881", "612345678", destinations.NOWHERE),
    ("882", "161234567", destinations.NOWHERE),
    ("883", "510012345", destinations.NOWHERE),
    ("808", "12345678", destinations.NOWHERE),
    ("979", "123456789", destinations.NOWHERE),
    ("888", "12345678901", destinations.NOWHERE),
    ("871", "123456789", destinations.NOWHERE),  # an old code of satellites, no longer given
    ("999", "123456789", destinations.NOWHERE),
    ("1", "911" "5550100", destinations.EMERGENCY),
    ("44", "999" "123456", destinations.EMERGENCY),
    ("49", "30" "112", destinations.EMERGENCY),  # behind an area code
    ("354", "1121" "12", destinations.EMERGENCY),
]  # fmt: skip
ORDINARY = ["+" + code + rest for code, rest, what in NUMBERS if what is None]
BY_NAME = ["+" + code + rest for code, rest, what in NUMBERS if what in destinations.BY_NAME]
NEVER = [
    "+" + code + rest for code, rest, what in NUMBERS if what is not None and what not in destinations.BY_NAME
]


@pytest.mark.parametrize(("code", "rest", "what"), NUMBERS)
def test_each_number_is_told_for_what_it_is(code: str, rest: str, what: str | None) -> None:
    """By its country and type, whatever its first digits look like."""
    assert kind("+" + code + rest) == what


def test_with_nothing_allowed_by_name_ordinary_numbers_are_dialled() -> None:
    """And no other: each refusal says what came and what to do."""
    gate = Destinations()
    assert [one for one in ORDINARY if gate.refusal(one)] == []
    for number in BY_NAME + NEVER:
        refusal = gate.refusal(number)
        assert refusal is not None, number
        assert f"expected an ordinary number, got {number}, a" in refusal.message
        assert "call another number" in refusal.fix


def test_a_list_lets_through_what_it_names_and_nothing_else() -> None:
    """Numbers in full and beginnings; the number of transfers is always among them."""
    one, two, agent, other = ORDINARY[:4]
    gate = Destinations((one, two[:6] + "*"), agent)
    assert [gate.refusal(number) for number in (one, two, agent)] == [None] * 3
    for number in (other[:-1] + "9", one + "1", *ORDINARY[5:]):
        refusal = gate.refusal(number)
        assert refusal is not None, number
        assert f"expected TWILIO_AGENT_NUMBER or one of ALLOWED_NUMBERS, got {number}" in refusal.message


def test_no_beginning_lets_a_costly_number_through() -> None:
    """`+1*` means ordinary numbers only; shared-cost and the like must be named in full, the rest is never dialled."""
    for number in BY_NAME + NEVER:
        assert Destinations((number[:2] + "*", number[:-1] + "*")).refusal(number), number
    for number in BY_NAME:
        assert Destinations((number,)).refusal(number) is None
        assert Destinations((), number).refusal(number) is None
    for number in NEVER:
        assert Destinations((number,), number).refusal(number), number


@pytest.mark.parametrize(
    "text", ["911", "112", "+112", "+49112", "", "+1", "sip:a@b.test", "client:a", "+1202555012٣"]
)
def test_what_is_no_full_number_is_not_dialled(text: str) -> None:
    """Short numbers, addresses, other alphabets' digits."""
    refusal = Destinations().refusal(text)
    assert refusal is not None
    assert "E.164" in refusal.message


def test_the_settings_say_what_is_allowed(root: Path) -> None:
    """ALLOWED_NUMBERS and TWILIO_AGENT_NUMBER, which a simulated Twilio always has."""
    one, two = ORDINARY[:2]
    assert Destinations.of(Settings.load(root, {})).allowed == ()
    gate = Destinations.of(
        Settings.load(root, {"ALLOWED_NUMBERS": f"{one}, +1555*", "TWILIO_AGENT_NUMBER": two})
    )
    assert gate == Destinations((one, "+1555*"), two)
