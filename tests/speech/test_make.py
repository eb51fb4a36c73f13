"""The script that makes the lines: its finishing, which needs no synthesiser."""

from __future__ import annotations

import math
import shutil
from array import array
from pathlib import Path

import pytest

from ops.speech import g711, library, make


def _tone(frames: int, amplitude: int = 3000) -> array[int]:
    return array("h", (round(amplitude * math.sin(n * 0.4)) for n in range(frames * g711.FRAME)))


def test_silence_at_the_ends_goes_and_long_pauses_shrink() -> None:
    """One second of pause becomes 200 ms; speech keeps its length; the level becomes -18 dBFS."""
    quiet = array("h", [0] * (50 * g711.FRAME))
    audio = make.finished(quiet + _tone(20) + quiet + _tone(20) + quiet)
    assert len(audio) == (20 + make.LONGEST_PAUSE + 20) * g711.FRAME
    assert g711.level(audio[: 20 * g711.FRAME]) == pytest.approx(-18, abs=0.5)


@pytest.mark.skipif(not (shutil.which("espeak-ng") and shutil.which("sox")), reason="no synthesiser here")
def test_the_script_makes_every_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run anew, it writes one file a line, of the shipped length within a tenth."""
    make.main(tmp_path)
    for line in library.lines():
        made = (tmp_path / f"{line.name}.ulaw").stat().st_size
        assert made == pytest.approx(len(line.audio), rel=0.1)
    assert "caller-hours" in capsys.readouterr().out
