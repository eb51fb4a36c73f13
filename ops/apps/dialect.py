"""What a speaking model's protocol must offer for a call: a dialect is one module with these names.

`ops.vendors.openai.wire` is the one that is spoken; `bridge` names it, and everything else gets it handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ops.vendors.openai.events import Event


class Dialect(Protocol):
    """A protocol: commands as texts, events as values, both pure; audio is base64 of mu-law either way."""

    @property
    def FORMAT(self) -> str:
        """What `Ready` must confirm both ways: mu-law at 8 kHz, under the protocol's name for it."""

    @property
    def SILENCE_MS(self) -> int:
        """How long the model's voice activity detection waits, in what `SpeechStopped` tells."""

    @property
    def PADDING_MS(self) -> int:
        """From how long before it noticed speech `SpeechStarted` counts it."""

    @property
    def PIECE(self) -> tuple[str, str, str, str, str]:
        """How a piece of an answer looks: the name of its kind and that kind, then the names of its response,
        its item and its audio."""

    def address(self, url: str, model: str, key: str) -> tuple[str, dict[str, str]]:
        """The URL of a new session and the headers of its handshake; `key` may be empty."""

    def final(self, code: int | None, cause: str) -> bool:
        """Whether a refusal (an HTTP status) or a close (its code) is one that trying again cannot help."""

    def decode(self, text: str | bytes) -> Event:
        """One event of the model; anything malformed becomes `Garbage`, never an exception."""

    def configure(
        self, *, instructions: str, voice: str, transcription: str, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """The session's settings, sent on `Created`."""

    def probe(self) -> str:
        """What a session that still hears answers with `Ready`, and that changes nothing."""

    def append(self, payload: str) -> str:
        """The caller's audio."""

    def answer(self, instructions: str | None = None) -> str:
        """Asks for an answer now; `instructions` hold for this one alone."""

    def truncate(self, item_id: str, heard_ms: int) -> str:
        """How much of an item the caller heard."""

    def message(self, role: str, text: str) -> str:
        """Adds a message of `user`, `assistant` or `system`."""

    def tool_call(self, call_id: str, name: str, arguments: str) -> str:
        """Adds a tool call of an earlier session of the same conversation."""

    def tool_output(self, call_id: str, output: str) -> str:
        """Adds what a tool returned."""
