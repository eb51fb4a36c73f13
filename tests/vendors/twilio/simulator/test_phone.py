"""A call from its first ring to its last, over real sockets."""

from __future__ import annotations

import asyncio
import io
import wave
from array import array
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from twilio.request_validator import RequestValidator

from ops.speech import g711
from tests.vendors.twilio.simulator.conftest import (
    ACCOUNT,
    AGENT,
    PERSON,
    SAY_TONE,
    TOKEN,
    TONE,
    Customer,
    Hook,
    Simulator,
    wait_for,
)

VALIDATOR = RequestValidator(TOKEN)
EVENTS = ["initiated", "ringing", "answered", "completed"]
OTHER = "+12025550199"


def names(view: dict[str, object]) -> list[str]:
    return [event["name"] for event in view["events"]]  # type: ignore[index,attr-defined]


def codes(view: dict[str, object]) -> list[int]:
    return [error["code"] for error in view["errors"]]  # type: ignore[index,attr-defined]


def test_an_outbound_call_is_told_step_by_step(simulator: Simulator, customer: Customer) -> None:
    """Signed status callbacks come in order with SequenceNumber, the webhook at the answer."""
    customer.answers["/twiml"] = "<Response><Say>Hi</Say></Response>"
    simulator.person({"do": "pause", "ms": 10_000})
    sid = simulator.create(
        f"{customer.url}/twiml", StatusCallback=f"{customer.url}/status", StatusCallbackEvent=EVENTS
    )
    view = simulator.over(sid)
    wait_for(lambda: len(customer.of("/status")) == 4, "four status callbacks")
    told = [(hook.form["SequenceNumber"], hook.form["CallStatus"]) for hook in customer.of("/status")]
    assert told == [("0", "initiated"), ("1", "ringing"), ("2", "in-progress"), ("3", "completed")]
    (webhook,) = customer.of("/twiml")
    assert webhook.form["CallStatus"] == "in-progress"
    assert webhook.form["Direction"] == "outbound-api"
    for hook in customer.hooks:
        assert (hook.form["CallSid"], hook.form["AccountSid"]) == (sid, ACCOUNT)
        assert (hook.form["To"], hook.form["From"]) == (PERSON, AGENT)
        assert VALIDATOR.validate(hook.url, hook.form, hook.headers["x-twilio-signature"])
    assert customer.of("/status")[3].form["CallDuration"] == "1"
    assert view["status"] == "completed"
    assert view["errors"] == []


def test_an_inbound_call_asks_the_numbers_webhook_while_it_rings(
    simulator: Simulator, customer: Customer
) -> None:
    """The first request says ringing and inbound; Reject leaves the call unanswered."""
    customer.answers["/twiml"] = '<Response><Reject reason="busy"/></Response>'
    view = simulator.over(simulator.dial({"do": "listen"}))
    (hook,) = customer.of("/twiml")
    assert (hook.form["CallStatus"], hook.form["Direction"]) == ("ringing", "inbound")
    assert (hook.form["From"], hook.form["To"]) == (PERSON, AGENT)
    assert VALIDATOR.validate(hook.url, hook.form, hook.headers["x-twilio-signature"])
    assert view["status"] == "busy"
    assert "call.in-progress" not in names(view)
    customer.answers["/twiml"] = "<Response><Reject/></Response>"
    assert simulator.over(simulator.dial({"do": "listen"}))["status"] == "no-answer"


def test_a_caller_can_ring_any_webhook(simulator: Simulator, customer: Customer) -> None:
    """`webhook` in the order stands above the number's own address; the person hears what is said there."""
    customer.answers["/elsewhere"] = "<Response><Say>Hi</Say></Response>"
    view = simulator.over(
        simulator.dial({"do": "listen", "quiet_ms": 100}, webhook=f"{customer.url}/elsewhere")
    )
    assert len(customer.of("/elsewhere")) == 1
    assert view["heard"]["frames"] > 5
    assert view["heard"]["dbfs"] > -40


