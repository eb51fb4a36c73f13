"""The transcription of what the caller said, as the events that a session configured for it gets. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ops.vendors.openai.simulator.conversation import USER_MS_PER_TOKEN, Item, text_tokens
from ops.vendors.openai.simulator.events import Event, event

UNCLEAR = "(unclear)"  # speech that is no line of the library
FIRST_AFTER, EACH = 0.12, 0.01  # seconds after the commit, and between two words
_NAME = "conversation.item.input_audio_transcription"


def script(
    item: Item, text: str, config: Mapping[str, Any], *, logprobs: bool, fails: bool
) -> Iterator[tuple[float, Event]]:
    """(seconds after the commit, event) of one transcription, from the first delta to its end."""
    where = {"item_id": item.id, "content_index": 0}
    if fails:
        error = {
            "type": "transcription_error", "code": "audio_unintelligible",
            "message": "The audio could not be transcribed.", "param": None,
        }  # fmt: skip
        yield FIRST_AFTER, event(f"{_NAME}.failed", **where, error=error)
        return
    model = config.get("model", "gpt-4o-transcribe")
    words = [text] if model == "whisper-1" else text.split(" ")
    deltas = [f" {word}" if number else word for number, word in enumerate(words)]
    for number, delta in enumerate(deltas):
        yield (
            FIRST_AFTER + number * EACH,
            event(f"{_NAME}.delta", **where, delta=delta, **_logprobs([delta], logprobs)),
        )
    after = FIRST_AFTER + len(deltas) * EACH
    if model.endswith("diarize"):
        span = {"id": f"seg_{item.id}", "start": 0.0, "end": item.audio_ms / 1000, "speaker": "A"}
        yield after, event(f"{_NAME}.segment", **where, text=text, **span)
    usage = _usage(model, item, text)
    yield (
        after,
        event(f"{_NAME}.completed", **where, transcript=text, usage=usage, **_logprobs(deltas, logprobs)),
    )


def _usage(model: str, item: Item, text: str) -> dict[str, Any]:
    if model == "whisper-1":
        return {"type": "duration", "seconds": math.ceil(item.audio_ms / 1000)}
    heard, written = math.ceil(item.audio_ms / USER_MS_PER_TOKEN), text_tokens(text)
    return {
        "type": "tokens",
        "total_tokens": heard + written,
        "input_tokens": heard,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
        "output_tokens": written,
    }


def _logprobs(tokens: list[str], wanted: bool) -> dict[str, Any]:
    """The field `logprobs` where the session includes it."""
    found = [{"token": token, "bytes": list(token.encode()), "logprob": -0.01} for token in tokens]
    return {"logprobs": found} if wanted else {}
