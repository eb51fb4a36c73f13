"""The caller's frames that the model may need again: what came while it was away, and the open turn. Pure."""

from __future__ import annotations

import base64
import binascii

from ops.apps.frame_ring import FrameRing
from ops.apps.passing import CallerPasses, PassedCaller

KEPT = 500  # frames, ten seconds: while the model is away
PRE_ROLL = 50  # frames kept while no turn is open: the model may tell late that the caller speaks
LEAST = 30  # frames before speech is noticed that belong to it, at least
TAIL = 15  # frames kept of a turn that is over: fewer than the silence that ended it
TURN = 500  # frames of one turn; of a longer one the last are kept
LOOK = 5  # every so many frames it is looked whether there is sound: the audio path has better things to do
REST = 15  # looks in a row, 1.5 s, that found none: by now the end of a turn must have been noticed
VOICE = 5  # looks in a row, half a second, that found sound: by now speech must have been noticed
HELLO = 3  # looks that found sound while the model was away: that may have been a word
PAUSE = 5  # looks in a row, half a second, that found none behind it: who said it waits for an answer
_QUIET = bytes(code for code in range(256) if code & 0x7F >= 0x50)  # mu-law below about -39 dBFS


class CallerAudio:
    """Base64 frames of 20 ms each, in order."""

    def __init__(self) -> None:
        self._away: list[str] = []
        self._turn = FrameRing(PRE_ROLL)
        self._sent = 0  # frames, ever: the number of the next one
        self._begins: dict[
            str, int
        ] = {}  # items whose words are not known, and the frame with which each begins
        self._ended = 0  # the frame with which the last turn ended
        self.turn_open = False
        self.speaking = False  # the end of the open turn has not been noticed
        self.overflowed = False
        self._quiet = 0  # looks in a row
        self._loud = 0
        self._kept = 0  # frames since the model is away

    def keep(self, payload: str) -> bool:
        """A frame that no session could take; whether the caller has just fallen silent behind words."""
        if not self._away:
            self._quiet = self._loud = self._kept = 0
        self._away.append(payload)
        if len(self._away) > KEPT:
            del self._away[0]
        self._kept += 1
        if self._kept % LOOK:
            return False
        sounds = _sounds(payload)
        self._loud += sounds
        self._quiet = 0 if sounds else self._quiet + 1
        return self._loud >= HELLO and self._quiet == PAUSE

    def sent(self, payload: str) -> bool:
        """A frame that the present session got; whether it is one to be looked at."""
        self._turn.add(payload)
        self._sent += 1
        if self._sent % LOOK:
            return False
        ring = self._turn
        if self.turn_open and ring.room - ring.taken < LOOK:  # no room until the next look
            if ring.room == TURN:
                self.overflowed = True
            else:
                self._turn = ring.moved(ring.taken, min(2 * ring.room, TURN))
        return True

    def passing(self, *, listens: bool, most: int) -> CallerPasses:
        """How frames may be sent without this, so many at most; `listens` that speech must be noticed."""
        if self.turn_open:  # but not the one of the first look behind which there is no room until the next
            first = max(1, self._turn.room - self._turn.taken - LOOK + 1)
            most = min(most, first + -(self._sent + first) % LOOK - 1)
        return CallerPasses(
            self._sent, *self._turn.passing, most, self.speaking, listens, self._quiet, self._loud,
            look=LOOK, rest=REST, voice=VOICE,
        )  # fmt: skip

    def passed(self, what: PassedCaller) -> None:
        """Frames were sent meanwhile."""
        self._turn.passed(what.count)
        self._sent += what.count
        self._quiet, self._loud = what.quiet, what.loud

    def last(self, count: int) -> list[str]:
        """So many of the last frames that were sent; at most `PRE_ROLL` are always kept."""
        return self._turn.last(count)

    def open_turn(self, before: int, item_id: str = "") -> None:
        """The caller speaks, since `before` frames ago: from there on, every frame may be needed again."""
        begins = max(self._sent - max(before, LEAST), self._ended)
        if not self.turn_open:
            self.turn_open, self.overflowed = True, False
            self._begins.clear()
            self._turn = self._turn.moved(self._sent - begins, 2 * PRE_ROLL)
        self._begins.setdefault(item_id, begins)
        self.speaking, self._quiet = True, 0

    def rest(self, payload: str) -> bool:
        """Whether, with this look, the caller has just been quiet for so long that the turn is over."""
        self._quiet = 0 if _sounds(payload) else self._quiet + 1
        return self._quiet == REST

    def voiced(self, payload: str) -> bool:
        """Whether, with this look, there has been sound for so long that speech must have been noticed."""
        self._loud = self._loud + 1 if _sounds(payload) else 0
        return self._loud == VOICE

    def end_turn(self, before: int) -> None:
        """The model has noticed the turn's end, `before` frames ago."""
        self.speaking, self._ended = False, self._sent - max(before, 0) - TAIL

    def known(self, item_id: str) -> None:
        """The words of an item are known: no frame before the next one's is needed again."""
        if item_id not in self._begins:
            return
        items = list(self._begins)
        later = items[items.index(item_id) + 1 :]
        if not later:
            self.close_turn()
            return
        self._begins = {item: self._begins[item] for item in later}
        frames = self._sent - self._begins[later[0]]
        self.overflowed = frames > self._turn.held
        self._turn = self._turn.moved(frames, self._turn.room)

    def close_turn(self) -> None:
        """The turn is answered, or its words are known."""
        self.turn_open = self.speaking = False
        self._begins.clear()
        self._turn = self._turn.moved(TAIL, PRE_ROLL)

    @property
    def noticed(self) -> bool:
        """Whether a turn is open of which a session has said that it is one."""
        return self.turn_open and any(self._begins)

    @property
    def unnoticed(self) -> bool:
        """Whether there was sound that no session has said anything of: words, or noise."""
        return not self.noticed and (self.turn_open or (self._loud >= HELLO and bool(self._away)))

    def take(self, *, speaking: bool) -> list[str]:
        """What a new session must hear: the open turn, and what came meanwhile.

        With no turn open, the last moments of the session before: the caller may have begun to speak in them,
        and it was lost before it said so.
        """
        frames = [*self._turn.last(TURN), *self._away]
        self.speaking = speaking
        self._away = []
        self._quiet = self._loud = 0
        self._turn = FrameRing(self._turn.room)
        self._begins.clear()
        return frames


def _sounds(payload: str) -> bool:
    """Whether anything in a frame is louder than about -39 dBFS; garbage is not."""
    try:
        return bool(base64.b64decode(payload).translate(None, _QUIET))
    except (binascii.Error, ValueError):
        return False
