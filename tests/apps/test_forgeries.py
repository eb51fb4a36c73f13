"""Forged and awkward webhooks, as bytes to a running bridge: none has an effect, none is told why."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest

from ops.vendors.twilio import wire
from tests.apps.inside import inside, run
from tests.apps.test_bridge import Bridge, new_call

REFUSED = {400, 403, 404, 405, 408, 413, 415}


@dataclass
class Forgery:
    """A right webhook with something wrong in it; by default nothing is."""

    form: Mapping[str, str]
    path: str = "/twiml"
    signed_url: str = ""  # when another than the one asked
    signed_form: Mapping[str, str] | None = None  # when another than the one sent
    token: str = ""
    method: str = "POST"
    body: bytes | None = None
    content_type: str | None = "application/x-www-form-urlencoded"
    signatures: tuple[str, ...] | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    length: int | None = None
    chunked: bool = False
    target: str = ""  # of the request line
    host: str = ""

    def bytes(self, one: Bridge) -> bytes:
        body = urlencode(self.form).encode() if self.body is None else self.body
        url = self.signed_url or one.origin + self.path
        form = self.form if self.signed_form is None else self.signed_form
        right = (wire.sign(self.token or one.token, url, form),)
        lines = [
            f"{self.method} {self.target or self.path} HTTP/1.1",
            f"Host: {self.host or f'127.0.0.1:{one.port}'}",
            "Connection: close",
        ]
        lines += [
            f"X-Twilio-Signature: {text}" for text in (right if self.signatures is None else self.signatures)
        ]
        lines += [f"Content-Type: {self.content_type}"] if self.content_type else []
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        if not self.chunked or self.length is not None:
            lines.append(f"Content-Length: {len(body) if self.length is None else self.length}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


async def ask(one: Bridge, request: bytes) -> tuple[int, bytes]:
    """Status and body; 0 where the connection was closed without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
    try:
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 8)
    except ConnectionError:
        answer = b""
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]) if head else 0, body


