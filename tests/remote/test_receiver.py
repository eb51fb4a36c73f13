"""The program on a host: whole releases only, whatever happens to it; nothing outside its folder."""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from ops.remote import build, deliver
from ops.remote.receiver.files import Refusal
from ops.remote.receiver.program import answer

OURS = {"token": "t", "holder": "ann@desk", "place": "p", "reason": "r", "take": False}


def cargo(text: str) -> deliver.Cargo:
    """A release of two files, of which `agent.txt` says `text`."""
    files = (build.File("inv", b"#!/bin/sh\n", executable=True), build.File("agent.txt", text.encode()))
    return deliver.cargo(build.Project(files, "label", 0), (), None)


def steps(path: Path, text: str, keep: int = 5) -> list[dict[str, Any]]:
    """All requests of a deploy, its bundle uploaded."""
    load = cargo(text)
    path.mkdir(exist_ok=True)
    (path / "in.tar").write_bytes(
        build.bundle([one for one in load.contents.values() if isinstance(one, bytes)])
    )
    return [
        {"do": "lock"}, {"do": "absorb", "bundle": "in.tar"}, {"do": "install", "manifest": load.manifest},
        {"do": "switch", "id": load.id}, {"do": "prune", "keep": keep}, {"do": "unlock"},
    ]  # fmt: skip


def in_force(path: Path) -> str:
    assert (path / "current/COMPLETE").exists()
    return (path / "current/agent.txt").read_text()


def test_killed_at_any_moment_it_is_old_or_new(tmp_path: Path) -> None:
    """It dies in the middle of its work: what is in force is whole; the same again, and it holds."""
    path = tmp_path / "base"

    def ship(text: str, *, after: float | None) -> None:
        request = {"base": str(path), "word": "w", "steps": steps(path, text, keep=2), **OURS}
        argv = [sys.executable, "-c", deliver.program().decode()]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one:
            try:
                out, _ = one.communicate(json.dumps(request).encode(), timeout=after)
                assert b'"ok"' in out, out
            except subprocess.TimeoutExpired:
                one.kill()

    ship("0", after=None)
    for i in range(1, 16):
        before = in_force(path)
        ship(f"{i}", after=0.03 + 0.012 * i)
        assert in_force(path) in (before, f"{i}")
    ship("last", after=None)
    assert in_force(path) == "last"
    assert len(list((path / "releases").iterdir())) <= 3


def test_old_releases_go_but_not_those_in_use(tmp_path: Path) -> None:
    """N stay, the one before, and whatever a process still works in; contents and uploads that nobody needs go."""
    path = tmp_path / "base"

    def ship(text: str) -> None:
        answer(str(path), {"steps": steps(path, text, keep=1), **OURS})

    ship("0")
    used = (path / "current").resolve()
    with subprocess.Popen(["sleep", "30"], cwd=used) as working:
        for i in range(1, 5):
            ship(f"{i}")
        assert used.exists()
        working.kill()
    (path / "incoming-0f.tar").write_bytes(b"half")  # of an upload that was cut off
    ship("last")
    assert not (path / "incoming-0f.tar").exists()
    assert not used.exists()
    assert len(list((path / "releases").iterdir())) == 2
    assert len(list((path / "store").iterdir())) == 3


def test_back_is_where_we_came_from(tmp_path: Path) -> None:
    """Not two steps back after a failed deploy, not onto a bad one, not onto one that is not complete."""
    path = tmp_path / "base"
    base = str(path)
    ids = {}
    for text in ("a", "b", "c"):
        answer(base, {"steps": steps(path, text), **OURS})
        ids[text] = cargo(text).id
    (path / "releases/000000000000").mkdir()
    back = {"steps": [{"do": "lock"}, {"do": "rollback"}, {"do": "unlock"}], **OURS}
    for step, told in (
        ({"do": "back", "to": "0" * 12}, "not an earlier good release"),
        ({"do": "switch", "id": "0" * 12}, "not complete"),
    ):
        with pytest.raises(Refusal, match=told):
            answer(base, {"steps": [{"do": "lock"}, step], **OURS})
    assert answer(base, back)["to"] == ids["b"]
    assert answer(base, back)["to"] == ids["a"]
    with pytest.raises(Refusal, match="no earlier good release"):
        answer(base, back)
    assert in_force(path) == "a"