@pytest.mark.parametrize(
    ("person", "status"), [({"answers": "busy"}, "busy"), ({"answers": "fails"}, "failed")]
)
def test_a_person_who_does_not_answer(
    simulator: Simulator, customer: Customer, person: dict[str, str], status: str
) -> None:
    """Busy and failed calls end without a webhook, and the callback says so."""
    simulator.person({"do": "listen"}, **person)
    view = simulator.over(simulator.create(f"{customer.url}/twiml", StatusCallback=f"{customer.url}/status"))
    assert view["status"] == status
    wait_for(lambda: customer.of("/status"), "the callback")
    assert customer.of("/status")[0].form["CallStatus"] == status
    assert customer.of("/twiml") == []


def test_nobody_answers_in_time(simulator: Simulator, customer: Customer) -> None:
    """After Timeout seconds of ringing the call is no-answer."""
    simulator.person({"do": "listen"}, answers="no-answer")
    assert simulator.over(simulator.create(f"{customer.url}/twiml", Timeout=1))["status"] == "no-answer"


def test_redirect_and_relative_addresses(simulator: Simulator, customer: Customer) -> None:
    """Redirect fetches the next document, relative to the last, with GET where asked; its query is signed."""
    customer.answers["/a/one"] = '<Response><Redirect method="GET">two?x=1</Redirect></Response>'
    customer.answers["/a/two"] = "<Response><Hangup/></Response>"
    simulator.person({"do": "pause", "ms": 9000})
    simulator.over(simulator.create(f"{customer.url}/a/one"))
    (hook,) = customer.of("/a/two")
    assert hook.method == "GET"
    assert dict(parse_qsl(urlsplit(hook.url).query))["x"] == "1"
    assert VALIDATOR.validate(hook.url, {}, hook.headers["x-twilio-signature"])


def test_a_redirect_to_itself_does_not_hammer_the_server(simulator: Simulator, customer: Customer) -> None:
    """An endless loop of documents goes round at most twenty times a second."""
    customer.answers["/twiml"] = "<Response><Redirect/></Response>"
    simulator.person({"do": "pause", "ms": 500}, {"do": "hang-up"})
    simulator.over(simulator.create(f"{customer.url}/twiml"))
    assert 3 <= len(customer.of("/twiml")) <= 12


def test_an_http_redirect_is_followed(simulator: Simulator, customer: Customer) -> None:
    """302 is followed with GET."""
    customer.answers["/one"] = RedirectResponse("/two", 302)
    customer.answers["/two"] = "<Response/>"
    simulator.person({"do": "pause", "ms": 9000})
    assert simulator.over(simulator.create(f"{customer.url}/one"))["errors"] == []
    assert [hook.method for hook in customer.of("/two")] == ["GET"]


def test_digits_are_gathered(simulator: Simulator, customer: Customer) -> None:
    """The prompt ends with the first key; numDigits keys go to the action."""
    customer.answers["/twiml"] = (
        '<Response><Gather numDigits="2" action="/digits"><Say>one two three four five six</Say></Gather></Response>'
    )
    customer.answers["/digits"] = "<Response><Hangup/></Response>"
    view = simulator.over(
        simulator.dial({"do": "pause", "ms": 200}, {"do": "press", "digits": "47"}, {"do": "listen"})
    )
    (hook,) = customer.of("/digits")
    assert hook.form["Digits"] == "47"
    assert view["heard"]["frames"] < 60


def test_gather_without_digits_goes_on(simulator: Simulator, customer: Customer) -> None:
    """Nothing pressed within the timeout: the next verb runs, and the action is not asked."""
    customer.answers["/twiml"] = (
        '<Response><Gather timeout="1" action="/digits"/><Redirect>/after</Redirect></Response>'
    )
    customer.answers["/after"] = "<Response><Hangup/></Response>"
    simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    assert customer.of("/digits") == []
    assert len(customer.of("/after")) == 1