def forgeries(one: Bridge) -> dict[str, Forgery]:
    """Every request of which none may come in."""
    sid = new_call()
    form = {
        "CallSid": sid,
        "AccountSid": one.account,
        "From": "+12025550123",
        "To": "+12025550100",
        "A": "1",
        "B": "2",
    }
    origin, url = one.origin, one.origin + "/twiml"
    right = wire.sign(one.token, url, form)
    text = json.dumps(form).encode()
    digest = hashlib.sha256(text).hexdigest()
    hashed = f"/twiml?bodySHA256={digest}"
    part = b'--x\r\nContent-Disposition: form-data; name="CallSid"\r\n\r\n' + sid.encode() + b"\r\n--x--\r\n"
    json_type = "application/json"
    stranger = form | {"AccountSid": "AC" + secrets.token_hex(16)}
    return {
        "no signature": Forgery(form, signatures=()),
        "an empty one": Forgery(form, signatures=("",)),
        "one of a megabyte": Forgery(form, signatures=("A" * 2**20,)),
        "two": Forgery(form, signatures=(right, right)),
        "not base64": Forgery(form, signatures=("é" * 20,)),
        "of another URL": Forgery(form, signed_url="https://other.example/twiml"),
        "of another path": Forgery(form, signed_url=origin + "/resume"),
        "of another port": Forgery(form, signed_url="http://127.0.0.1:1/twiml"),
        "of another scheme": Forgery(form, signed_url=url.replace("http:", "https:")),
        "with a slash at the end": Forgery(form, signed_url=url + "/"),
        "of another query": Forgery(form, path="/twiml?a=1&b=2", signed_url=url + "?b=2&a=1"),
        "with the host in capitals": Forgery(form, signed_url=url.replace("127.0.0.1", "LOCALHOST")),
        "of another token": Forgery(form, token=secrets.token_hex(16)),
        "a parameter added": Forgery(form | {"C": "3"}, signed_form=form),
        "a parameter removed": Forgery({k: v for k, v in form.items() if k != "B"}, signed_form=form),
        "a parameter changed": Forgery(form | {"B": "3"}, signed_form=form),
        "a parameter repeated": Forgery(form, body=urlencode([*form.items(), ("A", "1")]).encode()),
        "names and values split anew": Forgery(
            {k: v for k, v in form.items() if k not in "AB"} | {"A1": "B2"}, signed_form=form
        ),
        "two parameters as one": Forgery({k: v for k, v in form.items() if k not in "AB"} | {"A": "1B2"}, signed_form=form),
        "a value that swallows the next field": Forgery(
            {"AccountSid": one.account + "B2", "A": "1", **{k: form[k] for k in ("CallSid", "From", "To")}},
            signed_form=form,
        ),
        "a caller that swallows the one called": Forgery(
            {k: v for k, v in form.items() if k != "To"} | {"From": form["From"] + "To" + form["To"]},
            signed_form=form,
        ),
        "a parameter moved into the path": Forgery({}, path=f"/twimlAccountSid{one.account}", signed_form={}),
        "a value trimmed": Forgery(form | {"A": "1"}, signed_form=form | {"A": "1 "}),
        "JSON without a hash": Forgery(form, body=text, content_type=json_type, signed_form={}),
        "JSON with its hash": Forgery(form, path=hashed, body=text, content_type=json_type, signed_form={}),
        "JSON with a wrong hash": Forgery(
            form, path=hashed, body=text + b" ", content_type=json_type, signed_form={}
        ),
        "multipart": Forgery(form, body=part, content_type="multipart/form-data; boundary=x"),
        "no type": Forgery(form, content_type=None),
        "a length that lies": Forgery(form, length=7),
        "a length and chunks": Forgery(form, chunked=True, length=3),
        "packed": Forgery(
            form, body=gzip.compress(urlencode(form).encode()), headers=[("Content-Encoding", "gzip")]
        ),
        "a GET with a POST's signature": Forgery(form, method="GET"),
        "a HEAD": Forgery(form, method="HEAD"),
        "a method that hides another": Forgery(
            form, method="GET", headers=[("X-HTTP-Method-Override", "POST")]
        ),
        "an origin in X-Forwarded": Forgery(
            form, signed_url="https://evil.example/twiml",
            headers=[("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "443")],
        ),
        "an absolute request line": Forgery(
            form, target="http://evil.example/twiml", signed_url="http://evil.example/twiml"
        ),
        "a path doubled": Forgery(form, path="//twiml"),
        "a path with a slash": Forgery(form, path="/twiml/"),
        "a path with a parameter": Forgery(form, path="/twiml;x"),
        "a path in capitals": Forgery(form, path="/TWIML"),
        "a path with a slash hidden": Forgery(form, path="/twiml%2f"),
        "a path with a dot": Forgery(form, path="/./twiml"),
        "a path with a letter hidden": Forgery(form, path="/%74wiml", signed_url=url),
        "a host that would be a path": Forgery(form, path="/resume", host="a/twiml#", signed_url=url),
        "a host that would hide the query": Forgery(
            form, path="/twiml?instructions=obey", host="a/twiml#", signed_url=url
        ),
        "a host that is none": Forgery(form, host="[", signed_url="http://[/twiml"),
        "of another account, rightly signed": Forgery(stranger),
        "a call that is no SID": Forgery(form | {"CallSid": "../../etc/passwd"}),
        "a NUL in the call": Forgery(form | {"CallSid": sid[:-1] + "\0"}),
        "a line end in the call": Forgery(form | {"CallSid": sid + "\r\nX: y"}),
        "letters that look alike": Forgery(form | {"A": "\u212b"}, signed_form=form | {"A": "\u00c5"}),
        "a form of a hundred thousand": Forgery(form, body=b"&".join(b"k%d=" % n for n in range(100_000))),
        "a body over 64 KiB, rightly signed": Forgery(form | {"A": "x" * 70_000}),
        "too many fields, rightly signed": Forgery(form | {f"k{n}": "" for n in range(200)}),
        "another algorithm": Forgery(
            form, headers=[("X-Twilio-Webhooks-Signature-Settings", "key=k,algorithm=HMAC_SHA256")],
            signatures=(base64.b64encode(hashlib.sha256(url.encode()).digest()).decode(),),
        ),
    }  # fmt: skip


def test_no_forgery_comes_in(root: Path) -> None:
    """Over forty requests: refused, never 5xx, every 403 the same empty answer; the journal knows why, the model
    was never asked. The same fields in another order come in, and in chunks, whatever the Host."""

    async def scenario() -> None:
        async with inside(root) as one:
            answers = {name: await ask(one, forged.bytes(one)) for name, forged in forgeries(one).items()}
            large = (
                "one of a megabyte",
                "a form of a hundred thousand",
                "a body over 64 KiB, rightly signed",
            )  # cut off while they are still sent
            odd = {
                name: status
                for name, (status, _) in answers.items()
                if status not in REFUSED and not (status == 0 and name in large)
            }
            assert odd == {}
            assert {body for status, body in answers.values() if status == 403} == {b""}
            sid = new_call()
            form = {"CallSid": sid, "AccountSid": one.account, "To": "+1", "From": "+2"}
            turned = Forgery(dict(reversed(form.items())), signed_form=form)
            assert (await ask(one, turned.bytes(one)))[0] == 200
            assert (await ask(one, Forgery(form, chunked=True, host="[").bytes(one)))[0] == 200
            assert one.model.connections == 0
            assert (await one.health()).json()["live_calls"] == 0

    run(scenario)


def test_the_log_says_for_which_host_it_was_signed(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A number that points at an address of before: whoever stands between names the host either way."""

    async def scenario() -> None:
        async with inside(root) as one:
            form, url = {"CallSid": new_call(), "AccountSid": one.account}, "https://old.example/twiml"
            forwarded = [("X-Forwarded-Host", "old.example")]
            for forged in (
                Forgery(form, signed_url=url, host="old.example"),
                Forgery(form, signed_url=url, headers=forwarded),
            ):
                caplog.clear()
                one.bridge._explains_at = 0.0
                assert await ask(one, forged.bytes(one)) == (403, b"")
                assert one.bridge._explaining is not None
                await one.bridge._explaining
                assert "the number points at another address" in caplog.text

    run(scenario)


def test_what_was_right_once_is_not_right_for_ever(root: Path) -> None:
    """A captured request: replayed to another path, and after its call has ended, it opens nothing; a status that
    comes a hundred times is one end."""

    async def scenario() -> None:
        async with inside(root) as one:
            sid = new_call()
            form = {"CallSid": sid, "AccountSid": one.account}
            first = Forgery(form)
            assert (await ask(one, first.bytes(one)))[0] == 200
            elsewhere = Forgery(form, path="/resume", signed_url=one.origin + "/twiml")
            assert (await ask(one, elsewhere.bytes(one)))[0] == 403
            over = Forgery(form | {"CallStatus": "completed"}, path="/status")
            statuses = {(await ask(one, over.bytes(one)))[0] for _ in range(100)}
            assert statuses == {204}
            assert (await ask(one, first.bytes(one)))[0] == 403
            ended = [
                line
                for line in (root / f"logs/run/calls/{sid}.jsonl").read_text().splitlines()
                if '"ended"' in line
            ]
            assert len(ended) == 1
            assert one.model.connections == 0

    run(scenario)


def test_news_that_come_again_are_written_down_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A captured status fills no disk; another stream's start, and another status, are news."""

    async def scenario() -> None:
        async with inside(root) as one:
            form = {"CallSid": new_call(), "AccountSid": one.account}
            stream = {"StreamSid": "MZ1", "StreamEvent": "stream-started"}
            news = (
                ("/stream-status", stream),
                ("/stream-status", stream | {"StreamSid": "MZ2"}),
                ("/stream-status", stream | {"StreamEvent": "stream-stopped"}),
                ("/status", {"CallStatus": "ringing", "SequenceNumber": "0"}),
                ("/status", {"CallStatus": "in-progress", "SequenceNumber": "1"}),
            )
            with caplog.at_level("INFO"):
                for _ in range(20):
                    for path, fields in news:
                        assert (await ask(one, Forgery(form | fields, path=path).bytes(one)))[0] == 204
        events = [getattr(record, "event", "") for record in caplog.records]
        assert (events.count("stream.status"), events.count("call.status")) == (3, 2)

    run(scenario)


def test_twiml_is_written_by_a_library(root: Path) -> None:
    """A caller's number that would write TwiML of its own changes nothing of it."""

    async def scenario() -> None:
        from xml.etree import ElementTree

        async with inside(root) as one:
            answer = await one.webhook(new_call(), From='"/><Dial>+19005550100</Dial><Say x="')
            tags = [element.tag for element in ElementTree.fromstring(answer.text).iter()]
            assert tags == ["Response", "Connect", "Stream", "Parameter", "Pause", "Redirect"]

    run(scenario)
