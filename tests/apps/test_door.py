"""Who may come in: forged requests are refused, each for its reason."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from ops.apps.door import MISFIT, Door, Refusal, Webhook, in_time, is_local
from ops.vendors.twilio import wire

ACCOUNT, TOKEN, CALL = "AC" + secrets.token_hex(16), secrets.token_hex(16), "CA" + secrets.token_hex(16)
ORIGIN = "https://voice.example.com"
FORM = {"AccountSid": ACCOUNT, "CallSid": CALL, "From": "+12025550142", "CallStatus": "ringing"}
KIND = "application/x-www-form-urlencoded"


def door(**changes: object) -> Door:
    return Door(
        **{"account_sid": ACCOUNT, "token": TOKEN, "origin": ORIGIN, "max_calls_per_hour": 3, **changes}
    )  # type: ignore[arg-type]


def ask(
    form: Mapping[str, str] = FORM,
    *,
    signed_form: Mapping[str, str] | None = None,
    url: str = f"{ORIGIN}/twiml",
    token: str = TOKEN,
    body: bytes | None = None,
    kind: str = KIND,
    path: str = "/twiml",
    query: str = "",
    signatures: list[str] | None = None,
) -> Webhook | Refusal:
    signature = wire.sign(token, url, form if signed_form is None else signed_form)
    return door().webhook(
        path,
        query,
        kind,
        urlencode(form).encode() if body is None else body,
        [signature] if signatures is None else signatures,
    )


def test_a_rightly_signed_form_comes_in() -> None:
    """The honest request passes, whatever the order of its fields, with its query signed too."""
    assert ask() == Webhook(CALL, FORM)
    assert isinstance(ask(dict(reversed(FORM.items()))), Webhook)
    assert isinstance(ask(url=f"{ORIGIN}/twiml?record=1", query="record=1"), Webhook)
    assert isinstance(ask(url="https://voice.example.com:443/twiml"), Webhook)


@pytest.mark.parametrize(
    "party", ["anonymous", "", "sip:+12025550142@example.com", "client:ann", "266696687", "+1"]
)
def test_who_calls_need_not_have_a_number(party: str) -> None:
    """Only what begins as a number must be one."""
    form = FORM | {"From": party, "Direction": "outbound-api", "StreamEvent": "stream-started"}
    assert ask(form) == Webhook(CALL, form)


FORGERIES = {
    "no signature": {"signatures": []},
    "empty signature": {"signatures": [""]},
    "huge signature": {"signatures": ["x" * 1_000_000]},
    "two signatures": {"signatures": [wire.sign(TOKEN, f"{ORIGIN}/twiml", FORM)] * 2},
    "other URL": {"url": "https://evil.example.com/twiml"},
    "other path": {"url": f"{ORIGIN}/status"},
    "other port": {"url": "https://voice.example.com:8443/twiml"},
    "other scheme": {"url": "http://voice.example.com/twiml"},
    "trailing slash": {"url": f"{ORIGIN}/twiml/"},
    "upper-case host": {"url": "https://VOICE.example.com/twiml"},
    "query not signed": {"query": "record=1"},
    "query signed, not sent": {"url": f"{ORIGIN}/twiml?record=1"},
    "other token": {"token": secrets.token_hex(16)},
    "parameter added": {"form": FORM | {"Extra": "1"}, "signed_form": FORM},
    "parameter removed": {"form": {k: v for k, v in FORM.items() if k != "From"}, "signed_form": FORM},
    "parameter changed": {"form": FORM | {"From": "+12025550143"}, "signed_form": FORM},
    "trailing space trimmed": {"signed_form": FORM | {"From": "+12025550142 "}},
    "parameter repeated": {"body": (urlencode(FORM) + f"&CallSid={CALL}").encode()},
    "re-split: value swallows the next name": {
        "form": {"AccountSid": ACCOUNT + "CallSid" + CALL, "CallStatus": "ringing", "From": "+12025550142"},
        "signed_form": FORM,
    },
    "re-split: fields moved into the path": {
        "form": {},
        "signed_form": {},
        "url": f"{ORIGIN}/twiml" + "".join(k + v for k, v in sorted(FORM.items())),
    },
    "other account, rightly signed": {"form": FORM | {"AccountSid": "AC" + secrets.token_hex(16)}},
    "no CallSid": {"form": {"AccountSid": ACCOUNT}},
    "CallSid with a path in it": {"form": FORM | {"CallSid": "CA/../../etc/passwd"}},
    "CallSid with a newline": {"form": FORM | {"CallSid": CALL + "\n"}},
    "re-split: caller swallows the called": {
        "form": FORM | {"From": "+12025550142To+12025550100"},
        "signed_form": FORM | {"To": "+12025550100"},
    },
    "a number with letters": {"form": FORM | {"To": "+1202555x"}},
    "a number that is too long": {"form": FORM | {"Called": "+" + "1" * 21}},
    "a number with a newline": {"form": FORM | {"Caller": "+12025550142\n"}},
    "a status with more in it": {"form": FORM | {"CallStatus": "ringingDirectioninbound"}},
    "a direction in capitals": {"form": FORM | {"Direction": "Inbound"}},
    "an event that is empty": {"form": FORM | {"StreamEvent": ""}},
    "JSON": {"kind": "application/json", "body": b'{"CallSid":"x"}'},
    "multipart": {"kind": "multipart/form-data; boundary=x"},
    "no content type": {"kind": ""},
    "not UTF-8": {"body": b"CallSid=\xff\xfe"},
    "a thousand fields": {"body": "&".join(f"k{i}=v" for i in range(1000)).encode()},
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries_are_refused(name: str) -> None:
    """Each forged request is refused with 403 and a reason for the log."""
    refusal = ask(**FORGERIES[name])  # type: ignore[arg-type]
    assert isinstance(refusal, Refusal), name
    assert refusal.status == 403
    assert refusal.reason


def test_the_time_of_a_refusal_does_not_tell_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong, as much is signed as for the right request, and the same where the form is the same."""
    computed: list[tuple[Any, ...]] = []
    sign = wire.sign

    def counted(*what: Any) -> str:
        computed.append(what)
        return sign(*what)

    def signed(**forgery: Any) -> list[tuple[Any, ...]]:
        computed.clear()
        ask(**forgery)
        return computed[1:]  # the first is the sender's own

    monkeypatch.setattr(wire, "sign", counted)
    right = signed()
    assert [url for _, url, _ in right] == [f"{ORIGIN}/twiml", "https://voice.example.com:443/twiml"]
    assert {name: len(signed(**forgery)) for name, forgery in FORGERIES.items()} == dict.fromkeys(
        FORGERIES, 2
    )
    for name in (
        "no signature",
        "two signatures",
        "other URL",
        "other token",
        "parameter repeated",
        "no content type",
    ):
        assert signed(**FORGERIES[name]) == right, name

    computed.clear()
    assert door().upgrade([]) is not None
    assert door().upgrade(["x"]) is not None
    assert [url for _, url, _ in computed] == [
        "wss://voice.example.com/call",
        "wss://voice.example.com:443/call",
    ] * 2


