"""A supervisor that is warm before it is needed: it loads while the command still reads its settings.

Half of a start was waiting for one interpreter after the other. On two cores they load side by
side; the supervisor then waits for one word, and ends when it does not come.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.processes import census, spawn
from ops.processes.environment import PACKAGE, minimal, python
from ops.processes.sole import without_supervisor

if TYPE_CHECKING:  # a supervisor launches nobody this way, and comes up sooner without it
    import subprocess

STANDBY = "--standby"


@dataclass(frozen=True)
class Standby:
    """A process that becomes the supervisor of a new stack with this token once it is told to."""

    root: Path
    token: str
    process: subprocess.Popen[bytes]

    def serves(self, root: Path, token: str) -> bool:
        """Whether it still can, for this stack."""
        return (self.root, self.token) == (root, token) and self.process.poll() is None

    def go(self) -> bool:
        """Let it begin; False when it is gone."""
        assert self.process.stdin is not None
        try:
            os.write(self.process.stdin.fileno(), b"!")
        except BrokenPipeError:
            return False
        return self.process.wait() == 0  # it forks and ends at once; the supervisor is nobody's child


@contextmanager
def standing_by(root: Path) -> Iterator[Standby | None]:
    """A supervisor that waits, for as long as this lasts; None where one is at work already."""
    with without_supervisor(root / "logs" / "run") as nobody:
        pass
    if not nobody:
        yield None
        return
    token = os.urandom(16).hex()
    standby = Standby(root, token, launch(root, token, standby=True))
    try:
        yield standby
    finally:
        assert standby.process.stdin is not None
        standby.process.stdin.close()  # whoever was not told to begin ends with this
        standby.process.wait()


def launch(root: Path, token: str, *, standby: bool = False) -> subprocess.Popen[bytes]:
    """Start the supervisor's program, detached from our terminal. It forks, and the first of the two
    ends as soon as the other has come up; on `standby` it waits for one byte first."""
    import subprocess

    environment = {**minimal(), "PYTHONPATH": str(PACKAGE), **census.marks(token, root, census.SUPERVISOR)}
    output, _ = spawn.open_output(root / "logs" / "supervisor.out")
    try:
        return subprocess.Popen(
            python("ops.processes.supervisor", str(root), *([STANDBY] if standby else [])),
            cwd=root,
            env=environment,
            stdin=subprocess.PIPE if standby else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        os.close(output)
