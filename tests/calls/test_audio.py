from __future__ import annotations

from pathlib import Path

import pytest

from ops.calls.audio import judge, onset, recording
from tests.calls.sound import silence, tone, wav, written


def test_each_side_is_measured_where_it_spoke(tmp_path: Path) -> None:
    """A tone of amplitude 0.3 is -13.5 dBFS on its own side; the silence around it does not count."""
    caller, agent = tone(0.5) + silence(1.0), silence(0.5) + tone(1.0, 0.1)
    found = recording(written(tmp_path / "call.wav", wav(caller, agent)))
    assert found.seconds == 1.5
    assert found.caller.dbfs == pytest.approx(-13.5, abs=0.1)
    assert found.agent.dbfs == pytest.approx(-23.0, abs=0.1)
    assert (found.caller.voiced_ms, found.agent.voiced_ms) == (500, 1000)
    assert len(found.caller.peaks) == 75
    assert max(found.caller.peaks) == pytest.approx(0.3, abs=0.01)
    assert judge(found).status == "ok"


def test_the_onset_of_speech_is_found_from_any_moment_in_it(tmp_path: Path) -> None:
    """A pause between two words belongs to the speech, a longer one ends it."""
    caller = tone(0.3) + silence(0.5) + tone(0.2) + silence(0.1) + tone(0.4)
    found = recording(written(tmp_path / "call.wav", wav(caller, silence(1.5)))).caller
    assert onset(found, 1300) == 800
    assert onset(found, 990) == 800
    assert onset(found, 200) == 0
    assert onset(found, 700) is None
    assert onset(found, 99_000) == 800


@pytest.mark.parametrize(
    ("silent", "said"), [("agent", "The caller heard silence"), ("caller", "The agent heard silence")]
)
def test_a_silent_side_is_a_failure(tmp_path: Path, silent: str, said: str) -> None:
    """Nobody may hear silence; the level of no speech is -96 dBFS, a number."""
    sides = {"caller": tone(0.5), "agent": tone(0.5), silent: silence(0.5)}
    found = recording(written(tmp_path / "call.wav", wav(sides["caller"], sides["agent"])))
    finding = judge(found)
    assert finding.status == "fail"
    assert said in finding.summary
    assert finding.evidence[f"{silent}_dbfs"] == -96.0


def test_a_faint_side_is_a_warning(tmp_path: Path) -> None:
    """Speech at -43 dBFS is hard to follow."""
    found = recording(written(tmp_path / "call.wav", wav(tone(0.5), tone(0.5, 0.01))))
    assert judge(found).status == "warn"


def test_line_noise_is_not_speech(tmp_path: Path) -> None:
    """A hiss of -60 dBFS on the agent's side is silence to the caller."""
    found = recording(written(tmp_path / "call.wav", wav(tone(0.5), tone(0.5, 0.0014))))
    assert judge(found).status == "fail"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a WAV file"),
        (b"RIFF....", "not a WAV file"),
        (wav(tone(0.1), tone(0.1), channels=1), "two channels"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, data: bytes, said: str) -> None:
    """A torn or foreign file is no crash."""
    with pytest.raises(ValueError, match=said):
        recording(written(tmp_path / "call.wav", data))


def test_a_missing_recording_fails_unless_nobody_wanted_one() -> None:
    """RECORD_CALLS=none explains it; otherwise it is the bridge's fault."""
    assert judge(None).status == "fail"
    assert judge(None, recorded=False).status == "skip"
    assert judge(None, streamed=False).status == "skip"
