"""The command line with -H, as a table: by every door, on the Invoke that is pinned and on the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.remote.conftest import Hosts, hosts  # noqa: F401  (a fixture)

TASKS = """
import sys
from invoke import __version__
from invoke.tasks import task
from ops.program import adopt

adopt()

@task
def start(c, port=0, take_over=False):
    "Start."
    weight = "heavy" if {"fabric", "paramiko"} & set(sys.modules) else "light"
    print("here: start", port, weight, "on", __version__.partition(".")[0])

@task(pre=[start])
def ship(c, version=""):
    "Ship."
    print("here: ship", version)
"""
DOORS = {
    "inv": [str(Path(sys.executable).parent / "inv")],
    "python -m invoke": [sys.executable, "-m", "invoke"],
    "ops": [sys.executable, "-c", "import sys; sys.argv[0] = 'ops'; from ops.program import main; main()"],
}


@pytest.fixture(scope="session")
def next_invoke(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """A folder with Invoke 3, installed once for all tests; None where it cannot be had."""
    folder = str(tmp_path_factory.mktemp("invoke-3"))
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=0", "--timeout=5"]
    argv = [sys.executable, *pip, "--no-deps", f"--target={folder}", "invoke>=3,<4"]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=50)
    return folder if done.returncode == 0 else None


class Line:
    """A command line by one door, in a project whose one host repeats what it was asked to run."""

    def __init__(self, hosts: Hosts, door: str, path: str, invoke: int) -> None:  # noqa: F811
        self.hosts, self.door, self.path, self.invoke = hosts, door, path, invoke

    def __call__(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environ = self.hosts.environ | {"PYTHONPATH": self.path}
        return subprocess.run(
            [*DOORS[self.door], *arguments], cwd=cwd or self.hosts.root, env=environ,
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip

    def out(self, *arguments: str, cwd: Path | None = None) -> str:
        done = self(*arguments, cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refuses(self, told: str, *arguments: str) -> None:
        done = self(*arguments)
        assert done.returncode == 1, done.stdout + done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr
        assert "│" not in done.stdout


@pytest.fixture(params=[*DOORS, *(f"{door}, next version" for door in DOORS)])
def line(request: pytest.FixtureRequest, hosts: Hosts) -> Line:  # noqa: F811
    """By each door once; `inv` and `python -m invoke` are one program, in two versions of Invoke."""
    door, _, later = str(request.param).partition(", ")
    if bool(later) != (door == "python -m invoke") and not request.config.getoption("--long"):
        pytest.skip("each version by every door: --long")
    folder = request.getfixturevalue("next_invoke") if later else ""
    if folder is None:
        pytest.skip("Invoke 3 cannot be installed here (no package index)")
    (hosts.root / "tasks.py").unlink()
    (hosts.root / "tasks.py").write_text(TASKS)
    hosts.release(hosts.add("a"), 'echo "there: $*"')
    path = os.pathsep.join(filter(None, (folder, str(REPOSITORY) if door == "ops" else "")))
    return Line(hosts, door, path, 3 if later else 2)


def test_without_hosts_all_is_as_ever(line: Line) -> None:
    """Lists, helps and runs as plain Invoke does, and no SSH library is loaded."""
    assert "ship" in line.out("--list")
    assert "--take-over" in line.out("--help", "start")
    told = f"light on {line.invoke}\n"
    assert (
        line.out("start", "--port", "9", "ship", "--version=x")
        == f"here: start 9 {told}here: start 0 {told}here: ship x\n"
    )
    line.refuses("No idea what '-X' is!", "-X", "start")
    line.refuses("No idea what '--nope' is!", "start", "--nope")
    assert ("--hosts" in line.out("--help")) == (line.door == "ops")


def test_the_flag_in_every_place_and_spelling(line: Line) -> None:
    """-H a, -Ha, --hosts=a, before or behind the task; the tasks' own flags stay theirs."""
    for words in (["-Ha", "start"], ["start", "--hosts=a"]):
        assert "a │ there: start\n" in line.out(*words)
    told = line.out("-H", "a", "start", "--port", "9", "-t", "ship", "--version", "x y")
    assert "a │ there: start --port=9 --take-over\n" in told
    assert "a │ there: ship --version=x y\n" in told
    assert "\nhere:" not in told


def test_the_flag_beside_other_flags(line: Line) -> None:
    """Listing and help still list and help; the collection must be chosen before."""
    assert "ship" in line.out("-H", "a", "--list")
    assert "--take-over" in line.out("-H", "a", "--help", "start")
    assert "there: start" in line.out("-c", "tasks", "-H", "a", "start")
    assert "there: start" in line.out("-r", str(line.hosts.root), "-H", "a", "start", cwd=Path("/"))


def test_what_makes_no_sense_is_refused(line: Line) -> None:
    """Each with a sentence and exit 1, and nothing is run anywhere."""
    line.refuses("No idea what '-X' is!", "-H", "a", "-X", "start")
    line.refuses("No idea what '--nope' is!", "-H", "a", "start", "--nope")
    line.refuses("needed value and was not given one", "-H")
    line.refuses("-H needs at least one task", "-H", "a")
    line.refuses("nothing can stand behind --", "-H", "a", "start", "--", "uptime")
    line.refuses("-R shows nothing", "-R", "-H", "a", "start")
    if line.door != "ops":  # the script knows -H from the first
        line.refuses("-c and -r must come before -H", "-H", "a", "-c", "other", "start")
    done = line("-H", "a,a,-x,a;id", "start")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_completion_knows_the_flag(line: Line) -> None:
    """Task names, their flags and --hosts are offered behind -H."""
    name = "ops" if line.door == "ops" else "inv"
    assert "ship" in line.out("--complete", "--", f"{name} -H a sh").split()
    assert "--take-over" in line.out("--complete", "--", f"{name} -H a start --").split()
    assert "--hosts" in line.out("--complete", "--", f"{name} --ho").split()


def test_without_tasks_there_is_nothing_to_run(line: Line) -> None:
    """Invoke's own sentence, not one of ours."""
    (line.hosts.root / "tasks.py").unlink()
    line.refuses("Can't find any collection named 'tasks'!", "start")
