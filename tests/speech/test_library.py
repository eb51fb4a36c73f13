"""The shipped lines: what the simulators count on."""

from __future__ import annotations

import subprocess
import sys
from operator import mul
from statistics import median

import pytest

from ops.speech import g711, library

NAMES = [line.name for line in library.lines()]


def _frames(audio: bytes) -> list[float]:
    return [g711.level(audio[at : at + g711.FRAME]) for at in range(0, len(audio), g711.FRAME)]


@pytest.mark.parametrize("name", NAMES)
def test_audio_is_whole_frames_at_speech_level(name: str) -> None:
    """Every line is headerless mu-law in whole 20 ms frames, near -18 dBFS."""
    audio = library.line(name).audio
    assert len(audio) % g711.FRAME == 0
    assert not audio.startswith(b"RIFF")
    assert g711.level(audio) == pytest.approx(-18.5, abs=1.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_line_starts_and_ends_with_speech_and_never_pauses_long(name: str) -> None:
    """No silence at the ends, and no pause inside that a listener could take for the end of a turn."""
    quiet = "".join("." if level < -45 else "#" for level in _frames(library.line(name).audio))
    assert quiet[0] == quiet[-1] == "#"
    assert "." * 12 not in quiet


def test_the_two_speakers_sound_different() -> None:
    """The agent's pitch is at least half as high again as the caller's, by autocorrelation."""

    def pitch(speaker: library.Speaker) -> float:
        found = []
        for line in library.lines(speaker)[:4]:
            samples = g711.decode(line.audio)
            for at in range(0, len(samples) - 400, 400):
                window = samples[at : at + 400]
                score = [sum(map(mul, window, window[lag : 260 + lag])) for lag in range(130)]
                peaks = [lag for lag in range(24, 129) if score[lag - 1] <= score[lag] >= score[lag + 1]]
                strong = [lag for lag in peaks if score[lag] > 0.85 * max(score[24:])]
                if strong and score[strong[0]] > 0.5 * score[0]:
                    found.append(8000 / strong[0])
        return median(found)

    assert pitch("agent") > 1.5 * pitch("caller")


def test_lines_by_speaker() -> None:
    """`lines(speaker)` gives only that speaker's, and all of them together are the library."""
    assert {line.speaker for line in library.lines("caller")} == {"caller"}
    assert len(library.lines("caller")) + len(library.lines("agent")) == len(library.lines()) == 14


def test_a_line_that_does_not_exist_is_named_with_those_that_do() -> None:
    """The error helps a writer of scenarios who mistyped."""
    with pytest.raises(KeyError, match=r"no line called 'caller-hour'.*caller-hours"):
        library.line("caller-hour")


def test_importing_reads_no_audio_and_builds_no_table() -> None:
    """Importing the library is free: audio and tables come with first use."""
    probe = (
        "import sys; from ops.speech import g711, library; "
        "sys.exit(g711._mulaw_codes.cache_info().currsize or library._index.cache_info().currsize)"
    )
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
