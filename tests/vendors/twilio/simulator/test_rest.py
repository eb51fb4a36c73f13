"""REST, as the official twilio-python SDK sees it."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from tests.vendors.twilio.simulator.conftest import (
    ACCOUNT,
    AGENT,
    PERSON,
    TOKEN,
    Customer,
    Simulator,
    wait_for,
)


@pytest.fixture
def client(simulator: Simulator) -> Iterator[Client]:
    client = Client(ACCOUNT, TOKEN)
    client.api.base_url = simulator.url
    yield client
    client.http_client.session.close()  # type: ignore[attr-defined]


def refused(action: Any) -> TwilioRestException:
    with pytest.raises(TwilioRestException) as caught:
        action()
    return caught.value


def test_account_and_balance(client: Client) -> None:
    """The account is active and full, the balance is text with a currency."""
    account = client.api.accounts(ACCOUNT).fetch()
    assert (account.sid, account.status, account.type) == (ACCOUNT, "active", "Full")
    assert account.date_created is not None
    balance = client.balance.fetch()
    assert (balance.account_sid, balance.currency) == (ACCOUNT, "USD")
    assert float(balance.balance or "") > 0
    assert [each.sid for each in client.api.accounts.list()] == [ACCOUNT]


def test_numbers_are_listed_found_and_updated(client: Client, customer: Customer) -> None:
    """The account owns one number; its webhook can be read and changed."""
    (number,) = client.incoming_phone_numbers.list(phone_number=AGENT)
    assert number.phone_number == AGENT
    assert number.voice_url == f"{customer.url}/twiml"
    assert client.incoming_phone_numbers.list(phone_number="+12025550111") == []
    changed = number.update(voice_url=f"{customer.url}/other", voice_method="GET", friendly_name="Shop")
    assert (changed.voice_url, changed.voice_method) == (f"{customer.url}/other", "GET")
    fetched = client.incoming_phone_numbers(number.sid or "").fetch()
    assert (fetched.voice_url, fetched.friendly_name) == (f"{customer.url}/other", "Shop")
    number.update(voice_url=f"{customer.url}/twiml", voice_method="POST")


def test_a_call_is_made_watched_and_ended(client: Client, simulator: Simulator, customer: Customer) -> None:
    """create → queued, fetch → in-progress, update → completed, with the dates and numbers of each."""
    customer.answers["/wait"] = "<Response><Pause length='30'/></Response>"
    simulator.person({"do": "pause", "ms": 30_000})
    call = client.calls.create(to=PERSON, from_=AGENT, url=f"{customer.url}/wait")
    assert (call.status, call.direction, call.duration) == ("queued", "outbound-api", None)
    assert (call.to, call._from, call.to_formatted) == (PERSON, AGENT, "(202) 555-0123")
    sid = call.sid or ""
    wait_for(lambda: client.calls(sid).fetch().status == "in-progress", "the answer")
    assert sid in [each.sid for each in client.calls.list(status="in-progress")]
    assert client.calls(sid).update(status="completed").status == "completed"
    ended = wait_for(lambda: (found := client.calls(sid).fetch()).status == "completed" and found, "the end")
    assert int(ended.duration) >= 1
    assert ended.start_time <= ended.end_time
    assert refused(lambda: client.calls(sid).update(status="completed")).code == 21220


def test_a_list_is_paged(client: Client, simulator: Simulator, customer: Customer) -> None:
    """The SDK follows next_page_uri until it has all calls, newest first."""
    to = "+12025550177"
    simulator.person({"do": "hang-up"}, number=to)
    made = [client.calls.create(to=to, from_=AGENT, twiml="<Response/>").sid for _ in range(5)]
    listed = [call.sid for call in client.calls.list(to=to, page_size=2)]
    assert listed == made[::-1]
    first = client.calls.page(to=to, page_size=2)
    assert len(list(first)) == 2
    second = first.next_page()
    assert second is not None
    assert len(list(second)) == 2
    assert second.previous_page() is not None


def test_a_list_is_narrowed_by_its_filters(client: Client, simulator: Simulator) -> None:
    """Numbers, status and both times, as a day or as a moment before or after; a wrong date is 20001."""
    to, hour = "+12025550176", timedelta(hours=1)
    simulator.person({"do": "hang-up"}, number=to)
    sid = client.calls.create(to=to, from_=AGENT, twiml="<Response/>").sid or ""
    simulator.over(sid)
    began = client.calls(sid).fetch().start_time

    def listed(**filters: Any) -> list[str | None]:
        return [call.sid for call in client.calls.list(to=to, **filters)]

    assert listed(from_=AGENT, status="completed") == [sid]
    assert listed(start_time=began.date()) == [sid]
    assert listed(start_time_after=began - hour, end_time_before=began + hour) == [sid]
    for wrong in (
        {"status": "busy"},
        {"start_time": began.date() - timedelta(days=1)},
        {"start_time_before": began - hour},
        {"start_time_after": began + hour},
        {"end_time_before": began - hour},
        {"end_time_after": began + hour},
    ):
        assert listed(**wrong) == [], wrong
    assert simulator.rest("GET", "/Calls.json", StartTime="yesterday").json()["code"] == 20001


def test_a_call_waits_for_its_turn(client: Client, simulator: Simulator) -> None:
    """At four calls a second the third call starts half a second after the first."""
    simulator.http.put("/_sim/account", json={"calls_per_second": 4})
    to = "+12025550178"
    simulator.person({"do": "hang-up"}, number=to)
    try:
        sids = [client.calls.create(to=to, from_=AGENT, twiml="<Response/>").sid or "" for _ in range(3)]
        assert client.calls(sids[2]).fetch().status == "queued"
        for sid in sids:
            simulator.over(sid)
        assert 350 <= int(client.calls(sids[2]).fetch().queue_time or 0) <= 20_000
    finally:
        simulator.http.put("/_sim/account", json={"calls_per_second": 1000})


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"to": "", "from_": AGENT, "url": "http://127.0.0.1/x"}, 21201),
        ({"to": PERSON, "from_": "", "url": "http://127.0.0.1/x"}, 21213),
        ({"to": "12", "from_": AGENT, "url": "http://127.0.0.1/x"}, 21211),
        ({"to": PERSON, "from_": "12", "url": "http://127.0.0.1/x"}, 21212),
        ({"to": PERSON, "from_": "+12025550155", "url": "http://127.0.0.1/x"}, 21210),
        ({"to": PERSON, "from_": AGENT}, 21205),
        ({"to": PERSON, "from_": AGENT, "url": "ftp://x"}, 21205),
        ({"to": PERSON, "from_": AGENT, "url": "/relative"}, 21205),
        ({"to": PERSON, "from_": AGENT, "twiml": "<Response/>", "timeout": 0}, 21208),
        ({"to": PERSON, "from_": AGENT, "twiml": "<Response/>", "status_callback_event": ["x"]}, 21626),
        ({"to": PERSON, "from_": AGENT, "twiml": "<Response/>", "status_callback": "x"}, 21609),
    ],
)
def test_a_bad_call_is_refused_by_twilios_number(client: Client, order: dict[str, Any], code: int) -> None:
    """Each fault of a request has its own number, with HTTP 400."""
    problem = refused(lambda: client.calls.create(**order))
    assert (problem.status, problem.code) == (400, code)


def test_a_bad_webhook_for_a_number_is_refused(client: Client, simulator: Simulator) -> None:
    """21402 for the address, 21403 for the method."""
    number = client.incoming_phone_numbers(simulator.number()["sid"])
    assert refused(lambda: number.update(voice_url="not a url")).code == 21402
    assert refused(lambda: number.update(voice_method="PATCH")).code == 21403


def test_what_does_not_exist_is_20404(client: Client) -> None:
    """Unknown calls, numbers, accounts and resources."""
    missing = refused(lambda: client.calls("CA" + "0" * 32).fetch())
    assert (missing.status, missing.code) == (404, 20404)
    assert refused(lambda: client.incoming_phone_numbers("PN" + "0" * 32).fetch()).code == 20404
    assert refused(lambda: client.api.accounts("AC" + "0" * 32).fetch()).code == 20404
    assert refused(lambda: client.messages("SM" + "0" * 32).fetch()).code == 20404


def test_wrong_credentials_are_20003(simulator: Simulator) -> None:
    """A wrong token, another account's SID and no credentials at all: 401."""
    path = f"/2010-04-01/Accounts/{ACCOUNT}.json"
    for credentials in ((ACCOUNT, "wrong"), ("AC" + "0" * 32, TOKEN), None):
        answer = simulator.http.get(path, auth=credentials)
        assert (answer.status_code, answer.json()["code"]) == (401, 20003)
    assert simulator.http.get(path, headers={"Authorization": "Basic !"}).status_code == 401
    assert simulator.http.get(path, auth=(ACCOUNT, TOKEN)).status_code == 200