def test_the_load_of_an_explanation_does_not_tell_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each spelling is tried, the first that fits or none; and it comes in steps of one spelling."""
    sign, computed = wire.sign, [0]

    def counted(*what: Any) -> str:
        computed[0] += 1
        return sign(*what)

    def explained(url: str, token: str = TOKEN) -> tuple[int, str]:
        refusal = ask(url=url, token=token)
        assert isinstance(refusal, Refusal)
        assert refusal.explain is not None
        with monkeypatch.context() as patch:
            patch.setattr(wire, "sign", counted)
            steps, taken, computed[0] = refusal.explain(), 0, 0
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    assert computed[0] == taken
                    return taken, str(end.value)
                taken += 1

    all_of_them, told = explained(f"{ORIGIN}/twiml", secrets.token_hex(16))
    assert "another token" in told
    for url, difference in (
        (f"{ORIGIN}/twiml/", "a trailing slash"),
        ("http://voice.example.com/twiml", "scheme http in place of https"),
    ):
        count, told = explained(url)
        assert (count, difference in told) == (all_of_them, True), told


def explained(url: str, *hosts: str) -> str:
    """What the log says of a webhook that was signed for a URL and names hosts."""
    signature = wire.sign(TOKEN, url, FORM)
    refusal = door().webhook("/twiml", "", KIND, urlencode(FORM).encode(), [signature], hosts)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.reason) == (403, MISFIT)
    assert refusal.explain is not None
    steps = refusal.explain()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return str(end.value)


def test_a_signature_for_the_host_that_was_asked_is_explained() -> None:
    """A number that still points at an old tunnel: refused, and the log says for which host it was signed."""
    url = "https://old.example.com/twiml"
    assert "in any spelling" in explained(url)
    for hosts in (
        ("old.example.com",),
        ("", "old.example.com"),
        ("proxy.example.com:8080", "old.example.com"),
    ):
        told = explained(url, *hosts)
        assert f"fits {url} (host old.example.com in place of voice.example.com), not {ORIGIN}/twiml" in told
        assert told.endswith("the number points at another address, or correct PUBLIC_URL")


@pytest.mark.parametrize(
    "host",
    [
        "old.example.com/x",
        "x@old.example.com",
        "old.example.com\n",
        "[",
        "old.example.com:",
        "old.example.com:x",
        "voice.example.com:99999",
        "old..example.com",
        "a" * 254,
        "\u043eld.example.com",
    ],
)
def test_what_is_no_host_explains_nothing(host: str) -> None:
    """It is a stranger's text: only a plain host gets into the explanation, of two at most."""
    assert "in any spelling" in explained(f"https://{host}/twiml", host)
    assert "in any spelling" in explained(
        "https://c.example.com/twiml", "a.example.com", "b.example.com", "c.example.com"
    )


