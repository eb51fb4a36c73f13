"""Both directions of a call as the phone had them, kept on disk, given out as a WAV file."""

from __future__ import annotations

import io
import tempfile
import wave
from contextlib import suppress

from ops.speech import g711

IN_MEMORY = 8 * 1024
CHUNK = 20 * 320  # 400 ms of both directions


class Recording:
    """Interleaved mu-law, the person left, what was heard right."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._chunk = bytearray()

    def write(self, spoken: bytes, heard: bytes) -> None:
        """One frame of each."""
        both = bytearray(2 * len(spoken))
        both[0::2] = spoken
        both[1::2] = heard
        self._chunk += both
        if len(self._chunk) >= CHUNK:
            self._flush()

    def wav(self) -> bytes:
        """The whole call so far: two channels, 8 kHz, 16 bit."""
        self._flush()
        self._file.seek(0)
        samples = g711.decode(self._file.read())
        self._file.seek(0, io.SEEK_END)
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(samples.tobytes())
        return out.getvalue()

    def close(self) -> None:
        self._file.close()

    def _flush(self) -> None:
        with suppress(OSError):  # a full disk costs the recording, never the call
            self._file.write(self._chunk)
        self._chunk.clear()