def test_a_method_that_a_resource_has_not_is_20004(simulator: Simulator) -> None:
    """405 as Twilio says it."""
    answer = simulator.rest("PUT", "/Balance.json")
    assert (answer.status_code, answer.json()["code"]) == (405, 20004)


def test_a_trial_account_calls_verified_numbers_only(client: Client, simulator: Simulator) -> None:
    """21219 for others; a verified number can be called, and the account says that it is a trial."""
    simulator.http.put("/_sim/account", json={"trial": True, "verified": [PERSON]})
    try:
        order = {"from_": AGENT, "twiml": "<Response/>"}
        assert refused(lambda: client.calls.create(to="+12025550188", **order)).code == 21219
        assert client.api.accounts(ACCOUNT).fetch().type == "Trial"
        simulator.person({"do": "pause", "ms": 300}, {"do": "hang-up"})
        heard = simulator.over(client.calls.create(to=PERSON, **order).sid or "")["heard"]
        assert heard["frames"] > 5, "a trial account's notice is spoken first"
    finally:
        simulator.http.put("/_sim/account", json={"trial": False, "verified": []})


def test_rest_fails_on_request(client: Client, simulator: Simulator) -> None:
    """429, 500, a late answer and a broken-off one, each once."""
    account = client.api.accounts(ACCOUNT)
    simulator.fault("rest-limit")
    assert (refused(account.fetch).status, simulator.rest("GET", ".json").status_code) == (429, 200)
    simulator.fault("rest-error")
    assert refused(account.fetch).code == 20500
    simulator.fault("rest-slow", ms=200)
    began = time.monotonic()
    account.fetch()
    assert time.monotonic() - began >= 0.2
    simulator.fault("rest-reset")
    with pytest.raises(httpx.TransportError):
        simulator.rest("GET", ".json")
    assert account.fetch().sid == ACCOUNT