def test_dial_rings_a_second_person_and_lets_both_hear_each_other(
    simulator: Simulator, customer: Customer
) -> None:
    """A second leg with ParentCallSid; each hears the other; the action learns how it went."""
    customer.answers["/twiml"] = (
        f'<Response><Dial action="/dialled" timeout="5"><Number statusCallback="{customer.url}/leg" '
        f'statusCallbackEvent="initiated ringing answered completed">{OTHER}</Number></Dial></Response>'
    )
    customer.answers["/dialled"] = "<Response><Hangup/></Response>"
    simulator.person(SAY_TONE, {"do": "listen", "quiet_ms": 100}, {"do": "hang-up"}, number=OTHER)
    sid = simulator.dial({"do": "listen", "quiet_ms": 100}, SAY_TONE, {"do": "listen"})
    view = simulator.over(sid)
    (hook,) = customer.of("/dialled")
    assert (hook.form["DialCallStatus"], hook.form["DialBridged"]) == ("completed", "true")
    child = simulator.call(hook.form["DialCallSid"])
    assert (child["direction"], child["parent_call_sid"]) == ("outbound-dial", sid)
    assert view["heard"]["frames"] == pytest.approx(10, abs=2)
    assert child["heard"]["frames"] == pytest.approx(10, abs=2)
    wait_for(lambda: len(customer.of("/leg")) == 4, "the leg's callbacks")
    assert [leg.form["CallStatus"] for leg in customer.of("/leg")] == [
        "initiated", "ringing", "in-progress", "completed",
    ]  # fmt: skip
    assert customer.of("/leg")[0].form["ParentCallSid"] == sid


def test_dial_to_a_busy_number(simulator: Simulator, customer: Customer) -> None:
    """The action learns that it was busy."""
    customer.answers["/twiml"] = f'<Response><Dial action="/dialled">{OTHER}</Dial></Response>'
    customer.answers["/dialled"] = "<Response/>"
    simulator.person(number=OTHER, answers="busy")
    simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    assert customer.of("/dialled")[0].form["DialCallStatus"] == "busy"


def test_play_fetches_a_sound(simulator: Simulator, customer: Customer) -> None:
    """Raw mu-law from a URL is heard; what is no sound is error 13420, and the call goes on."""
    customer.answers["/hello.ulaw"] = Response(TONE, media_type="audio/basic")
    customer.answers["/page"] = PlainTextResponse("no sound")
    customer.answers["/twiml"] = "<Response><Play>/page</Play><Play>/hello.ulaw</Play></Response>"
    view = simulator.over(simulator.dial({"do": "pause", "ms": 9000}))
    assert view["heard"]["dbfs"] == pytest.approx(g711.level(TONE), abs=1)
    assert codes(view) == [13420]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Response("nope", 500), 11217),
        (Response("<Response><Say>x</Response>", media_type="text/xml"), 12100),
        (Response("{}", media_type="application/json"), 12300),
        (Response("", media_type="text/xml"), 11770),
        (Response("", 304), 11216),
        (RedirectResponse("/loop", 302), 11215),
    ],
)
def test_a_bad_answer_is_an_error_and_an_apology(
    simulator: Simulator, customer: Customer, answer: Response, code: int
) -> None:
    """Twilio's number is recorded; the fallback address is asked with ErrorCode and ErrorUrl."""
    customer.answers["/loop"] = answer
    customer.answers["/fallback"] = "<Response><Hangup/></Response>"
    simulator.person({"do": "pause", "ms": 9000})
    view = simulator.over(simulator.create(f"{customer.url}/loop", FallbackUrl=f"{customer.url}/fallback"))
    assert codes(view) == [code]
    (hook,) = customer.of("/fallback")
    assert hook.form["ErrorCode"] == str(code)
    assert hook.form["ErrorUrl"].startswith(f"{customer.url}/loop")


def test_without_a_fallback_the_caller_hears_an_apology(simulator: Simulator, customer: Customer) -> None:
    """An application error is spoken, then the call ends."""
    customer.answers["/twiml"] = Response("no", 404)
    sid = simulator.dial({"do": "pause", "ms": 20_000})
    wait_for(lambda: simulator.call(sid)["heard"]["frames"] > 5, "the apology")
    simulator.http.post(f"/_sim/calls/{sid}/hang-up")
    view = simulator.over(sid)
    assert codes(view) == [11217]
    assert view["status"] == "completed"


