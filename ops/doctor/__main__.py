"""`python -m ops.doctor`: writes docs/doctor from the rules."""

from __future__ import annotations

from pathlib import Path

from ops import checks
from ops.doctor import book


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in book.pages(checks.catalogue()).items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path("docs/doctor"))
