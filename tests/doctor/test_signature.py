"""The signature explainer: the variant that was really signed is named, for every way to misread a URL."""

from __future__ import annotations

import secrets

import pytest

from ops.vendors.twilio import wire
from ops.vendors.twilio.spelling import explain, variants

CALLED = "https://agent.example.com/twiml?record=1"
FORM = {"CallSid": "CA1", "From": "+12025550111"}


@pytest.mark.parametrize(
    ("signed", "difference"),
    [
        (CALLED, "as called"),
        ("http://agent.example.com/twiml?record=1", "scheme http in place of https"),
        ("https://agent.example.com:443/twiml?record=1", "port 443"),
        ("https://127.0.0.1:8081/twiml?record=1", "host 127.0.0.1:8081 in place of agent.example.com"),
        ("https://agent.example.com/twiml/?record=1", "a trailing slash"),
        ("https://agent.example.com/twiml", "without the query"),
        ("https://agent.example.com/api/twiml?record=1", "path with /api in front"),
        ("http://127.0.0.1:8081/twiml", "scheme http in place of https, host 127.0.0.1:8081"),
    ],
)
def test_the_variant_that_was_signed_is_found(signed: str, difference: str) -> None:
    """Scheme, host, port, slash, query, prefix, alone or together."""
    token = secrets.token_hex(16)
    candidates = list(variants(CALLED, hosts=("127.0.0.1:8081",), prefixes=("/api",)))
    found = explain(token, FORM, wire.sign(token, signed, FORM), candidates)
    assert found
    assert found.url == signed
    assert found.difference.startswith(difference)


def test_a_stripped_prefix_is_found() -> None:
    """A proxy that removes a path's first part."""
    found = [one.url for one in variants("https://a.test/api/twiml", prefixes=("/api",))]
    assert "https://a.test/twiml" in found


def test_a_websocket_is_signed_as_wss() -> None:
    """Frameworks rebuild the stream's URL as https: that variant is among those of a websocket."""
    token = secrets.token_hex(16)
    candidates = variants("wss://a.test/call", websocket=True)
    found = explain(token, {}, wire.sign(token, "https://a.test/call"), candidates)
    assert found
    assert "scheme https in place of wss" in found.difference


def test_a_wrong_token_fits_nothing() -> None:
    """With another token no variant fits."""
    signature = wire.sign(secrets.token_hex(16), CALLED, FORM)
    assert explain(secrets.token_hex(16), FORM, signature, variants(CALLED)) is None


def test_no_variant_is_named_twice() -> None:
    """Each spelling is tried once, the URL as called first."""
    urls = [one.url for one in variants(CALLED, hosts=("agent.example.com", "127.0.0.1:8081"))]
    assert len(urls) == len(set(urls))
    assert urls[0] == CALLED


def test_the_whole_matrix_is_told_apart() -> None:
    """Scheme x host x port x prefix x slash x query: whatever was signed, exactly that spelling is named."""
    token, url = secrets.token_hex(16), "https://agent.example.com/voice/twiml?record=1"
    hosts, prefixes = ("127.0.0.1:8081", "localhost"), ("/voice", "/api")
    matrix = list(variants(url, hosts=hosts, ports=(8081,), prefixes=prefixes))
    urls = {one.url for one in matrix}
    for scheme, standard in (("https", 443), ("http", 80)):
        for netloc in ("127.0.0.1:8081", *(f"{name}{port}" for name in ("agent.example.com", "localhost")
                                           for port in ("", f":{standard}", ":8081"))):  # fmt: skip
            for path in ("/voice/twiml", "/twiml", "/api/voice/twiml", "/voice/voice/twiml"):
                for slash in ("", "/"):
                    for query in ("?record=1", ""):
                        assert f"{scheme}://{netloc}{path}{slash}{query}" in urls
    assert len(matrix) == len(urls) == 2 * 7 * 4 * 2 * 2
    for one in matrix:
        found = explain(token, FORM, wire.sign(token, one.url, FORM), matrix)
        assert found == one
        assert one.difference
    differences = [one.difference.count(",") for one in matrix[1:]]
    assert matrix[0].url == url
    assert differences == sorted(differences)  # the likeliest first
