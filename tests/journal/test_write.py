from __future__ import annotations

import json
import logging
import os
import pty
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.journal import drain, write
from ops.journal.level import override_level
from tests.journal.conftest import call_sid, canaries, disguises, records, traces

Program = Callable[..., subprocess.Popen[bytes]]
log = write.logger("tests.journal")


def test_a_record_reaches_all_its_places(logs: Path) -> None:
    """One record: a JSON line of the service, a line for people, and a line in its call's folder."""
    sid = call_sid()
    write.setup("bridge", logs)
    with write.bound(call_sid=sid):
        log.info("call.started", "hello", caller="+12025550123")
    log.success("other", "no call")
    write.close()
    own = records(logs / "bridge.jsonl")
    assert [(one["event"], one["level"], one["service"], one["pid"]) for one in own] == [
        ("call.started", "INFO", "bridge", os.getpid()),
        ("other", "SUCCESS", "bridge", os.getpid()),
    ]
    assert records(logs / "calls" / sid / "journal.jsonl") == own[:1]
    people = (logs / "latest.log").read_text().splitlines()
    assert len(people) == 2
    assert "call.started hello caller=+12025550123" in people[0]
    assert (logs / "bridge.jsonl").stat().st_mode & 0o777 == 0o600


def test_bound_fields_nest_and_end(logs: Path) -> None:
    """A bound field is on every record below, the inner one wins, and none outlives its block."""
    write.setup("bridge", logs)
    with write.bound(a=1, b=1):
        with write.bound(b=2):
            log.info("inner", c=3)
        log.info("outer")
    log.info("after")
    write.close()
    inner, outer, after = records(logs / "bridge.jsonl")
    assert (inner["a"], inner["b"], inner["c"]) == (1, 2, 3)
    assert (outer["a"], outer["b"]) == (1, 1)
    assert not {"a", "b"} & set(after)


def test_libraries_flow_in_from_warning_up(logs: Path) -> None:
    """A library's warning becomes a record with the bound call; its information does not."""
    write.setup("bridge", logs, level="DEBUG")
    with write.bound(n=1):
        logging.getLogger("uvicorn.error").warning("port %d", 8081)
        logging.getLogger("websockets.server").info("connection open")
    write.close()
    (record,) = records(logs / "bridge.jsonl")
    assert (record["logger"], record["msg"], record["level"], record["n"]) == (
        "uvicorn.error",
        "port 8081",
        "WARNING",
        1,
    )


def test_an_exception_is_told_with_its_traceback_in_one_line(logs: Path) -> None:
    """`exception` adds type, message and stack as fields; the record stays one line everywhere."""
    write.setup("bridge", logs)
    try:
        raise KeyError("a\nb")
    except KeyError:
        log.exception("call.broken", "sorry")
    write.close()
    (record,) = records(logs / "bridge.jsonl")
    assert (record["level"], record["exc_type"]) == ("ERROR", "KeyError")
    assert "test_write.py" in record["exc_stack"]
    assert len((logs / "latest.log").read_text().splitlines()) == 1


def test_the_level_filters_and_can_be_changed_while_running(logs: Path) -> None:
    """DEBUG is not written at INFO, is within about a second of `override_level`, and no more after it."""
    write.setup("bridge", logs)
    log.debug("too.early")
    override_level(logs, "DEBUG")
    _until(lambda: logging.getLogger("ops").isEnabledFor(logging.DEBUG))
    log.debug("now")
    override_level(logs, None)
    _until(lambda: not logging.getLogger("ops").isEnabledFor(logging.DEBUG))
    log.debug("too.late")
    write.close()
    assert [record["event"] for record in records(logs / "bridge.jsonl")] == ["now"]


def test_a_level_file_that_is_no_level_changes_nothing(logs: Path) -> None:
    """Garbage in the level file leaves the configured level in force."""
    (logs / "run").mkdir()
    (logs / "run" / "log-level").write_bytes(b"\xff\xfeLOUD")
    write.setup("bridge", logs, level="WARNING")
    assert logging.getLogger("ops").getEffectiveLevel() == logging.WARNING


