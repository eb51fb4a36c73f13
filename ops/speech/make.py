"""Makes `lines/*.ulaw` from `lines.json`: `python -m ops.speech.make [FOLDER]`; needs espeak-ng and sox.

Each line is synthesised, brought to 8 kHz telephone band, its pauses shortened (a pause must not
look like the end of a turn), brought to one speech level and cut to whole 20 ms frames.
"""

from __future__ import annotations

import subprocess
import sys
from array import array
from pathlib import Path

from ops.speech import g711
from ops.speech.library import FOLDER, Line, lines

VOICES = {"caller": ("en-us+m3", 42, 205), "agent": ("en-us+f4", 70, 215)}  # voice, pitch, words a minute
SPEECH_LEVEL = -18.0  # dBFS, RMS over the frames that hold speech
SPEECH_FROM = -45.0  # dBFS relative to full scale, after levelling: quieter than this is a pause
LONGEST_PAUSE = 10  # frames of 20 ms


def synthesise(line: Line) -> array[int]:
    """The raw samples of a line, 8 kHz, in the telephone band of 200 to 3600 Hz."""
    voice, pitch, speed = VOICES[line.speaker]
    wav = subprocess.run(
        ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", line.text],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    raw = subprocess.run(
        ["sox", "-D", "-t", "wav", "-", "-t", "raw", "-r", "8000", "-e", "signed", "-b", "16", "-c", "1", "-",
         "gain", "-6", "highpass", "200", "lowpass", "3600"],
        check=True, capture_output=True, input=wav,
    ).stdout  # fmt: skip
    samples = array("h")
    samples.frombytes(raw)
    return samples


def finished(samples: array[int]) -> bytes:
    """Levelled mu-law of a line: no silence at the ends, no pause longer than 200 ms inside."""
    frames = [samples[at : at + g711.FRAME] for at in range(0, len(samples), g711.FRAME)]
    frames[-1].extend([0] * (g711.FRAME - len(frames[-1])))
    for _ in range(3):  # the level decides what is speech, and speech decides the level
        loud = [frame for frame in frames if _level(frame) > SPEECH_FROM]
        gain = 10 ** ((SPEECH_LEVEL - _level(array("h", (s for frame in loud for s in frame)))) / 20)
        frames = [array("h", (_clipped(s * gain) for s in frame)) for frame in frames]
    kept: list[array[int]] = []
    pause: list[array[int]] = []
    for frame in frames:
        if _level(frame) <= SPEECH_FROM:
            pause.append(frame)
            continue
        if kept:
            half = LONGEST_PAUSE // 2
            kept += pause if len(pause) <= LONGEST_PAUSE else pause[:half] + pause[-half:]
        kept.append(frame)
        pause = []
    return b"".join(g711.encode(frame) for frame in kept)


def _level(samples: array[int]) -> float:
    return g711.dbfs(sum(s * s for s in samples) / len(samples)) if samples else g711.FLOOR_DBFS


def _clipped(value: float) -> int:
    return max(-32768, min(32767, round(value)))


def main(folder: Path = FOLDER) -> None:
    """Write every line's audio below `folder` and say how long and how loud each is."""
    folder.mkdir(parents=True, exist_ok=True)
    for line in lines():
        audio = finished(synthesise(line))
        (folder / f"{line.name}.ulaw").write_bytes(audio)
        print(f"{line.name:16} {len(audio) / 8000:5.2f} s {g711.level(audio):6.1f} dBFS")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