def test_no_connection_is_tried_twice(simulator: Simulator, customer: Customer, free_ports: object) -> None:
    """A webhook where nobody listens is 11202."""
    (port,) = free_ports(1)  # type: ignore[operator]
    simulator.person({"do": "hang-up"})
    simulator.person({"do": "pause", "ms": 9000}, number="+12025550166")
    sid = simulator.create(
        f"http://127.0.0.1:{port}/x", to="+12025550166", FallbackUrl=f"{customer.url}/fallback"
    )
    customer.answers["/fallback"] = "<Response/>"
    assert codes(simulator.over(sid)) == [11202]


def test_the_address_can_ask_for_more_tries(simulator: Simulator, customer: Customer) -> None:
    """`#rc=2&rp=5xx` tries again on 500 twice, with one idempotency token; the fragment is not sent."""
    replies = [Response("", 500), Response("", 503), Response("<Response/>", media_type="text/xml")]
    customer.answers["/flaky"] = lambda hook: replies.pop(0)
    simulator.person({"do": "pause", "ms": 9000})
    view = simulator.over(simulator.create(f"{customer.url}/flaky#rc=2&rp=5xx"))
    hooks = customer.of("/flaky")
    assert len(hooks) == 3
    assert len({hook.headers["i-twilio-idempotency-token"] for hook in hooks}) == 1
    assert VALIDATOR.validate(hooks[0].url, hooks[0].form, hooks[0].headers["x-twilio-signature"])
    assert view["errors"] == []


def test_a_slow_webhook_is_given_up(simulator: Simulator, customer: Customer) -> None:
    """The time for an answer is limited (here to 300 ms by the address; 15 s otherwise)."""

    async def late(hook: Hook) -> Response:
        await asyncio.sleep(1)
        return Response("<Response/>", media_type="text/xml")

    customer.answers["/late"] = late
    customer.answers["/fallback"] = "<Response/>"
    simulator.person({"do": "pause", "ms": 9000})
    view = simulator.over(
        simulator.create(f"{customer.url}/late#tt=300", FallbackUrl=f"{customer.url}/fallback")
    )
    assert codes(view) == [11203]


def test_a_status_callback_is_tried_again(simulator: Simulator, customer: Customer) -> None:
    """A 500 is answered with one more try, in order, before the next callback."""
    replies = [Response("", 500)]
    customer.answers["/status"] = lambda hook: replies.pop() if replies else Response("")
    simulator.person({"do": "hang-up"})
    sid = simulator.create(
        f"{customer.url}/twiml",
        StatusCallback=f"{customer.url}/status",
        StatusCallbackEvent="initiated completed",
    )
    simulator.over(sid)
    wait_for(lambda: len(customer.of("/status")) == 3, "three requests")
    assert [hook.form["SequenceNumber"] for hook in customer.of("/status")] == ["0", "0", "1"]


def test_rest_can_redirect_a_live_call(simulator: Simulator, customer: Customer) -> None:
    """POST Url on a call in progress stops what it does and runs the new document."""
    customer.answers["/wait"] = "<Response><Pause length='30'/></Response>"
    customer.answers["/new"] = "<Response><Hangup/></Response>"
    simulator.person({"do": "pause", "ms": 30_000})
    sid = simulator.create(f"{customer.url}/wait")
    wait_for(lambda: "twiml" in names(simulator.call(sid)), "the pause")
    assert simulator.rest("POST", f"/Calls/{sid}.json", Url=f"{customer.url}/new").status_code == 200
    assert simulator.over(sid)["status"] == "completed"
    assert len(customer.of("/new")) == 1