def test_an_odd_field_never_hurts_the_caller(logs: Path) -> None:
    """A field whose text cannot be made costs its record the fields, not the program or the next record."""

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    write.setup("bridge", logs)
    log.info("odd", thing=Odd())
    log.info("next", level="a field", event_="x")
    write.close()
    odd, following = records(logs / "bridge.jsonl")
    assert "no text" in odd["fields_lost"]
    assert (following["event"], following["level_"]) == ("next", "a field")


def test_no_canary_in_any_sink(logs: Path, program: Program) -> None:
    """Secrets said in messages, fields, exceptions, library records and field names are in no sink at all."""
    known = canaries()
    process = program(
        """
import json, logging, sys
from pathlib import Path
from ops.journal import write
logs, secrets, texts = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
write.setup("leaky", logs, level="DEBUG", secrets=secrets, console=True)
log = write.logger("ops.leaky")
with write.bound(call_sid="CA" + "0" * 32):
    for text in texts:
        log.info("said", text, field=text, nested={"deep": [text]}, **{text: 1})
        log.warning(text)
        logging.getLogger("lib " + text).warning("lib %s", text)
        try:
            raise RuntimeError(text)
        except RuntimeError:
            log.exception("raised")
raise SystemExit(7)
""",
        logs,
        json.dumps(list(known.values())),
        json.dumps([text for secret in known.values() for text in disguises(secret)]),
    )
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 7, stderr.decode()
    sinks = {path.name: path.read_text() for path in logs.rglob("*") if path.is_file()}
    sinks["console"] = stderr.decode()
    assert {"leaky.jsonl", "latest.log", "journal.jsonl"} < set(sinks)
    assert all(text.count("said") >= 32 for text in sinks.values())
    leaks = [
        (sink, trace)
        for sink, text in sinks.items()
        for secret in known.values()
        for trace in traces(secret)
        if trace in text
    ]
    assert leaks == []


WRITER = """
import sys
from pathlib import Path
from ops.journal import write
logs, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
write.setup(name, logs)
log = write.logger("ops.writer")
for n in range(count):
    with write.bound(call_sid="CA" + "1" * 32):
        log.info("e", f"{name}-{n}-end", pad="x" * (n % 300))
    if n % 1000 == 999:
        write.flush()  # no faster than the disk: a full queue is another test
"""


def test_several_processes_share_files_without_tearing_a_line(logs: Path, program: Program) -> None:
    """Three processes at once: every line of the shared files is whole, none is missing, each in its order."""
    names = ["one", "two", "three"]
    processes = [program(WRITER, logs, name, 1500) for name in names]
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    people = (logs / "latest.log").read_text().splitlines()
    call = [record["msg"] for record in records(logs / "calls" / ("CA" + "1" * 32) / "journal.jsonl")]
    assert len(people) == len(call) == 4500
    for name in names:
        expected = [f"{name}-{n}-end" for n in range(1500)]
        assert [record["msg"] for record in records(logs / f"{name}.jsonl")] == expected
        assert [text for text in call if text.startswith(name + "-")] == expected


def test_a_killed_writer_leaves_whole_lines_and_all_but_the_last_moments(
    logs: Path, program: Program
) -> None:
    """SIGKILL in mid-flow: what is on disk is whole lines in order without a gap; the kernel may have been stopped
    within the very last one, which the next writer repairs."""
    process = program(WRITER, logs, "victim", 10_000_000)
    path = logs / "victim.jsonl"
    _until(lambda: path.exists() and path.stat().st_size > 200_000, 20)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    whole, _, _ = path.read_text().rpartition("\n")
    numbers = [int(json.loads(line)["msg"].split("-")[1]) for line in whole.splitlines()]
    assert len(numbers) > 100
    assert numbers == list(range(len(numbers)))


