"""The official `twilio` SDK and our own client ask the same questions, of the simulator or of Twilio."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from ops.errors import OpsError
from ops.net.http import Declined
from ops.vendors.twilio.client import Twilio
from tests.contract.conftest import Vendor

SILENT = "<Response><Pause length='1'/><Hangup/></Response>"
ENDED = ("completed", "busy", "failed", "no-answer", "canceled")


@pytest.fixture
def sdk(twilio_vendor: Vendor) -> Client:
    return _client(twilio_vendor)


@pytest.fixture
def ours(twilio_vendor: Vendor) -> Iterator[Twilio]:
    with Twilio.of(twilio_vendor.settings) as twilio:
        yield twilio


def _client(vendor: Vendor, token: str | None = None) -> Client:
    settings = vendor.settings
    assert settings.twilio_auth_token
    client = Client(settings.twilio_account_sid, token or settings.twilio_auth_token.reveal())
    client.api.base_url = settings.twilio_api_url
    return client


def test_the_account_is_active(sdk: Client, ours: Twilio, twilio_vendor: Vendor) -> None:
    """Both clients read the same account."""
    account = sdk.api.accounts(twilio_vendor.settings.twilio_account_sid).fetch()
    assert account.status == "active"
    assert account.type in ("Full", "Trial")
    mine = ours.account()
    assert (mine.sid, mine.status, mine.kind) == (account.sid, account.status, account.type)


def test_the_balance_is_an_amount(sdk: Client, ours: Twilio) -> None:
    """The balance is a decimal text with a currency."""
    balance = sdk.balance.fetch()
    assert float(balance.balance) == pytest.approx(ours.balance().amount, abs=1)
    assert balance.currency == ours.balance().currency
    assert len(balance.currency) == 3


def test_the_agents_number_is_listed(sdk: Client, ours: Twilio, twilio_vendor: Vendor) -> None:
    """The number is found by its text, is voice capable, and both clients read the same voice URL."""
    wanted = twilio_vendor.settings.twilio_phone_number
    (number,) = sdk.incoming_phone_numbers.list(phone_number=wanted, limit=5)
    assert number.phone_number == wanted
    assert number.capabilities["voice"] is True
    (mine,) = ours.numbers(wanted)
    assert (mine.sid, mine.voice_url, mine.voice) == (number.sid, number.voice_url, True)


def test_a_number_takes_its_own_voice_url_again(sdk: Client, ours: Twilio, twilio_vendor: Vendor) -> None:
    """Updating a number answers with the number; the value is left as it was."""
    (mine,) = ours.numbers(twilio_vendor.settings.twilio_phone_number)
    changed = ours.update_number(mine.sid, voice_url=mine.voice_url, voice_method=mine.voice_method or "POST")
    assert changed.voice_url == mine.voice_url
    assert sdk.incoming_phone_numbers(mine.sid).fetch().voice_url == mine.voice_url


def test_lists_come_in_pages(sdk: Client) -> None:
    """A page of calls deserialises, however many there are."""
    calls = sdk.calls.list(limit=3, page_size=2)
    assert len(calls) <= 3
    assert all(call.sid.startswith("CA") for call in calls)


def test_a_wrong_token_is_20003(twilio_vendor: Vendor) -> None:
    """Wrong credentials are refused with 401 and Twilio's number, which our client gives too."""
    wrong = secrets.token_hex(16)
    with pytest.raises(TwilioRestException) as caught:
        _client(twilio_vendor, wrong).api.accounts(twilio_vendor.settings.twilio_account_sid).fetch()
    assert (caught.value.status, caught.value.code) == (401, 20003)
    settings = twilio_vendor.settings
    from ops.values import Secret

    assert settings.twilio_account_sid
    with Twilio(
        settings.twilio_api_url, settings.twilio_account_sid, (settings.twilio_account_sid, Secret(wrong))
    ) as ours:
        with pytest.raises(Declined) as refused:
            ours.account()
    assert refused.value.code == 20003


def test_a_call_that_does_not_exist_is_20404(sdk: Client, ours: Twilio) -> None:
    """An unknown call is 404 with Twilio's number."""
    sid = "CA" + secrets.token_hex(16)
    with pytest.raises(TwilioRestException) as caught:
        sdk.calls(sid).fetch()
    assert (caught.value.status, caught.value.code) == (404, 20404)
    with pytest.raises(Declined) as refused:
        ours.fetch_call(sid)
    assert (refused.value.code, refused.value.unknown_question) == (20404, False)


def test_a_number_that_is_none_is_21211(sdk: Client, ours: Twilio, twilio_vendor: Vendor) -> None:
    """Calling something that is not a number is refused before anything rings."""
    own = twilio_vendor.settings.twilio_phone_number
    assert own
    with pytest.raises(TwilioRestException) as caught:
        sdk.calls.create(to="+1", from_=own, twiml=SILENT)
    assert (caught.value.status, caught.value.code) == (400, 21211)
    with pytest.raises(OpsError, match=r"E\.164"):  # ours does not even ask
        ours.create_call(to="+1", from_=own, url="https://example.com/twiml")


def test_a_call_is_placed_watched_and_ended(sdk: Client, ours: Twilio, twilio_vendor: Vendor) -> None:
    """A call placed by the SDK is seen by our client, which hangs it up. Live it really rings."""
    settings = twilio_vendor.settings
    if settings.twilio_agent_number is None:
        pytest.skip("TWILIO_AGENT_NUMBER is not set: nobody to call")
    placed = sdk.calls.create(
        to=settings.twilio_agent_number, from_=settings.twilio_phone_number, twiml=SILENT
    )
    assert placed.status in ("queued", "initiated", "ringing")
    seen = ours.fetch_call(placed.sid)
    assert (seen.sid, seen.to, seen.direction) == (placed.sid, settings.twilio_agent_number, "outbound-api")
    assert ours.hang_up(placed.sid).sid == placed.sid
    until = time.monotonic() + 20
    while ours.fetch_call(placed.sid).status not in ENDED and time.monotonic() < until:
        time.sleep(0.1)
    assert ours.fetch_call(placed.sid).status in ENDED
    assert sdk.calls(placed.sid).fetch().status in ENDED
