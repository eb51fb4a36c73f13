"""A session's configuration: OpenAI's defaults, and what an update makes of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

INSTRUCTIONS = (
    "Your knowledge cutoff is 2023-10. You are a helpful, witty, and friendly AI. Act like a human, but "
    "remember that you aren't a human and that you can't do human things in the real world. Your voice and "
    "personality should be warm and engaging, with a lively and playful tone."
)
TURN_DEFAULTS: Mapping[str, dict[str, Any]] = {
    "server_vad": {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    },
    "semantic_vad": {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    },
}


def default(id: str, model: str, expires_at: int) -> dict[str, Any]:
    """The session as `session.created` shows it."""
    pcm = {"type": "audio/pcm", "rate": 24000}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": INSTRUCTIONS,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": expires_at,
        "audio": {
            "input": {
                "format": dict(pcm),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": dict(TURN_DEFAULTS["server_vad"]),
            },
            "output": {"format": dict(pcm), "voice": "alloy", "speed": 1.0},
        },
        "include": None,
    }


def updated(session: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The session after a valid update: only fields that are present change."""
    result: dict[str, Any] = deepcopy(dict(session))
    for name, value in patch.items():
        if name == "audio":
            for side, fields in value.items():
                for field, inner in fields.items():
                    result["audio"][side][field] = _merged(field, result["audio"][side][field], inner)
        else:
            result[name] = deepcopy(value)
    return result


def with_pcm(session: Mapping[str, Any]) -> dict[str, Any]:
    """The session as it would be with PCM both ways: for the fault that confirms another format."""
    result: dict[str, Any] = deepcopy(dict(session))
    for side in ("input", "output"):
        result["audio"][side]["format"] = {"type": "audio/pcm", "rate": 24000}
    return result


def _merged(field: str, current: Any, inner: Any) -> Any:
    if field == "turn_detection" and inner is not None:
        same = current is not None and current["type"] == inner["type"]
        return {**(current if same else TURN_DEFAULTS[inner["type"]]), **inner}
    return deepcopy(inner)