def test_an_error_is_on_disk_before_its_caller_goes_on(logs: Path, program: Program) -> None:
    """A process that is killed right after an ERROR has written it, and what came before."""
    process = program(
        """
import os, signal, sys
from pathlib import Path
from ops.journal import write
write.setup("dying", Path(sys.argv[1]))
log = write.logger("ops.x")
log.info("before")
log.error("last.words")
os.kill(os.getpid(), signal.SIGKILL)
""",
        logs,
    )
    process.wait(20)
    assert [record["event"] for record in records(logs / "dying.jsonl")] == ["before", "last.words"]


def test_a_program_that_ends_or_crashes_has_written_everything(logs: Path, program: Program) -> None:
    """Without `close`, the exit drains; an exception that nobody catches is a record too, in threads as well."""
    process = program(
        """
import sys, threading
from pathlib import Path
from ops.journal import write
write.setup("crashing", Path(sys.argv[1]))
write.logger("ops.x").info("hello")
thread = threading.Thread(target=lambda: {}["missing"], name="worker")
thread.start()
thread.join()
raise ValueError("boom")
""",
        logs,
    )
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"ValueError: boom" in stderr  # the usual traceback is still there
    hello, thread, crash = records(logs / "crashing.jsonl")
    assert hello["event"] == "hello"
    assert (thread["event"], thread["exc_type"], thread["thread"]) == ("thread.crashed", "KeyError", "worker")
    assert (crash["event"], crash["exc_type"]) == ("process.crashed", "ValueError")


def test_a_torn_tail_is_repaired(logs: Path) -> None:
    """After a line without an end, the next record starts on a line of its own."""
    (logs / "bridge.jsonl").write_text('{"ts":"2026-')
    (logs / "latest.log").write_text("2026-11")
    write.setup("bridge", logs)
    log.info("fresh")
    write.close()
    torn, whole = (logs / "bridge.jsonl").read_text().splitlines()
    assert torn == '{"ts":"2026-'
    assert json.loads(whole)["event"] == "fresh"
    assert len((logs / "latest.log").read_text().splitlines()) == 2


def test_a_deleted_folder_is_made_again(logs: Path) -> None:
    """Someone removes logs/ under a running service: the next record makes it anew."""
    write.setup("bridge", logs)
    log.info("one")
    assert write.flush()
    shutil.rmtree(logs)
    log.info("two")
    write.close()
    assert [record["event"] for record in records(logs / "bridge.jsonl")] == ["two"]


def test_a_renamed_file_is_left_alone(logs: Path) -> None:
    """Rotation by another process: the next record goes to a new file, the old one is not touched."""
    write.setup("bridge", logs)
    log.info("one")
    assert write.flush()
    (logs / "bridge.jsonl").rename(logs / "bridge-old.jsonl")
    log.info("two")
    write.close()
    assert [record["event"] for record in records(logs / "bridge-old.jsonl")] == ["one"]
    assert [record["event"] for record in records(logs / "bridge.jsonl")] == ["two"]


def test_losses_are_counted_and_told_once_when_writing_works_again(logs: Path) -> None:
    """While a file cannot be written nobody gets an exception; then one line says how many are missing and why."""
    write.setup("bridge", logs)
    (logs / "bridge.jsonl").mkdir()  # stands in the way, also for root
    for n in range(5):
        log.info("lost", n=n)
    assert write.flush()
    (logs / "bridge.jsonl").rmdir()
    log.info("found")
    log.info("again")
    write.close()
    told, found, again = records(logs / "bridge.jsonl")
    assert (told["event"], told["level"], told["service"]) == ("journal.lost", "WARNING", "bridge")
    assert told["msg"].startswith("5 lines before this one could not be written: ")
    assert (found["event"], again["event"]) == ("found", "again")
    assert "journal.lost" not in (logs / "latest.log").read_text()


