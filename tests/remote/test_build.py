"""What goes into a release, what never does, and what it is called."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from ops.errors import OpsError
from ops.remote import build

HERE = {
    "python": f"{sys.version_info.major}.{sys.version_info.minor}.0",
    "platform": sysconfig.get_platform(),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project, committed."""
    for name, text in {
        "inv": "#!/bin/sh\n",
        "tasks.py": "",
        "a/b.txt": "b",
        ".env": "X=1",
        "logs/x": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "inv").chmod(0o755)
    (tmp_path / "link").symlink_to("a/b.txt")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "-A", "-f")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", "-C", root, *who, *arguments], check=True, capture_output=True)


def test_the_last_commit_or_what_lies_there(tree: Path) -> None:
    """Committed files with their modes and links; with `dirty` also new and changed ones; never .env and logs."""
    (tree / "new.txt").write_text("new")
    (tree / "a/b.txt").write_text("changed")
    committed = {file.path: file for file in build.project(tree, dirty=False).files}
    lying = {file.path: file for file in build.project(tree, dirty=True).files}
    assert set(committed) == {"inv", "tasks.py", "a/b.txt", "link"}
    assert set(lying) == {*committed, "new.txt"}
    assert (committed["a/b.txt"].data, lying["a/b.txt"].data) == (b"b", b"changed")
    assert (committed["inv"].executable, committed["tasks.py"].executable, lying["inv"].executable) == (
        True,
        False,
        True,
    )
    assert committed["link"].link == lying["link"].link == "a/b.txt"
    assert (build.project(tree, dirty=False).left_out, build.project(tree, dirty=True).left_out) == (2, 0)


@pytest.mark.parametrize("to", ["/etc/passwd", "../outside", "a/../../outside"])
def test_a_link_that_leads_out_is_refused(tree: Path, to: str) -> None:
    """A release is whole by itself."""
    (tree / "out").symlink_to(to)
    with pytest.raises(OpsError, match="leads out"):
        build.project(tree, dirty=True)


def test_what_is_no_project_is_said(tmp_path: Path) -> None:
    """Without git, or without a door, there is nothing to ship, and the error says what to do."""
    with pytest.raises(OpsError, match="git"):
        build.project(tmp_path, dirty=True)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "x").touch()
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    with pytest.raises(OpsError, match="no inv"):
        build.project(tmp_path, dirty=False)


def test_the_name_is_the_content() -> None:
    """Order does not matter; bytes, names, modes, links, wheels, environment and salt do."""
    files = [build.File("a", b"1"), build.File("b", b"2")]
    wheel = build.Wheel(Path("x-1-py3-none-any.whl"), "0" * 64)
    name = build.release_id(files, (wheel,), "X=1", "")
    assert name == build.release_id(files[::-1], (wheel,), "X=1", "")
    others = [
        build.release_id([build.File("a", b"1"), build.File("b", b"3")], (wheel,), "X=1", ""),
        build.release_id([build.File("a", b"1"), build.File("c", b"2")], (wheel,), "X=1", ""),
        build.release_id([build.File("a", b"1"), build.File("b", b"2", executable=True)], (wheel,), "X=1", ""),
        build.release_id([build.File("a", b"1"), build.File("b", link="a")], (wheel,), "X=1", ""),
        build.release_id(files, (), "X=1", ""), build.release_id(files, (wheel,), "X=2", ""),
        build.release_id(files, (wheel,), None, ""), build.release_id(files, (wheel,), "X=1", "salt"),
    ]  # fmt: skip
    assert len({name, *others}) == 1 + len(others)


def test_wheels_for_another_python() -> None:
    """pip is told of a host that is not like ours, newest C library first; one it cannot serve is refused."""
    assert build._target(".".join(HERE["python"].split(".")[:2]), HERE | {"libc": "glibc-2.36"}) == []
    told = build._target("3.13", {"platform": "linux-aarch64", "libc": "glibc-2.17"})
    assert told[:3] == ["--python-version=3.13", "--implementation=cp", "--platform=manylinux_2_17_aarch64"]
    assert "--platform=manylinux2014_aarch64" in told
    with pytest.raises(OpsError, match="cannot be served"):
        build._target("3.13", {"platform": "linux-x86_64", "libc": "-"})