def test_upgrades_are_signed_for_the_stream_url() -> None:
    """The handshake's signature fits wss://…/call and nothing else."""
    assert door().upgrade([wire.sign(TOKEN, "wss://voice.example.com/call")]) is None
    for url in (
        "https://voice.example.com/call",
        "wss://voice.example.com/call/",
        "wss://voice.example.com/",
    ):
        assert isinstance(door().upgrade([wire.sign(TOKEN, url)]), Refusal)
    assert isinstance(door().upgrade([]), Refusal)
    assert isinstance(
        door().upgrade([wire.sign(secrets.token_hex(16), "wss://voice.example.com/call")]), Refusal
    )


def test_nobody_comes_in_while_the_public_url_is_unknown() -> None:
    """Without an origin there is nothing to check a signature against: 503."""
    closed = door(origin=None)
    assert closed.webhook("/twiml", "", KIND, b"", ["x"]) == Refusal(503, "the public URL is not known yet")
    refusal = closed.upgrade(["x"])
    assert refusal is not None
    assert refusal.status == 503


def test_loopback_streams_use_ws() -> None:
    """The stream's scheme follows the public URL's."""
    assert door(origin="http://127.0.0.1:8103").stream_url() == "ws://127.0.0.1:8103/call"
    assert door().stream_url() == "wss://voice.example.com/call"


@pytest.mark.parametrize(
    ("asked", "good"),
    [
        ("10000", True),
        ("9941", True),
        ("6341", True),
        ("6339", False),
        ("10061", False),
        ("", False),
        ("-1", False),
        ("1e4", False),
        (" 10000", False),
        ("10000\n", False),
        ("\u0661\u0660\u0660\u0660\u0660", False),
        ("9" * 5000, False),
    ],
)
def test_a_resume_webhook_is_good_as_long_as_a_call(asked: str, good: bool) -> None:
    """An hour and a minute, or a minute ahead of our clock; what is no plain number never was."""
    assert in_time(asked, 10_000.5, 3600) is good


def test_the_resume_webhook_tells_when_it_was_given() -> None:
    """In what is signed, before the overrides that are not."""
    assert door().resume_url(12.7) == f"{ORIGIN}/resume?asked=12#rc=4&rp=ct,rt,5xx"
    assert door(name="blue").resume_url(12.7) == f"{ORIGIN}/resume/blue?asked=12#rc=4&rp=ct,rt,5xx"


def test_the_cap_of_signed_calls_slides_with_the_hour() -> None:
    """Three an hour: the fourth waits until the first is an hour old."""
    one = door()
    assert [one.admit(f"CA{now}", now) for now in (0.0, 1.0, 2.0, 3.0)] == [True, True, True, False]
    assert [one.admit(f"CA{now}", now) for now in (3599.0, 3600.0, 3600.5)] == [False, True, False]


def test_a_call_that_is_asked_for_again_counts_once() -> None:
    """A captured webhook, sent a hundred times, does not use up the hour."""
    one = door()
    assert all(one.admit(CALL, now / 10) for now in range(100))
    assert [one.admit(sid, 11.0) for sid in ("CA1", "CA2", "CA3", CALL)] == [True, True, False, True]


def test_of_a_call_that_has_its_stream_only_the_hour_is_remembered() -> None:
    """It still counts, for its hour, and takes eight bytes."""
    one = door()
    for number in range(3):
        assert one.admit(f"CA{number}", number)
        one.began(f"CA{number}")
    assert not one.admit("CA3", 3599.0)
    assert one.admit("CA3", 3600.0)
    assert list(one._asked) == ["CA3"]


@pytest.mark.parametrize(
    ("peer", "host", "headers", "local"),
    [
        ("127.0.0.1", "127.0.0.1:8081", {}, True),
        ("::1", "[::1]:8081", {}, True),
        ("127.0.0.1", "localhost:8081", {}, True),
        ("127.0.0.1", "voice.example.com", {}, False),
        ("127.0.0.1", "localhost.evil.example", {}, False),
        ("127.0.0.1", "", {}, False),
        ("127.0.0.1", "[", {}, False),
        ("127.0.0.1", "evil.example@127.0.0.1", {}, False),
        ("127.0.0.1", "127.0.0.1/evil.example", {}, False),
        ("127.0.0.1", "127.0.0.1:8081x", {}, False),
        ("192.0.2.1", "localhost:8081", {}, False),
        ("127.0.0.1", "localhost:8081", {"x-forwarded-for": "192.0.2.1"}, False),
        ("127.0.0.1", "localhost:8081", {"forwarded": "for=192.0.2.1"}, False),
        ("127.0.0.1", "localhost:8081", {"x-forwarded-host": "localhost"}, False),
    ],
)
def test_only_this_machine_itself_sees_the_private_paths(
    peer: str, host: str, headers: dict[str, str], local: bool
) -> None:
    """Peer and Host on loopback and no forwarding header: nothing less will do."""
    assert is_local(peer, host, headers) is local
