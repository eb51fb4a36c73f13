"""The sentences of docs/architecture.md, held by machine: import directions, purity, witnesses, mirrors."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPS = ROOT / "ops"
FILES = sorted(OPS.rglob("*.py"))

# A file may import its own level's package and everything on a lower level.
LEVELS = {
    "errors": 0, "findings": 0, "values": 0, "config": 0, "services": 0, "own_stack": 0, "world": 0,
    "speech": 1, "net": 1, "journal": 1,
    "vendors": 2,
    "apps": 3, "processes": 3, "calls": 3, "remote": 3,
    "doctor": 4, "checks": 4, "bench": 4,
    "live": 5, "report": 5,
    "cli": 6, "commands": 6, "program": 6,
}  # fmt: skip
PURE = {"actions", "turns", "assembly", "events", "payload", "caller_audio", "codec", "frame_ring", "conduct", "owed", "dialect", "dialogue", "gauges", "leaving", "messages", "prices", "recovery",
        "spelling", "wire", "session", "playout", "recording", "tickets", "door", "scenario", "timeline", "judge", "entry",
        "analyse", "retry", "plan", "state", "hosts", "hops", "values", "findings", "g711", "vad", "vantage", "model", "destinations"}  # fmt: skip
IMPURE_MODULES = {
    "socket",
    "subprocess",
    "asyncio",
    "threading",
    "httpx",
    "websockets",
    "urllib.request",
    "psutil",
}


def package(path: Path) -> str:
    """The first word below `ops` that a file belongs to."""
    return path.relative_to(OPS).parts[0].removesuffix(".py")


@cache
def imports(path: Path, *, at_top: bool = False) -> tuple[str, ...]:
    """The modules that a file imports, those for type checking alone left out."""
    tree = ast.parse(path.read_text("utf-8"))
    everything = list(ast.walk(tree))
    typing_only = {
        id(child)
        for node in everything
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.walk(node)
    }
    found: list[str] = []
    for node in tree.body if at_top else everything:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    return tuple(found)


def ours(path: Path) -> Iterator[str]:
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "ops" and len(parts) > 1:
            yield name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    """Nothing imports a level above its own, and siblings of one level never import each other."""
    if path == OPS / "__init__.py":
        return
    here = package(path)
    for name in ours(path):
        there = name.split(".")[1]
        assert LEVELS[there] <= LEVELS[here], f"{path}: {here} imports {there}"
        if LEVELS[there] == LEVELS[here] == 3:
            assert there == here, f"{path}: siblings {here} and {there} import each other"
        if here == there == "vendors" and name != "ops.vendors":
            mine, its = path.relative_to(OPS).parts[1], name.split(".")[2]
            assert its in (mine.removesuffix(".py"), "faults"), f"{path}: vendor {mine} imports vendor {its}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_imports_an_app_or_a_simulator(path: Path) -> None:
    """Apps and simulators are programs: argv in the service table and addresses in the settings."""
    for name in ours(path):
        if name.startswith("ops.apps"):
            assert package(path) == "apps", f"{path} imports {name}"
        if ".simulator" in name:
            assert "simulator" in path.relative_to(OPS).parts, f"{path} imports {name}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if "simulator" in p.parts], ids=lambda path: str(path.relative_to(ROOT))
)
def test_simulators_are_independent_witnesses(path: Path) -> None:
    """A simulator shares none of our wire code, clients or bridge: else both could be wrong together."""
    vendor = path.relative_to(OPS).parts[1]
    allowed = (f"ops.vendors.{vendor}.simulator", "ops.speech", "ops.journal", "ops.config", "ops.errors",
               "ops.vendors.faults")  # fmt: skip
    for name in ours(path):
        if name in ("ops.vendors", f"ops.vendors.{vendor}"):
            continue
        assert name.startswith(allowed), f"{path} imports {name}"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if p.stem in PURE and "simulator" not in p.parts],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_pure_files_touch_nothing(path: Path) -> None:
    """A file whose name promises purity imports nothing that reaches the world, and asks for no time."""
    for name in imports(path):
        assert name not in IMPURE_MODULES, f"{path} imports {name}"
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
    }
    asked = {"open", "time.time", "time.monotonic", "time.sleep", "datetime.now", "random.random", "os.open"}
    assert not calls & asked, f"{path} calls {calls & asked}"


def test_the_map_is_complete() -> None:
    """Every package of ops has its level here and its line in the map of ops/__init__.py."""
    names = {package(path) for path in FILES} - {"__init__"}
    assert names <= set(LEVELS)
    text = (OPS / "__init__.py").read_text("utf-8")
    assert not [name for name in names if name not in text]


def test_every_program_of_the_service_table_exists(root: Path) -> None:
    """Each argv that runs a module of ours names one that is there."""
    from ops.config import Settings
    from ops.services import builtin

    for service in builtin(Settings.load(root, {})):
        module = service.argv[service.argv.index("-m") + 1]
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_listing_the_tasks_imports_nothing_heavy() -> None:
    """`inv --list` loads Invoke and tasks.py and none of what the tasks need."""
    code = (
        "import sys, tasks; heavy = {'httpx', 'websockets', 'twilio', 'starlette', 'uvicorn', 'fabric', 'rich', 'ops',"
        " 'psutil', 'dotenv', 'paramiko', 'phonenumbers'}; light = {'ops', 'ops.program'};"
        " print(sorted(name for name in set(sys.modules) - light if name.split('.')[0] in heavy))"
    )
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "[]"
