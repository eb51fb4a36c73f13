"""Compiles the lane for this environment: `python -m ops.apps.transports.make_lane`, as `./inv` does.

Where there is no C compiler, or no header files of Python, it says so in one line: Python carries the frames.
"""

from __future__ import annotations

import shutil
import subprocess  # noqa: TID251 - asks Cython and the C compiler, at set-up alone
import sys
import sysconfig
import tempfile
from pathlib import Path

from ops.apps.transports.native import NAME, SOURCE, compiled

COMPILERS = ("cc", "gcc", "clang")


class NotMade(Exception):
    """Why there is no lane."""


def make(target: Path) -> None:
    """Compile the lane to this file. Raises NotMade."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise NotMade(f"there is no C compiler (looked for {', '.join(COMPILERS)})")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        source = Path(folder, f"{NAME}.pyx")
        shutil.copy(SOURCE, source)
        _run([sys.executable, "-m", "cython", "-3", source.name], folder)
        linking = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        include = f"-I{sysconfig.get_path('include')}"
        # the machine code of one pass must fit beside everything else in the first cache
        _run(
            [
                compiler,
                "-O2",
                "-DNDEBUG",
                "-fPIC",
                "-shared",
                *linking,
                include,
                f"{NAME}.c",
                "-o",
                target.name,
            ],
            folder,
        )
        Path(folder, target.name).replace(target)


def _run(argv: list[str], folder: str) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        told = [line.strip() for line in done.stderr.splitlines() if "error" in line.lower()]
        raise NotMade(
            f"{Path(argv[0]).name} could not compile it: {told[0] if told else done.stderr[-200:]!r}"
        )


def main() -> int:
    target = compiled()
    if target.exists():
        return 0
    try:
        make(target)
    except NotMade as why:
        sys.stdout.write(f"The bridge's lane is not compiled: {why}. Without it calls cost a third more.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
