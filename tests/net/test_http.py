"""The small HTTP client, against real sockets that behave and that misbehave."""

from __future__ import annotations

import socket
import threading

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from ops.errors import Refused, Unreachable
from ops.net.http import Answer, Declined, Http, Unanswered
from ops.values import Secret
from tests.standin import raw, serving


async def _echo(request: Request) -> Response:
    body = (await request.body()).decode()
    return JSONResponse(
        {
            "method": request.method,
            "body": body,
            "query": str(request.query_params),
            "authorization": request.headers.get("authorization"),
            "type": request.headers.get("content-type"),
        }
    )


async def _teapot(request: Request) -> Response:
    return PlainTextResponse("short and stout", 418)


async def _elsewhere(request: Request) -> Response:
    return RedirectResponse("/echo")


async def _big(request: Request) -> Response:
    return PlainTextResponse("x" * 5000)


APP = Starlette(
    routes=[
        Route("/echo", _echo, methods=["GET", "POST"]),
        Route("/teapot", _teapot),
        Route("/elsewhere", _elsewhere),
        Route("/big", _big),
    ]
)


def test_get_and_post_reach_the_other_side_as_asked() -> None:
    """A GET carries its query and credentials, a POST its form with repeated names."""
    with serving(APP) as base, Http(base, auth=("name", Secret("word"))) as http:
        got = http.get("/echo", {"a": "1 2"}).json()
        assert (got["method"], got["query"], got["authorization"]) == ("GET", "a=1+2", "Basic bmFtZTp3b3Jk")
        got = http.post("/echo", [("a", "1"), ("a", "ü&")]).json()
        assert got["body"] == "a=1&a=%C3%BC%26"
        assert got["type"] == "application/x-www-form-urlencoded"


def test_a_bad_status_is_an_answer_until_it_is_checked() -> None:
    """Any status is an answer; `checked` turns a bad one into an error with status and body."""
    with serving(APP) as base, Http(base) as http:
        answer = http.get("/teapot")
        assert answer.status == 418
        with pytest.raises(Declined, match="418: short and stout") as caught:
            answer.checked(fix="use coffee")
    assert isinstance(caught.value, Refused)
    assert (caught.value.fix, caught.value.status) == ("use coffee", 418)


def test_redirects_are_not_followed() -> None:
    """A redirect is shown, not followed: a signature would not fit there."""
    with serving(APP) as base, Http(base) as http:
        answer = http.get("/elsewhere")
        assert answer.status == 307
        with pytest.raises(Declined, match="a redirect to /echo"):
            answer.checked()


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment does not get our requests."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with serving(APP) as base, Http(base) as http:
        assert http.get("/teapot").status == 418


def test_a_body_that_is_too_large_is_not_read() -> None:
    """The reader stops at its limit and says so."""
    with serving(APP) as base, Http(base, limit=1000) as http, pytest.raises(Unanswered) as caught:
        http.get("/big")
    assert caught.value.cause == "too-large"


def test_something_that_is_not_json_is_declined() -> None:
    """A page in place of JSON says what came and that the address is wrong."""
    answer = Answer("http://here/", 200, {"content-type": "text/html"}, b"<html>", 0.1)
    with pytest.raises(Declined, match="text/html, not with JSON"):
        answer.json()


def test_nobody_listens() -> None:
    """A refused connection names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        Http(f"http://127.0.0.1:{port}") as http,
        pytest.raises(Unanswered, match=f"127.0.0.1:{port}") as caught,
    ):
        http.get("/")
    assert caught.value.cause == "refused"
    assert isinstance(caught.value, Unreachable)
    assert caught.value.exit_code == 4


def test_an_unknown_name() -> None:
    """A host name that does not exist is a DNS matter."""
    with Http("http://nosuch.invalid") as http, pytest.raises(Unanswered, match=r"nosuch\.invalid") as caught:
        http.get("/")
    assert caught.value.cause == "dns"


def test_silence_ends_with_the_timeout() -> None:
    """A server that accepts and says nothing is a timeout with its seconds."""
    leave = threading.Event()
    with raw(lambda connection: leave.wait(5) and None) as base, Http(base, timeout=0.2) as http:
        with pytest.raises(Unanswered, match=r"within 0.2 s") as caught:
            http.get("/")
        leave.set()
    assert caught.value.cause == "timeout"


def test_hanging_up_and_nonsense_are_told_apart() -> None:
    """A connection that closes without an answer, and one that does not speak HTTP."""
    with raw(lambda connection: connection.recv(1000) and None) as base, Http(base) as http:
        with pytest.raises(Unanswered) as caught:
            http.get("/")
        assert caught.value.cause == "closed"
    with raw(lambda connection: connection.sendall(b"SSH-2.0-x\r\n\r\n")) as base, Http(base) as http:
        with pytest.raises(Unanswered) as caught:
            http.get("/")
        assert caught.value.cause in ("not-http", "closed")


def test_tls_that_fails_is_named() -> None:
    """Plain text where TLS was expected is a TLS matter."""
    with raw(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")) as base:
        with Http(base.replace("http", "https")) as http, pytest.raises(Unanswered) as caught:
            http.get("/")
    assert caught.value.cause == "tls"


def test_an_unknown_question_is_told_from_a_refusal() -> None:
    """404 without a vendor's number means that the other side does not know what was asked."""
    answer = Answer("http://here/", 404, {}, b"", 0.1)
    assert Declined(answer, "no", fix="x").unknown_question
    assert not Declined(answer, "no", fix="x", code=20404).unknown_question
