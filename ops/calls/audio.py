"""Reads a call's recording: how loud each side was where it spoke, and the shape of its waveform."""

from __future__ import annotations

import sys
import wave
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.findings import Finding, fail, ok, skip, warn
from ops.speech import g711

VOICED = -45.0  # dBFS: a 20 ms frame above it counts as speech; line noise is far below
QUIET = -40.0  # dBFS: speech below it is hard to follow on a phone
LONGEST = 3600  # seconds that are read
FRAME = 20  # ms
LOUD = 0.02  # peak above which a frame belongs to speech when its onset is looked for
PAUSE = 6  # quiet frames within speech, as between two words


@dataclass(frozen=True)
class Track:
    """One side of the call: RMS level in dBFS over its voiced frames, how long it spoke, and one peak
    (0 to 1) for each 20 ms."""

    dbfs: float
    voiced_ms: int
    peaks: tuple[float, ...]


@dataclass(frozen=True)
class Recording:
    """A two-channel recording: the caller is left, the agent is right."""

    seconds: float
    caller: Track
    agent: Track
    at_ms: float = 0.0  # when it begins, in the call's time

    def to_dict(self) -> dict[str, float]:
        return {"caller_dbfs": self.caller.dbfs, "agent_dbfs": self.agent.dbfs, "seconds": self.seconds}


def recording(path: Path) -> Recording:
    """The recording in a two-channel 16-bit WAV file; ValueError says what is wrong with the file."""
    try:
        with wave.open(str(path), "rb") as file:
            shape = (file.getnchannels(), file.getsampwidth())
            rate = file.getframerate()
            if shape != (2, 2):
                raise ValueError(f"expected two channels of 16 bits, got {shape[0]} of {8 * shape[1]} bits")
            samples = array("h", file.readframes(LONGEST * rate))
    except (OSError, EOFError, wave.Error) as problem:
        raise ValueError(f"not a WAV file: {problem or type(problem).__name__}") from None
    if sys.byteorder == "big":
        samples.byteswap()
    frame = rate // 50
    return Recording(
        seconds=round(len(samples) / 2 / rate, 3),
        caller=track(samples[0::2], frame),
        agent=track(samples[1::2], frame),
    )


def track(samples: Sequence[int], frame: int) -> Track:
    """Level, speech and peaks of one channel; `frame` is the number of samples in 20 ms."""
    threshold = frame * (32768 * 10 ** (VOICED / 20)) ** 2
    energy, voiced, peaks = 0, 0, []
    for part in _frames(samples, frame):
        here = sum(x * x for x in part)
        peaks.append(round(max(max(part), -min(part)) / 32768, 4))
        if here > threshold:
            energy += here
            voiced += 1
    level = g711.dbfs(energy / (voiced * frame)) if voiced else g711.FLOOR_DBFS
    return Track(round(level, 1), voiced * 20, tuple(peaks))


def onset(side: Track, before_ms: float) -> float | None:
    """When the speech under way at a moment began, in ms of the recording; None when nobody spoke."""
    last = min(int(before_ms / FRAME), len(side.peaks) - 1)
    began, quiet = None, 0
    for index in range(last, -1, -1):
        if side.peaks[index] > LOUD:
            began, quiet = index, 0
        elif (quiet := quiet + 1) > PAUSE:
            break
    return None if began is None else float(began * FRAME)


def judge(
    found: Recording | None, *, problem: str = "", streamed: bool = True, recorded: bool = True
) -> Finding:
    """The finding about a call's audio; a silent agent is the failure that this project exists to prevent."""
    if found is None:
        if not streamed:
            return skip("call.audio", "There was no media stream, so there is no sound.")
        if not recorded:
            return skip("call.audio", "RECORD_CALLS=none: the call was not recorded.")
        summary = f"The call has no usable call.wav ({problem or 'the file is missing'})."
        return fail("call.audio", summary, fix="the bridge writes it when the stream ends: inv logs")
    evidence: Mapping[str, float] = found.to_dict()
    levels = f"caller {found.caller.dbfs:.0f} dBFS, agent {found.agent.dbfs:.0f} dBFS"
    if not found.agent.voiced_ms:
        fix = "see whether the model sent audio and the bridge passed it on: inv logs"
        return fail(
            "call.audio", "The caller heard silence: the agent's track has no speech.", fix=fix, **evidence
        )
    if not found.caller.voiced_ms:
        fix = "see whether the media stream carries the caller's frames: inv logs"
        return fail(
            "call.audio", "The agent heard silence: the caller's track has no speech.", fix=fix, **evidence
        )
    if min(found.caller.dbfs, found.agent.dbfs) < QUIET:
        fix = "raise the level of the quiet side; speech is usual between -30 and -12 dBFS"
        return warn("call.audio", f"One side is hard to hear: {levels}.", fix=fix, **evidence)
    return ok("call.audio", f"Both sides can be heard: {levels}.", **evidence)


def _frames(samples: Sequence[int], frame: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(samples) - frame + 1, frame):
        yield samples[start : start + frame]