def test_a_damaged_upload_is_noticed(tmp_path: Path) -> None:
    """A content that is not what its name says never reaches the store, nor a release that lacks one."""
    path = tmp_path / "base"
    asked = steps(path, "x")
    with tarfile.open(path / "in.tar", "w") as archive:
        member = tarfile.TarInfo(build.digest(b"x"))
        member.size = 1
        archive.addfile(member, io.BytesIO(b"y"))
    with pytest.raises(Refusal, match="damaged on its way"):
        answer(str(path), {"steps": asked, **OURS})
    assert not (path / "current").exists()
    release = tmp_path / "good"
    answer(str(release), {"steps": steps(release, "x"), **OURS})
    (release / "current/agent.txt").write_text("changed on the host")
    with pytest.raises(Refusal, match="not what was shipped"):
        answer(str(release), {"steps": steps(release, "x"), **OURS})


def test_what_is_damaged_on_the_hosts_disk_is_sent_again(tmp_path: Path) -> None:
    """A content that was whole when it came and is not any more makes no release; the same deploy mends it."""
    path = tmp_path / "base"
    asked = steps(path, "x")
    answer(str(path), {"steps": asked[:2], **OURS})
    stored = path / "store" / build.digest(b"x")
    stored.write_bytes(b"y")
    with pytest.raises(Refusal, match="damaged on this host's disk"):
        answer(str(path), {"steps": asked[2:], **OURS})
    assert not (path / "current").exists()
    missing = answer(str(path), {"steps": [{"do": "missing", "hashes": [stored.name]}]})["missing"]
    assert missing == [stored.name]
    answer(str(path), {"steps": steps(path, "x"), **OURS})
    assert in_force(path) == "x"


def test_a_release_is_on_the_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut there is no COMPLETE beside files that never arrived."""
    (tmp_path / "sync").write_text(
        '#!/bin/sh\nls -d agent.txt COMPLETE >"$(dirname "$0")/found" 2>/dev/null; true\n'
    )
    (tmp_path / "sync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path = tmp_path / "base"
    answer(str(path), {"steps": steps(path, "x"), **OURS})
    assert (tmp_path / "found").read_text() == "agent.txt\n"


def test_a_lost_lock_stops_everything(tmp_path: Path) -> None:
    """Who no longer holds the lock can change nothing."""
    path = tmp_path / "base"
    base = str(path)
    answer(base, {"steps": [{"do": "lock"}], **OURS})
    theirs = OURS | {"token": "u", "place": "q", "holder": "bob@desk"}
    with pytest.raises(Refusal, match="ann@desk deploys here"):
        answer(base, {"steps": [{"do": "lock"}], **theirs})
    answer(base, {"steps": [{"do": "lock", "take": True}], **theirs})
    for step in steps(path, "x")[1:]:
        with pytest.raises(Refusal, match="went to bob@desk"):
            answer(base, {"steps": [step], **OURS})
    assert not (path / "releases").exists()


def test_requests_are_carried_out_one_at_a_time(tmp_path: Path) -> None:
    """A desk that comes back waits for what its dead run still does there."""
    request = {"steps": [{"do": "lock"}], **OURS}
    with (tmp_path / ".mutex").open("w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        again = threading.Thread(target=answer, args=(str(tmp_path), request))
        again.start()
        again.join(0.2)
        assert not (tmp_path / "lock.json").exists()
    again.join(5)
    assert (tmp_path / "lock.json").exists()


@pytest.mark.parametrize(
    "row",
    [
        {"path": "/etc/x"},
        {"path": "../x"},
        {"path": "a/../../x"},
        {"path": "a//x"},
        {"path": ""},
        {"sha256": "../x"},
    ],
)
def test_a_manifest_cannot_lead_out_of_its_release(tmp_path: Path, row: dict[str, str]) -> None:
    """Paths and contents are checked on the host, too."""
    path = tmp_path / "base"
    asked = steps(path, "x")
    (tmp_path / "x").write_text("x")
    manifest = {**asked[2]["manifest"]}
    manifest["files"] = [{**manifest["files"][1], **row}]
    asked[2]["manifest"] = manifest
    with pytest.raises(Refusal, match=r"leads out|not named by its hash"):
        answer(str(path), {"steps": asked, **OURS})
    assert sorted(os.listdir(tmp_path)) == ["base", "x"]  # noqa: PTH208
    assert not (path / "current").exists()