def test_a_full_disk_costs_lines_but_never_the_program(logs: Path, program: Program) -> None:
    """The disk fills in the middle of a batch: the program goes on, and later says exactly what is missing."""
    process = program(
        """
import resource, sys
from pathlib import Path
from ops.journal import write
logs = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
write.setup("full", logs)
log = write.logger("ops.x")
for n in range(400):
    log.info("e", f"n={n}", pad="x" * 50)
write.flush()
log.info("e", "still full")
write.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.info("room", "again")
""",
        logs,
    )
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (0, b"")
    lines = (logs / "full.jsonl").read_text().splitlines()
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    assert len(lines) - len(whole) <= 1  # the torn line
    before = [record for record in whole if record["event"] == "e"]
    told, last = whole[-2:]
    assert told["event"] == "journal.lost"
    assert int(told["msg"].split()[0]) == 401 - len(before)
    assert last["event"] == "room"


def test_a_full_queue_drops_debug_first_and_tells(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When records come faster than they can be written, DEBUG goes first, and one line tells how many."""
    monkeypatch.setattr(drain, "LIMIT", 60)
    monkeypatch.setattr(drain, "LINGER", 5.0)  # nothing is written until `close`
    write.setup("busy", logs, level="DEBUG")
    for n in range(50):
        log.debug("fine", n=n)
    for n in range(20):
        log.info("needed", n=n)
    for n in range(100):
        log.info("too.much", n=n)
    write.close()
    events = [record["event"] for record in records(logs / "busy.jsonl")]
    (dropped,) = [record for record in records(logs / "busy.jsonl") if record["event"] == "journal.dropped"]
    assert events.count("needed") == 20
    assert 30 <= events.count("fine") <= 31
    assert 60 <= len(events) - 1 <= 61
    assert dropped["msg"].startswith(f"dropped {170 - (len(events) - 1)} records")


def test_records_of_many_threads_are_all_there(logs: Path) -> None:
    """Eight threads write at once: each one's records are there, in its order."""
    write.setup("bridge", logs)

    def work(name: int) -> None:
        for n in range(200):
            log.info("e", who=name, n=n)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    write.close()
    found = records(logs / "bridge.jsonl")
    for name in range(8):
        assert [record["n"] for record in found if record["who"] == name] == list(range(200))


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_only_on_a_terminal_that_wants_it(
    logs: Path, program: Program, environment: dict[str, str], coloured: bool
) -> None:
    """The console is coloured on a terminal, not under NO_COLOR, and never in a pipe."""
    text = """
import sys
from pathlib import Path
from ops.journal import write
write.setup("console", Path(sys.argv[1]), console=True)
write.logger("ops.x").warning("careful", "a \\x1b[31mfield\\x1b[0m")
"""
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    master, slave = pty.openpty()
    terminal = program(text, logs, stderr=slave, env=clean | environment)
    piped = program(text, logs, env=clean | environment)
    _, stderr = piped.communicate(timeout=20)
    assert terminal.wait(20) == 0
    os.close(slave)
    shown = os.read(master, 4096)
    os.close(master)
    assert b"WARNING" in stderr
    assert b"careful" in shown
    assert b"\x1b" not in stderr
    assert (b"\x1b" in shown) is coloured
    assert b"\x1b[31mfield" not in shown


def test_a_service_name_is_no_path(logs: Path) -> None:
    """A name that would leave the logs folder is refused."""
    with pytest.raises(ValueError, match="a service is named"):
        write.setup("../evil", logs)


def test_nothing_is_said_before_setup(logs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A library use of the package, without a journal, writes nothing anywhere."""
    log.error("nobody.listens")
    assert capfd.readouterr().err == ""
    assert list(logs.iterdir()) == []


def _until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_the_busier_the_larger_the_batches() -> None:
    """One record alone is written after a hundredth of a second; among many, none waits longer than a tenth."""
    assert [drain.linger(before) for before in (0, 1, 5, 10, 256)] == pytest.approx(
        [0.01, 0.01, 0.05, 0.1, 0.1]
    )