def test_too_many_requests_at_once_are_20429(client: Client, simulator: Simulator) -> None:
    """A hundred that wait for their body leave no room for one more; each answer tells how many there were."""
    head = f"POST /2010-04-01/Accounts/{ACCOUNT}/Calls.json HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"

    def at_once() -> int:
        return int(simulator.rest("GET", ".json").headers["Twilio-Concurrent-Requests"])

    with ExitStack() as open_ones:
        for _ in range(99):
            one = open_ones.enter_context(socket.create_connection(("127.0.0.1", simulator.port)))
            one.sendall(head.encode())
        wait_for(lambda: at_once() == 100, "99 requests under way")
        assert simulator.rest("GET", ".json").status_code == 200
        open_ones.enter_context(socket.create_connection(("127.0.0.1", simulator.port))).sendall(
            head.encode()
        )
        wait_for(lambda: at_once() == 101, "one more of them")
        problem = refused(client.api.accounts(ACCOUNT).fetch)
        assert (problem.status, problem.code) == (429, 20429)
    wait_for(lambda: at_once() == 1, "an end of those that went away")
    assert client.api.accounts(ACCOUNT).fetch().sid == ACCOUNT


def test_what_was_asked_is_remembered_without_credentials(client: Client, simulator: Simulator) -> None:
    """/_sim/requests shows method, path, form and status, never the token."""
    refused(lambda: client.calls.create(to="12", from_=AGENT, url="http://127.0.0.1/x"))
    answer = simulator.http.get("/_sim/requests")
    last = answer.json()["requests"][-1]
    assert (last["method"], last["form"]["To"], last["status"]) == ("POST", ["12"], 400)
    assert TOKEN not in answer.text


