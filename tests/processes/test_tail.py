"""Foreign output on its way into the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.journal.redact import Redactor
from ops.journal.sinks import Sinks
from ops.processes import tail
from ops.processes.tail import Tail, level_of, record


def test_lines_come_whole_and_once(tmp_path: Path) -> None:
    """A line that is written in two pieces is one record; another reader goes on where one ended."""
    path, place = tmp_path / "x.out", tmp_path / "x.tail"
    path.write_text("")
    first = Tail("x", path, place)
    path.write_text("one\ntw")
    assert [entry.msg for entry in first.read(7)] == ["one"]
    path.write_text("one\ntwo\nthr")
    assert [(entry.msg, entry.pid) for entry in first.read(7)] == [("two", 7)]
    path.write_text("one\ntwo\nthree\n")
    assert [entry.msg for entry in Tail("x", path, place).read(7)] == ["three"]


def test_a_file_that_was_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    """When somebody empties the file, what comes next is not lost."""
    path = tmp_path / "x.out"
    path.write_text("old old old\n")
    reader = Tail("x", path, tmp_path / "x.tail")
    path.write_text("new\n")
    assert [entry.msg for entry in reader.read(0)] == ["new"]


def test_a_flood_is_cut_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beyond its limit begins anew; the rest is kept beside it, and its size is told."""
    monkeypatch.setattr(tail, "LARGEST", 1000)
    monkeypatch.setattr(tail, "MOST_AT_ONCE", 500)
    path = tmp_path / "x.out"
    path.write_text("")
    reader = Tail("x", path, tmp_path / "x.tail")
    path.write_text("x" * 99 + "\n" + ("y" * 99 + "\n") * 19)
    entries = list(reader.read(0))
    assert entries[0].msg == "x" * 99
    assert (entries[-1].event, entries[-1].level) == ("journal.skipped", "WARNING")
    assert entries[-1].msg.startswith("1500 bytes")
    assert path.stat().st_size == 0
    assert (tmp_path / "x.out.1").stat().st_size == 2000


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("[ERROR] no", "ERROR"),
        ("TypeError: x is undefined", "ERROR"),
        ("2026 WARN slow", "WARNING"),
        ("DEBUG x", "DEBUG"),
        ("0 errors", "INFO"),
        ("ready", "INFO"),
    ],
)
def test_a_line_keeps_the_level_it_names(line: str, level: str) -> None:
    """Words that loggers write are levels; everything else is INFO."""
    assert level_of(line) == level


def test_what_cannot_be_written_is_counted(tmp_path: Path) -> None:
    """A file that takes nothing costs records, is counted, and raises nothing."""
    (tmp_path / "latest.log").symlink_to("/dev/full")
    sinks = Sinks(tmp_path, Redactor(()))
    sinks.write([record("x", "y"), record("x", "z")])
    assert sinks.lost == 2
