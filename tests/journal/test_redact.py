from __future__ import annotations

import base64
import json
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.journal.entry import json_text
from ops.journal.redact import MASK, Redactor
from tests.journal.conftest import canaries, disguises, traces


@pytest.mark.parametrize("kind", ["twilio", "openai", "ngrok", "odd"])
def test_a_known_secret_is_found_in_every_disguise(kind: str) -> None:
    """A known secret leaves no trace, plain, quoted, URL-encoded or in base64 at any offset."""
    secret = canaries()[kind]
    redactor = Redactor([secret])
    for text in disguises(secret):
        clean = redactor.clean(f"before {text} after")
        assert not [trace for trace in traces(secret) if trace in clean], clean
        assert clean.startswith("before ")
        assert clean.endswith(" after")


def _shaped() -> dict[str, tuple[str, str]]:
    """Texts with a credential that nobody told us of: name → (text, the credential)."""
    hex32, long = secrets.token_hex(16), secrets.token_urlsafe(24)
    pair = base64.b64encode(f"AC:{hex32}".encode()).decode()
    return {
        "twilio token, assigned": (f"TWILIO_AUTH_TOKEN={hex32}", hex32),
        "twilio token, in JSON": (json.dumps({"auth_token": hex32}), hex32),
        "twilio token, in JSON in JSON": (json.dumps(json.dumps({"authToken": hex32})), hex32),
        "twilio token, in prose": (f"the auth token {hex32} was refused", hex32),
        "twilio token, in prose with is": (f"your auth token is {hex32}", hex32),
        "api key sid": (f"using SK{hex32} for REST", f"SK{hex32}"),
        "openai key": (f"Incorrect API key provided: sk-{long}.", f"sk-{long}"),
        "ephemeral key": (f"session with ek_{hex32}", f"ek_{hex32}"),
        "ngrok token": (f"ngrok config add-authtoken {hex32}_{hex32[:9]}", f"{hex32}_{hex32[:9]}"),
        "bearer": (f"authorization: Bearer {long}x1", f"{long}x1"),
        "basic": (f"Authorization: Basic {pair}", pair),
        "other scheme": (f"Authorization: {long}", long),
        "url": (f"wss://me:{long}@example.org/call", long),
        "signature": (f"X-Twilio-Signature: {pair[:28]}", pair[:28]),
        "signature, as a pair of bytes": (f"(b'X-Twilio-Signature', b'{pair[:28]}')", pair[:28]),
        "password": (f"password='{long}'", long),
    }


@pytest.mark.parametrize("name", _shaped())
def test_what_is_shaped_like_a_credential_is_masked(name: str) -> None:
    """A credential that nobody told us of is known by its shape or by the words before it."""
    text, credential = _shaped()[name]
    clean = Redactor().clean(text)
    assert credential not in clean
    assert MASK in clean
    assert Redactor().suspects(json_text({"msg": text}))


@pytest.mark.parametrize(
    "text",
    [
        "Missing required environment variable TWILIO_AUTH_TOKEN (looked in .env, the environment).",
        "the basic information about task-management-and-planning",
        "POST http://127.0.0.1:8101/2010-04-01/Accounts.json 200",
        "call CA0123456789abcdef0123456789abcdef of +12025550123 at 2025-11-23T06:20:00Z",
        "signature mismatch on /twiml",
        "used 412 tokens, bearer of news",
        "https://example.org:8443/path@home",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    """Nothing is masked in a text without a credential: a log must stay readable."""
    assert Redactor([secrets.token_hex(16)]).clean(text) == text


def test_a_field_with_a_secret_name_is_masked_whatever_it_holds() -> None:
    """The value of a field called authorization, auth_token, password … is never shown."""
    record = {
        "authorization": "abc",
        "headers": {"Cookie": "x"},
        "api_key": ["k1", "k2"],
        "tokens": 5,
        "n": "abc",
    }
    clean = Redactor().clean_record(record)
    assert clean == {
        "authorization": MASK, "headers": {"Cookie": MASK}, "api_key": [MASK, MASK], "tokens": 5, "n": "abc",
    }  # fmt: skip


def test_numbers_and_names_of_fields_are_cleaned_too() -> None:
    """A secret is no safer as a number or as the name of a field."""
    clean = Redactor(["8675309123", "verysecretname"]).clean_record({"n": 8675309123, "verysecretname": 1})
    assert clean == {"n": MASK, MASK: 1}


@given(
    st.text(max_size=40), st.text(max_size=40), st.text('abcdef0123456789+/"\\ü&', min_size=6, max_size=30)
)
def test_the_gate_never_hides_a_secret(before: str, after: str, secret: str) -> None:
    """Whatever stands around a known secret, the cheap look at the JSON line suspects it, and it is cleaned."""
    redactor = Redactor([secret])
    text = before + secret + after
    assert redactor.suspects(json_text({"m": text}))
    assert redactor.suspects(json_text({"m": json.dumps(text)}))
    assert secret not in redactor.clean(text).replace(MASK, "\n")


@given(st.text(max_size=200))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    """The second scan of an export finds nothing in what the sink has cleaned."""
    redactor = Redactor(["0123456789abcdef"])
    once = redactor.clean(text)
    assert redactor.clean(once) == once


@pytest.mark.parametrize("name", _shaped())
def test_cleaning_a_credential_twice_changes_nothing_more(name: str) -> None:
    """A masked credential is not taken for another one."""
    once = Redactor().clean_record({"msg": _shaped()[name][0]})
    assert Redactor().clean_record(once) == once
