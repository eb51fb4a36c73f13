"""The ngrok agent's client, against a real server that answers as the agent does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ops.errors import Refused
from ops.net.http import Answer, Declined, Unanswered
from ops.vendors.ngrok.client import Tunnel, declined, public_url, tunnels
from tests.standin import StandIn


@pytest.mark.parametrize(
    ("addr", "port"),
    [
        ("http://localhost:8081", 8081),
        ("localhost:8081", 8081),
        ("8081", 8081),
        ("https://h", 443),
        ("x:y", None),
    ],
)
def test_the_port_is_read_from_every_spelling(addr: str, port: int | None) -> None:
    """The agent writes its address in several ways."""
    assert Tunnel("t", "https://a.test", addr, False).port == port


def test_the_tunnel_to_our_port_is_the_public_url(root: Path) -> None:
    """Among several tunnels, the one that leads to our port counts, https first."""
    with StandIn().up() as standin:
        other = standin.tunnel(public_url="https://other.test", config={"addr": "http://localhost:9"})
        plain = standin.tunnel(public_url="http://127.0.0.1:7")
        ours = standin.tunnel(public_url="https://ours.test")
        standin.tunnels = [other, plain, ours]
        settings = standin.settings(root, PUBLIC_URL="")
        assert public_url(settings, deadline=1) == "https://ours.test"
        assert len(tunnels(settings.ngrok_api)) == 3


def test_public_url_of_the_settings_needs_no_tunnel(root: Path) -> None:
    """PUBLIC_URL is taken as it is, and nobody is asked."""
    with StandIn().up() as standin:
        settings = standin.settings(root, NGROK_API_URL="http://127.0.0.1:1")
    assert public_url(settings, deadline=1) == standin.url


def test_a_tunnel_to_another_port_is_named(root: Path) -> None:
    """Without a tunnel to our port the error says what there is instead."""
    with StandIn().up() as standin:
        standin.tunnels = [standin.tunnel(public_url="https://other.test", config={"addr": "localhost:3000"})]
        with pytest.raises(Refused, match=r"only https://other.test to localhost:3000, none to port"):
            public_url(standin.settings(root, PUBLIC_URL=""), deadline=0.3)


def test_it_waits_for_a_tunnel_that_comes_late(root: Path) -> None:
    """The tunnel may come up while we wait."""
    with StandIn().up() as standin:
        late = standin.tunnels
        settings = standin.settings(root, PUBLIC_URL="", RETRY_INTERVAL="0.1")

        class Late(list):  # empty for the first two looks
            looks = 0

            def __iter__(self):
                self.looks += 1
                return iter(late if self.looks > 2 else [])

            def __len__(self):
                return 1

        standin.tunnels = Late()
        assert public_url(settings, deadline=5) == standin.url


def test_no_agent_is_unanswered_within_the_deadline(root: Path) -> None:
    """Nobody on the agent's port: the error comes when the deadline is over, not later."""
    with StandIn().up() as standin:
        settings = standin.settings(
            root, PUBLIC_URL="", NGROK_API_URL="http://127.0.0.1:1", RETRY_INTERVAL="0.1"
        )
    began = time.monotonic()
    with pytest.raises(Unanswered, match=r"nothing listens on 127.0.0.1:1"):
        public_url(settings, deadline=0.4)
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("url", ["tcp://0.tcp.ngrok.io:1", "http://evil.test", "https://u:p@host.test"])
def test_a_public_url_that_twilio_cannot_use_is_refused(root: Path, url: str) -> None:
    """A tcp tunnel, plain http off this machine, or credentials in the URL are not taken."""
    with StandIn().up() as standin:
        standin.tunnels = [standin.tunnel(public_url=url)]
        with pytest.raises(Refused, match="not usable"):
            public_url(standin.settings(root, PUBLIC_URL=""), deadline=0.2)


@pytest.mark.parametrize(
    ("number", "words"), [(3200, "offline"), (8012, "cannot reach"), (77777, "ERR_NGROK_77777")]
)
def test_errors_of_the_edge_are_explained_by_number(number: int, words: str) -> None:
    """The edge names its error in a header; an unknown number gets its page."""
    answer = Answer("https://a.test", 404, {"ngrok-error-code": f"ERR_NGROK_{number}"}, b"", 0.1)
    problem = declined(answer)
    assert isinstance(problem, Declined)
    assert problem.code == number
    assert words in problem.message
