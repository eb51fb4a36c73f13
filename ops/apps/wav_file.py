"""A call's recording on disk."""

from __future__ import annotations

from pathlib import Path

from ops.apps.recording import Recording
from ops.journal.write import logger

log = logger(__name__)


def save(recording: Recording, folder: Path) -> None:
    """Writes `call.wav` below `folder`, or `call-2.wav` and on where a call had several streams."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = len(list(folder.glob("call*.wav")))  # of streams that were lost
        part = folder / "call.wav.part"
        part.write_bytes(recording.wav())
        part.replace(folder / (f"call-{earlier + 1}.wav" if earlier else "call.wav"))
    except OSError as problem:
        log.warning("recording.lost", f"The recording could not be written: {problem.strerror}.")
