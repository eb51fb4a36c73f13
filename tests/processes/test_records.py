"""The run files: what is written comes back, and what is broken is None."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ops.processes.identity import Identity
from ops.processes.plan import Order
from ops.processes.records import (
    Stack,
    Standing,
    Wanted,
    read_stack,
    read_wanted,
    spec_changes,
    spec_of,
    stack_text,
    wanted_text,
)
from ops.processes.run_files import RunFiles, last_lines
from ops.processes.state import Life
from ops.services import Ready, Service

SERVICE = Service(
    "web",
    ("node", "x.js"),
    Path("/srv"),
    (1, 2),
    Ready("http", "/h", "ok"),
    Ready("tcp"),
    ("api",),
    {"A": "b"},
)
WANTED = Wanted(3, "t", Path("/srv"), "basic", {"twilio": "live"}, None, 5, 30.0, (Order(SERVICE, 2, True),))
LIFE = Life("unready", "why", 1, 2, 1, 5.5, True, 6.0, None)
STANDING = Standing(
    "web", LIFE, Identity(7, 8, "b"), "spec", 2, 1700000000.0, (1, 2), "http://x", 9, ("bye",)
)
STACK = Stack(
    "t", 1700000000.0, 3, Identity(1, 2, "b"), "start", {"ngrok": "live"}, None, {"lines": 1}, (STANDING,)
)
ISO = {1700000000.0: "2023-11-14T22:13:20Z"}


def test_what_is_written_comes_back() -> None:
    """Orders and standing survive their text form whole."""
    assert read_wanted(wanted_text(WANTED)) == WANTED
    assert read_stack(stack_text(STACK, ISO)) == STACK


def test_the_state_file_reads_as_specified() -> None:
    """The web page and others read these names; the orders' environment is not among them."""
    data = json.loads(stack_text(STACK, ISO))
    assert data["schema"] == "trunkline/stack@1"
    row = data["services"][0]
    assert (row["state"], row["pid"], row["port"], row["restarts"]) == ("unready", 7, 1, 1)
    assert row["since"] == data["started"] == "2023-11-14T22:13:20Z"
    assert data["supervisor"] == {"pid": 1, "start_ticks": 2, "boot_id": "b"}


@given(st.integers(0, 400))
def test_a_truncated_file_is_none(cut: int) -> None:
    """A file that was cut anywhere is no file, and never an exception."""
    for text, read in ((wanted_text(WANTED), read_wanted), (stack_text(STACK, ISO), read_stack)):
        assert read(text[: min(cut, len(text) - 1)]) is None


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_other_json_is_none(data: object) -> None:
    """Files of other kinds, also with our names in them, are no run files."""
    for schema in ("trunkline/stack@1", "trunkline/wanted@1"):
        text = json.dumps({**(data if isinstance(data, dict) else {"token": data}), "schema": schema})
        assert read_wanted(text) is None
        assert read_stack(text) is None


def test_readers_never_see_half_a_file(root: Path) -> None:
    """While one writes again and again, every read gives a whole state."""
    files = RunFiles(root)
    files.write_stack(STACK)
    done = threading.Event()

    def write() -> None:
        for seen in range(150):
            files.write_stack(replace(STACK, seen=seen))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        assert files.stack() is not None
    thread.join()
    assert [path.name for path in files.folder.iterdir()] == ["stack.json"]


def test_a_fingerprint_names_what_changed_and_tells_no_secret() -> None:
    """Command, folder and each variable are told apart; the values are not in the fingerprint."""
    spec = spec_of(SERVICE, "token")
    assert spec_changes(SERVICE, spec, "token") is None
    assert spec_changes(replace(SERVICE, env={"A": "c"}), spec, "token") == "env A"
    assert spec_changes(replace(SERVICE, env={}, argv=("x",)), spec, "token") == "command, env A"
    assert spec_changes(SERVICE, "garbage", "token") == "how it was started is not known"
    secret = "hidden-value"
    assert secret not in spec_of(replace(SERVICE, env={"A": secret}), "token")


def test_last_lines_are_those_of_this_run(tmp_path: Path) -> None:
    """Only what was written after the run began counts, the last ten lines of it."""
    path = tmp_path / "x.out"
    path.write_text("old\n" + "".join(f"line {n}\n" for n in range(20)))
    assert last_lines(path, 4) == tuple(f"line {n}" for n in range(10, 20))
    assert last_lines(path, 10_000)[-1] == "line 19"  # cut in between
    assert last_lines(tmp_path / "none") == ()