def test_the_debugger_lists_what_went_wrong(client: Client, simulator: Simulator, customer: Customer) -> None:
    """An error of a call is an alert: its number, level and call, in pages and by date."""
    customer.answers["/bad"] = "<Response>"
    simulator.person({"do": "pause", "ms": 300}, {"do": "hang-up"})
    began = datetime.now(UTC) - timedelta(seconds=1)
    first, second = (simulator.create(f"{customer.url}/bad") for _ in range(2))
    for sid in (first, second):
        simulator.over(sid)
    client.monitor.base_url = simulator.url
    alerts = client.monitor.v1.alerts.list(start_date=began, page_size=1, limit=10)
    assert {alert.resource_sid for alert in alerts} >= {first, second}
    assert (alerts[0].error_code, alerts[0].log_level) == ("12100", "error")
    assert "line 1, column 11" in (alerts[0].alert_text or "")
    assert client.monitor.v1.alerts.list(log_level="warning", start_date=began) == []
    assert client.monitor.v1.alerts.list(start_date=began + timedelta(hours=1)) == []


def test_faults_are_listed_and_withdrawn(client: Client, simulator: Simulator) -> None:
    """GET shows the catalogue and what is armed, DELETE disarms."""
    simulator.fault("rest-error", 5)
    shown = simulator.http.get("/_sim/faults").json()
    assert shown["armed"] == [{"name": "rest-error", "times": 5, "seed": 0}]
    assert {"name", "where", "about", "defaults"} == set(shown["catalogue"][0])
    assert simulator.http.delete("/_sim/faults").json()["armed"] == []
    assert client.api.accounts(ACCOUNT).fetch().sid == ACCOUNT


def test_a_call_lasts_as_long_as_its_limit(client: Client, simulator: Simulator) -> None:
    """TimeLimit ends a call that nobody else ends."""
    simulator.person({"do": "pause", "ms": 30_000})
    twiml = "<Response><Pause length='30'/></Response>"
    call = client.calls.create(to=PERSON, from_=AGENT, twiml=twiml, time_limit=1)
    assert simulator.over(call.sid or "", seconds=5)["status"] == "completed"


def test_no_request_breaks_it(simulator: Simulator) -> None:
    """Random methods, paths, forms, JSON and headers are answered below 500."""
    chance = random.Random(11)
    account = f"/2010-04-01/Accounts/{ACCOUNT}"
    paths = (
        f"{account}/Calls.json", f"{account}/Calls/CA1.json", f"{account}/IncomingPhoneNumbers.json", "/v1/Alerts",
        f"{account}/{chance.randbytes(4).hex()}", "/_sim/dial", "/_sim/faults", "/_sim/phones/%2B12025550123",
        "/_sim/account", "/_sim/calls/x/audio.wav", "/nothing",
    )  # fmt: skip
    bodies = (b"", b"[]", b"null", b'{"steps":[{"do":7}]}', b'{"steps":{}}', b'{"times":1e400}', b"{" * 5000)
    names = (
        "To",
        "From",
        "Url",
        "Twiml",
        "Timeout",
        "PageSize",
        "Page",
        "PhoneNumber",
        "StartDate",
        "Status",
    )
    for _ in range(300):
        fields = {
            name: chance.choice(("", "1", "\u0661" * 10, "\x00", "+1", "9" * 30, "http://["))
            for name in names
        }
        answer = simulator.http.request(
            chance.choice(("GET", "POST", "PUT", "DELETE", "PATCH")),
            chance.choice(paths),
            params=fields if chance.random() < 0.3 else None,
            content=urlencode(fields)
            if chance.random() < 0.5
            else chance.choice((*bodies, chance.randbytes(99))),
            auth=(ACCOUNT, TOKEN) if chance.random() < 0.9 else None,
            headers={"Authorization": chance.choice((b"Basic \xff", b"Bearer x"))}
            if chance.random() < 0.05
            else None,
        )
        assert answer.status_code < 500, (answer.request.method, answer.request.url, answer.text)
    simulator.http.delete("/_sim/faults")
    order = {"trial": False, "verified": [], "calls_per_second": 1000, "resume_after_loss": True}
    assert simulator.http.put("/_sim/account", json=order).status_code == 200