def test_both_directions_are_recorded(simulator: Simulator, customer: Customer) -> None:
    """The WAV file has the person left and the agent right, each where and when they spoke."""
    customer.answers["/tone"] = Response(TONE, media_type="audio/basic")
    customer.answers["/twiml"] = "<Response><Play>/tone</Play><Pause length='9'/></Response>"
    sid = simulator.dial({"do": "listen", "quiet_ms": 200}, SAY_TONE, {"do": "hang-up"})
    view = simulator.over(sid)
    with wave.open(io.BytesIO(simulator.http.get(f"/_sim/calls/{sid}/audio.wav").content)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 8000, 2)
        samples = array("h", file.readframes(file.getnframes()))
    person, agent = samples[0::2], samples[1::2]
    answered = next(event["at_ms"] for event in view["events"] if event["name"] == "call.in-progress")
    said = view["steps"][1]
    begin, end = (int((said[key] - answered) * 8) for key in ("at_ms", "ended_ms"))
    assert end - begin == pytest.approx(1600, abs=160)
    frame = 160  # times are told in whole milliseconds
    assert max(map(abs, person[: begin - frame])) == 0
    assert max(map(abs, person[begin + frame : end - frame])) > 3000
    assert max(map(abs, agent[:begin])) > 3000
    assert max(map(abs, agent[begin:])) == 0
    assert [step["done"] for step in view["steps"]] == [True, True, True]


def test_a_step_that_times_out_ends_the_call(simulator: Simulator, customer: Customer) -> None:
    """The step is recorded as not done and the person hangs up."""
    customer.answers["/twiml"] = "<Response><Pause length='30'/></Response>"
    simulator.person({"do": "listen", "timeout_ms": 300}, {"do": "say", "line": "caller-price"})
    view = simulator.over(simulator.create(f"{customer.url}/twiml"))
    assert [step["done"] for step in view["steps"]] == [False, None]
    assert view["status"] == "completed"


def test_webhooks_fail_on_request(simulator: Simulator, customer: Customer) -> None:
    """A forged signature and a doubled webhook, each once; a doubled status callback."""
    customer.answers["/twiml"] = "<Response/>"
    simulator.fault("webhook-forged")
    simulator.over(simulator.dial({"do": "listen"}))
    (hook,) = customer.of("/twiml")
    assert not VALIDATOR.validate(hook.url, hook.form, hook.headers["x-twilio-signature"])
    simulator.fault("webhook-twice")
    simulator.over(simulator.dial({"do": "listen"}))
    assert len(customer.of("/twiml")) == 3
    simulator.fault("status-twice")
    simulator.person({"do": "hang-up"})
    simulator.over(simulator.create(f"{customer.url}/twiml", StatusCallback=f"{customer.url}/status"))
    wait_for(lambda: len(customer.of("/status")) == 2, "the doubled callback")


@pytest.mark.parametrize(
    ("fault", "status"), [("call-busy", "busy"), ("call-fails", "failed"), ("call-no-answer", "no-answer")]
)
def test_a_call_fails_on_request(simulator: Simulator, customer: Customer, fault: str, status: str) -> None:
    """The next call is not answered, in the way that was asked for."""
    simulator.person({"do": "hang-up"})
    simulator.fault(fault, **({"ms": 100} if fault == "call-no-answer" else {}))
    assert simulator.over(simulator.create(f"{customer.url}/twiml"))["status"] == status


def test_a_bad_order_is_refused_with_what_was_expected(simulator: Simulator) -> None:
    """The control paths answer 400 and a sentence."""
    for method, path, order in (
        ("PUT", "/_sim/phones/nobody", {"steps": []}),
        ("PUT", f"/_sim/phones/{PERSON}", {"steps": [{"do": "fly"}]}),
        ("PUT", f"/_sim/phones/{PERSON}", {"answers": "perhaps"}),
        ("PUT", f"/_sim/phones/{PERSON}", {"loss": 2}),
        ("POST", "/_sim/dial", {"from": PERSON, "to": "+12025550111"}),
        ("POST", "/_sim/dial", {"from": PERSON, "to": AGENT, "webhook": "ftp://x"}),
        ("POST", "/_sim/faults", {"name": "no-such"}),
        ("POST", "/_sim/faults", {"name": "rest-slow", "self": 1}),
        ("PUT", "/_sim/account", {"calls_per_second": 0}),
    ):
        answer = simulator.http.request(method, path, json=order)
        assert answer.status_code == 400, (path, order)
        assert answer.json()["error"]
    assert simulator.http.post("/_sim/dial", content=b"[" * 100_000).status_code == 400
    assert simulator.http.get("/_sim/calls/CA1").status_code == 404
