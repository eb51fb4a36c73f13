"""The credential scanner: every planted shape is found, also in prose and commands, and nothing else."""

from __future__ import annotations

import base64
import secrets
import string
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.doctor.leaks import scan
from ops.doctor.repository import Git, files, tree_leaks

ROOT = Path(__file__).parents[2]


def _word(length: int) -> str:
    letters = string.ascii_letters + string.digits
    return "aB3dE" + "".join(secrets.choice(letters) for _ in range(length - 5))


def _hex() -> str:
    return "7f3a9" + secrets.token_hex(16)[5:]


SHAPES: dict[str, tuple[str, Callable[[], str]]] = {
    "token in a file": ("Twilio auth token", lambda: f"TWILIO_AUTH_TOKEN={_hex()}"),
    "token in a sentence": ("Twilio auth token", lambda: f"Our Twilio token is {_hex()}, please keep it."),
    "token beside the SID": ("Twilio auth token", lambda: f"curl -u AC{_hex()}:{_hex()} https://api"),
    "token in JSON": ("Twilio auth token", lambda: f'"authToken": "{_hex()}",'),
    "API key": ("Twilio API key", lambda: f"key SK{_hex()}"),
    "API secret": ("Twilio API secret", lambda: f"TWILIO_API_SECRET={_word(32)}"),
    "OpenAI old": ("OpenAI key", lambda: f"OPENAI_API_KEY=sk-{_word(20)}T3BlbkFJ{_word(20)}"),
    "OpenAI project": ("OpenAI key", lambda: f"use sk-proj-{_word(48)} for now"),
    "OpenAI service account": ("OpenAI key", lambda: f"'sk-svcacct-{_word(40)}'"),
    "ngrok in YAML": ("ngrok authtoken", lambda: f"authtoken: {_word(27)}_{_word(21)}"),
    "ngrok command": ("ngrok authtoken", lambda: f"$ ngrok config add-authtoken {_word(27)}_{_word(21)}"),
    "ngrok variable": ("ngrok authtoken", lambda: f"export NGROK_AUTHTOKEN={_word(27)}_{_word(21)}"),
    "private key": ("private key", lambda: "-----BEGIN " + "PRIVATE KEY-----"),
    "bearer": ("Authorization header", lambda: f"curl -H 'Authorization: Bearer {_word(40)}'"),
    "basic": (
        "Authorization header",
        lambda: "Authorization: Basic " + base64.b64encode(_word(40).encode()).decode(),
    ),
    "URL": ("password in a URL", lambda: f"https://me:{_word(12)}@db.internal.net/x"),
    "sshpass": ("SSH password", lambda: f"sshpass -p {_word(10)} ssh host"),
    "GitHub": ("GitHub token", lambda: f"ghp_{_word(36)}"),
    "AWS": (
        "AWS access key",
        lambda: "AKIA" + "".join(secrets.choice(string.ascii_uppercase) for _ in range(16)),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_planted_shape_is_found(name: str) -> None:
    """A credential in a setting, a sentence, a command line or a header is found with its line."""
    shape, make = SHAPES[name]
    found = list(scan("notes.md", ["first line", make(), "last line"]))
    assert (shape, 2) in [(one.shape, one.line) for one in found], found


def test_a_finding_never_shows_the_credential() -> None:
    """What is found is told by shape, file and line alone."""
    line = SHAPES["OpenAI project"][1]()
    (found,) = scan("a.py", [line])
    assert not any(part in str(found) for part in line.split() if part.startswith("sk-"))


@pytest.mark.parametrize(
    "line",
    [
        "TWILIO_AUTH_TOKEN=your_auth_token_here",
        "OPENAI_API_KEY=sk-your-key-here",
        "TWILIO_AUTH_TOKEN=" + "12" * 16,
        "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxx",
        'token = "AC" + secrets.token_hex(16)',
        f"commit {'0123456789abcdef' * 2}{'01234567'}",
        "ngrok config add-authtoken $NGROK_AUTHTOKEN",
        "Authorization: Bearer $OPENAI_API_KEY",
        "https://user:${PASSWORD}@host/path",
        "git clone https://github.com/openai/openai-python",
        "sha256 5d41402abc4b2a76b9719d911017c5920000111122223333444455556666777a",
    ],
)
def test_placeholders_and_references_are_not_credentials(line: str) -> None:
    """Placeholders, variables, hashes and code that makes credentials raise no alarm."""
    assert list(scan("README.md", [line])) == []


def test_this_project_itself_is_clean() -> None:
    """No false alarm on the project's own files."""
    assert [str(one) for one in tree_leaks(ROOT, files(ROOT, Git(ROOT)))] == []
