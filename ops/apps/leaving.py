"""How the agent leaves a call: only after the last words have been heard, but without fail. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ops.apps.actions import Hangup, Transfer

PATIENCE = 12.0  # seconds for the last words; then we leave without them


@dataclass
class Leaving:
    """The call is to end so, when the caller has heard what is being said.

    `waits_for_model` while the model has yet to say its goodbye; `told` when the caller already knows
    that something is broken, so that there is nothing left to try.
    """

    how: Hangup | Transfer
    latest: float
    waits_for_model: bool = False
    told: bool = False
    started: bool = False  # the transfer is under way: Twilio ends the stream when it has worked

    def due(self, now: float, speaking: bool) -> bool:
        """Whether it is time to go."""
        if self.started:
            return False
        return now >= self.latest or not (speaking or self.waits_for_model)
