"""Signatures, judged by the official SDK's validator."""

from __future__ import annotations

import secrets

from hypothesis import given, settings
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from ops.vendors.twilio.simulator.signature import sign

TOKEN = secrets.token_hex(16)
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(deadline=None)
@given(st.dictionaries(WORDS, WORDS, max_size=8))
def test_the_official_validator_accepts_every_form(form: dict[str, str]) -> None:
    """Whatever a form holds, its signature is the one that Twilio's own library expects."""
    url = "https://example.com/twiml?record=1"
    assert RequestValidator(TOKEN).validate(url, form, sign(TOKEN, url, form))


def test_an_upgrade_is_signed_without_a_form() -> None:
    """A wss address has no parameters."""
    url = "wss://example.com/call"
    assert RequestValidator(TOKEN).validate(url, {}, sign(TOKEN, url))


def test_another_token_gives_another_signature() -> None:
    """The validator refuses what was signed with something else."""
    url = "https://example.com/twiml"
    assert not RequestValidator(TOKEN).validate(url, {"a": "b"}, sign("0" * 32, url, {"a": "b"}))
