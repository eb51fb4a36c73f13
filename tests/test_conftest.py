"""What every test gets, where it is more than a fixture's few lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

SLOW = """
import time
import pytest
from tests.conftest import second_belt

@pytest.mark.timeout(30)
def test_slow():
    time.sleep(0.4)
"""


def test_a_test_with_time_of_its_own_has_it(tmp_path: Path) -> None:
    """The belt that ends a worker whose test hangs in C does not cut the long modes."""
    (tmp_path / "test_slow.py").write_text(SLOW)
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "pytest_timeout",
            "-o", "faulthandler_timeout=0.2", "-o", "faulthandler_exit_on_timeout=true", str(tmp_path),
        ],
        cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
