from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ops.config import Settings
from ops.journal import write
from ops.journal.collect import read
from ops.journal.query import Query
from ops.journal.rotate import File, Policy, plan, rotate
from tests.journal.conftest import NOON, line

DAY = timedelta(days=1)
USUAL = Policy(bytes=100, age=3600)


def file(name: str, size: int = 10, begun: datetime = NOON, changed: datetime = NOON) -> File:
    return File(Path("/logs") / name, size, begun, changed)


def steps(*files: File, policy: Policy = USUAL, force: bool = False) -> list[tuple[str, str]]:
    return [(step.do, step.path.name) for step in plan(files, NOON, policy, force=force)]


def test_what_is_large_or_old_is_rotated() -> None:
    """By size, by age, or because it was asked for; an empty file never."""
    old = NOON - timedelta(hours=2)
    files = [
        file("a.jsonl", 100),
        file("b.jsonl", 99),
        file("c.jsonl", begun=old),
        file("d.jsonl", 0, old),
        file("e.out", 500),
    ]
    assert steps(*files) == [("rename", "a.jsonl"), ("rename", "c.jsonl"), ("copy-and-empty", "e.out")]
    assert len(steps(*files, force=True)) == 4


def test_what_was_rotated_is_packed_after_a_rest() -> None:
    """A batch may still be on its way to a file that was just renamed."""
    rested = file("a-20251123T100000.jsonl", changed=NOON - timedelta(seconds=6))
    fresh = file("b-20251123T115959.jsonl", changed=NOON - timedelta(seconds=1))
    packed = file("c-20251123T100000.jsonl.gz", changed=NOON - timedelta(seconds=60))
    assert steps(rested, fresh, packed) == [("pack", "a-20251123T100000.jsonl")]


def test_archives_are_kept_by_days_and_by_size_in_all() -> None:
    """What is too old goes, and of the rest the oldest that are too much; live files never."""
    old = file("a-20251101T000000.jsonl.gz", changed=NOON - 15 * DAY)
    many = [file(f"a-2025112{n}T000000.jsonl.gz", 40, changed=NOON - (3 - n) * DAY) for n in range(3)]
    live = file("a.jsonl", 90, changed=NOON - 30 * DAY)
    policy = Policy(bytes=1000, age=1e9, keep_days=14, keep_bytes=100)
    assert steps(old, *many, live, policy=policy) == [
        ("delete", "a-20251120T000000.jsonl.gz"),
        ("delete", "a-20251101T000000.jsonl.gz"),
    ]


def test_nothing_is_lost_on_the_way_into_the_archive(settings: Settings) -> None:
    """Rotated under a running writer, packed, and read again: every record once and in order."""
    write.setup("bridge", settings.logs)
    log = write.logger("tests.rotate")
    now = datetime.now(UTC)
    for n in range(30):
        log.info("e", f"m{n}")
        if n % 10 == 9:
            assert write.flush()
            rotate(settings.logs, now=now + timedelta(seconds=n), force=True)
    log.info("e", "m30")
    write.close()
    (finding,) = rotate(settings.logs, now=now + timedelta(minutes=1))
    assert finding.status == "ok"
    archives = sorted((settings.logs / "archive").glob("bridge-*.jsonl.gz"))
    assert len(archives) == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in archives)
    assert [entry.msg for entry in read(settings, Query())] == [f"m{n}" for n in range(31)]


def test_output_that_is_held_open_goes_on_in_the_same_file(settings: Settings) -> None:
    """A service's raw output is copied and emptied: the service writes on, at the new end."""
    path = settings.logs / "node.out"
    with path.open("ab", buffering=0) as held:
        held.write(b"before\n")
        rotate(settings.logs, now=datetime.now(UTC), force=True)
        held.write(b"after\n")
    assert path.read_bytes() == b"after\n"
    (copy,) = (settings.logs / "archive").glob("node-*.out")
    assert copy.read_bytes() == b"before\n"


def test_what_cannot_be_packed_stays_and_is_told(settings: Settings) -> None:
    """A place that is taken, a file that cannot be written: a warning with a fix, nothing gone."""
    source = settings.logs / "a-20251123T100000.jsonl"
    source.write_text(line(NOON, "a"))
    os.utime(source, (1, NOON.timestamp()))
    target = settings.logs / "a-20251123T100000.jsonl.gz"
    target.mkdir()
    (target / "in the way").write_text("")
    findings = rotate(settings.logs, now=NOON + timedelta(hours=1))
    assert [finding.status for finding in findings] == ["ok", "warn"]
    assert source.read_text() == line(NOON, "a")
    assert not list(settings.logs.glob(".*"))


def test_a_packed_file_holds_the_same_bytes(settings: Settings) -> None:
    """gzip, readable with zcat, with the time of the original."""
    source = settings.logs / "a-20251123T100000.jsonl"
    source.write_text(line(NOON, "a") * 100)
    os.utime(source, (NOON.timestamp(), NOON.timestamp()))
    rotate(settings.logs, now=NOON + timedelta(hours=1))
    packed = source.with_name(source.name + ".gz")
    assert gzip.decompress(packed.read_bytes()).decode() == line(NOON, "a") * 100
    assert packed.stat().st_mtime == NOON.timestamp()
    assert not source.exists()
