"""Interrupted at any moment: what the model is told was heard, it takes; its simulator refuses what it never said."""

from __future__ import annotations

import random

from ops.apps.actions import Action, ToModel, ToPhone
from ops.speech import library
from tests.apps.test_long_call import Line


class Interrupted(Line):
    """A line whose phone tells late, or never, what it has played."""

    def __init__(self, dice: random.Random) -> None:
        self.dice, self.truncated, self.cleared = dice, list[int](), 0
        super().__init__()

    def _carry_out(self, action: Action) -> None:
        super()._carry_out(action)
        if isinstance(action, ToPhone) and '"mark"' in action.text[:20]:
            at, name = self._marks.pop()
            at = max(at + self.dice.uniform(-0.5, 1.0), self._marks[-1][0] if self._marks else 0.0)
            if self.dice.random() < 0.95:
                self._marks.append((at, name))
        elif isinstance(action, ToPhone) and '"clear"' in action.text[:20]:
            self.cleared += 1
            self._marks.clear()
        elif isinstance(action, ToModel) and '"conversation.item.truncate"' in action.text[:40]:
            self.truncated.append(int(action.text.rpartition(":")[2].strip(" }")))

    def says(self, name: str) -> None:
        speech = library.line(name).audio
        for at in range(0, len(speech), 160):
            self.hear(speech[at : at + 160].ljust(160, b"\xff"))


def test_no_truncate_is_refused() -> None:
    """Forty times the caller speaks again, at whatever moment of the answer: the phone is cleared, the model is told
    a time, and it never has anything to say against it."""
    line = Interrupted(random.Random(7))
    line.until(8, step=0.02)
    for turn in range(40):
        line.says("caller-hours" if turn % 2 else "caller-price")
        line.until(line.now + line.dice.uniform(0.4, 3.0), step=0.02)
    assert len(line.truncated) > 20
    assert line.cleared >= len(line.truncated)  # at 0 ms there is nothing to tell
    assert min(line.truncated) > 0
    assert "model.error" not in line.notes
    assert line.session.ended is None
