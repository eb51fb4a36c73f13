# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The way of a frame that only goes on, compiled: from one socket's parser to the other socket, without Python.

Nearly all frames of a call are such. `Lane` carries them while the session sleeps, and remembers what the session must
know of them; `ops.apps.passing` says what that is. Whatever is not exactly such a frame is not taken, and goes to Python
as it came: the lane refuses nothing, and decides nothing. `tests/apps/test_lane.py` holds it to what Python does.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport uint8_t
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcmp, memcpy, memset, strlen
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport

from ops.apps.passing import Passed, PassedAnswer, PassedCaller

# What belongs to one call alone has left the processor's caches since its last frame, 20 ms ago. Asked for before a
# message is read, it is there again when the message has been.
cdef extern from *:
    """
    #define fetch_ahead(at) __builtin_prefetch((const void*)(at))
    """
    void fetch_ahead(void* at) noexcept nogil

cdef enum:
    MARKS = 32
    LARGEST = 4096  # bytes of a frame's audio; a larger one goes the long way
    AROUND = 900  # bytes of a message around its audio, or around the name of a mark
    HEADROOM = 16  # bytes before a message, in which picows writes the frame's head

cdef uint8_t PLAIN = 1  # may stand in a JSON text as it is, and is ASCII
cdef uint8_t LETTER = 2  # of base64
cdef uint8_t classes[256]
cdef uint8_t sextets[256]
cdef char buffer[HEADROOM + 2 * 1024 + LARGEST]  # a frame of audio, and of a mark behind it


cdef void _prepare() noexcept:
    cdef int code
    cdef bytes letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    memset(classes, 0, 256)
    memset(sextets, 0, 256)
    for code in range(0x20, 0x7F):
        if code != c'"' and code != c"\\":
            classes[code] = PLAIN
    for code in range(64):
        classes[letters[code]] |= LETTER
        sextets[letters[code]] = code


_prepare()


# Just so much of JSON as such frames have: objects in objects, plain texts, whole numbers. Everything else is not taken.

cdef struct Text:
    const char* at
    Py_ssize_t size


cdef struct Member:
    const char* name
    Py_ssize_t length
    int within  # the number of the member whose object this one is in; -1: of the whole
    bint is_object
    bint is_sound
    bint seen
    Text value


cdef inline const char* _blank(const char* at, const char* end) noexcept nogil:
    while at < end and (at[0] == c" " or at[0] == c"\n" or at[0] == c"\r" or at[0] == c"\t"):
        at += 1
    return at


cdef inline const char* _text(const char* at, const char* end, Text* text) noexcept nogil:
    """Behind a text's second quote; NULL: not a plain one."""
    if at >= end or at[0] != c'"':
        return NULL
    at += 1
    text.at = at
    while at < end and classes[<uint8_t>at[0]]:
        at += 1
    if at >= end or at[0] != c'"':
        return NULL
    text.size = at - text.at
    return at + 1


cdef inline bint _is_base64(Text text) noexcept nogil:
    """Whole base64, with its padding: so that it can be decoded, and stand inside JSON of ours."""
    cdef Py_ssize_t size = text.size, at
    cdef uint8_t every = LETTER
    if size == 0 or size > LARGEST or size % 4:
        return False
    if text.at[size - 1] == c"=":
        size -= 2 if text.at[size - 2] == c"=" else 1
    for at in range(size):
        every &= classes[<uint8_t>text.at[at]]
    return every != 0


cdef inline const char* _sound(const char* at, const char* end, Text* text) noexcept nogil:
    """Behind a text of base64, which is most of a message: its end is looked for at once; NULL: not such a one."""
    if at >= end or at[0] != c'"':
        return NULL
    text.at = at + 1
    at = <const char*>memchr(text.at, c'"', end - text.at)
    if at == NULL:
        return NULL
    text.size = at - text.at
    return at + 1 if _is_base64(text[0]) else NULL


cdef inline const char* _number(const char* at, const char* end) noexcept nogil:
    cdef const char* begin = at
    while at < end and c"0" <= at[0] <= c"9":
        at += 1
    if at == begin or (begin[0] == c"0" and at - begin > 1):
        return NULL
    return at


cdef const char* _object(const char* at, const char* end, Member* members, int count, int within) noexcept nogil:
    """Behind an object; NULL: not such a one. Fills in the members that are known."""
    cdef Text name, value
    cdef int number, known
    if at >= end or at[0] != c"{":
        return NULL
    at = _blank(at + 1, end)
    while True:
        at = _text(at, end, &name)
        if at == NULL:
            return NULL
        at = _blank(at, end)
        if at >= end or at[0] != c":":
            return NULL
        at = _blank(at + 1, end)
        known = -1
        for number in range(count):
            if (members[number].within == within and members[number].length == name.size
                    and memcmp(members[number].name, name.at, name.size) == 0):
                known = number
                break
        if known >= 0:
            if members[known].seen:
                return NULL
            members[known].seen = True
            if members[known].is_object:
                at = _object(at, end, members, count, known)
            elif members[known].is_sound:
                at = _sound(at, end, &members[known].value)
            else:
                at = _text(at, end, &members[known].value)
        elif at < end and at[0] == c'"':
            at = _text(at, end, &value)
        else:
            at = _number(at, end)
        if at == NULL:
            return NULL
        at = _blank(at, end)
        if at >= end:
            return NULL
        if at[0] == c"}":
            return at + 1
        if at[0] != c",":
            return NULL
        at = _blank(at + 1, end)


cdef inline bint _whole(const char* message, Py_ssize_t size, Member* members, int count) noexcept nogil:
    cdef const char* end = message + size
    cdef const char* at = _object(_blank(message, end), end, members, count, -1)
    return at != NULL and _blank(at, end) == end


cdef inline Member _member(const char* name, int within=-1, bint is_object=False, bint is_sound=False) noexcept nogil:
    cdef Member member
    member.name, member.length, member.within = name, strlen(name), within
    member.is_object, member.is_sound, member.seen = is_object, is_sound, False
    return member


cdef inline bint _is(Text text, const char* word, Py_ssize_t size) noexcept nogil:
    return text.size == size and memcmp(text.at, word, size) == 0


cdef inline bint _is_time(Text text) noexcept nogil:
    cdef Py_ssize_t at
    if text.size == 0 or text.size > 9 or (text.size > 1 and text.at[0] == c"0"):
        return False
    for at in range(text.size):
        if not c"0" <= text.at[at] <= c"9":
            return False
    return True


cdef inline double _milliseconds(Text text) noexcept nogil:
    """The duration of base64 of mu-law at 8 kHz."""
    cdef Py_ssize_t size = text.size * 3 // 4
    if text.at[text.size - 1] == c"=":
        size -= 2 if text.at[text.size - 2] == c"=" else 1
    return size / 8.0


cdef inline bint _sounds(Text text) noexcept nogil:
    """Whether anything in it is louder than about -39 dBFS."""
    cdef Py_ssize_t at, whole = text.size - 4 if text.at[text.size - 1] == c"=" else text.size
    cdef uint8_t a, b, c, d
    for at in range(0, text.size, 4):
        a, b = sextets[<uint8_t>text.at[at]], sextets[<uint8_t>text.at[at + 1]]
        c, d = sextets[<uint8_t>text.at[at + 2]], sextets[<uint8_t>text.at[at + 3]]
        if ((a << 2 | b >> 4) & 0x7F) < 0x50:
            return True
        if (at < whole or text.at[at + 2] != c"=") and ((b << 4 | c >> 2) & 0x7F) < 0x50:
            return True
        if at < whole and ((c << 6 | d) & 0x7F) < 0x50:
            return True
    return False


cdef inline double _now() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec + time.tv_nsec * 1e-9


cdef class Lane:
    """Frames of one call between two open sockets, while the session sleeps: from `start` to `stop`."""

    cdef WSTransport _phone
    cdef WSTransport _model
    cdef Listener _phone_end, _model_end
    cdef bytes _append_head, _append_tail, _media_head, _media_tail, _mark_head, _mark_tail
    cdef bytes _kind_name, _kind, _response_name, _item_name, _payload_name
    cdef bint _caller, _agent  # which ways are open
    # the caller's frames
    cdef double _frame_at
    cdef long _sent
    cdef int _look, _rest, _voice, _quiet, _loud
    cdef bint _speaking, _listens
    cdef bytearray _ring
    cdef Py_ssize_t _at, _place
    cdef long _frames, _most  # since the session was last told, and from then on
    # the answer that is being said
    cdef bytes _response_id, _item_id
    cdef long _index
    cdef double _ends_at, _lead, _audible, _mark_every, _said, _marked, _heard, _heard_at, _piece_at
    cdef double _marks[MARKS]
    cdef int _first, _out

    def __cinit__(self, Listener phone_end, WSTransport phone, Listener model_end, WSTransport model, piece,
                  str append, str media, str mark):
        """`append`, `media` and `mark` are the messages around a NUL; `piece` names what a piece of an answer has."""
        self._phone_end, self._phone = phone_end, phone
        self._model_end, self._model = model_end, model
        self._append_head, self._append_tail = map(_shared, _around(append))
        self._media_head, tail = _around(media)
        self._media_tail = _shared(tail)
        self._mark_head, tail = _around(mark)
        self._mark_tail = _shared(tail)
        self._kind_name, self._kind = _shared(piece.kind_name.encode()), _shared(piece.kind.encode())
        self._response_name = _shared(piece.response_name.encode())
        self._item_name = _shared(piece.item_name.encode())
        self._payload_name = _shared(piece.payload_name.encode())
        if max(map(len, (append, media, mark))) > AROUND:
            raise ValueError(f"expected messages of at most {AROUND} letters around their audio")
        if phone.is_client_side:
            raise ValueError("expected a phone's socket, which is on the server's side, got a client's")

    def start(self, caller, answer):
        """Frames pass from now on: of the caller, of the agent's answer, as far as each is given."""
        self._caller = self._agent = False
        if caller is not None:
            self._ring, self._at, self._place = caller.ring, caller.at, caller.place
            if not (self._place > 0 and 0 <= self._at <= len(self._ring) - self._place):
                raise ValueError("expected a place within the ring")
            self._sent, self._speaking, self._listens = caller.sent, caller.speaking, caller.listens
            self._quiet, self._loud = caller.quiet, caller.loud
            self._look, self._rest, self._voice = caller.look, caller.rest, caller.voice
            self._frames, self._most = 0, caller.most
            self._caller = True
        if answer is not None and len(answer.marks) < MARKS:
            self._response_id, self._item_id = answer.response_id.encode(), answer.item_id.encode()
            self._index, self._ends_at, self._lead = answer.index, answer.ends_at, answer.lead
            self._audible, self._mark_every = answer.audible, answer.mark_every
            self._said, self._marked = answer.sent, answer.marked
            self._heard, self._heard_at = answer.heard, answer.heard_at
            self._first, self._out, self._piece_at = 0, len(answer.marks), 0.0
            for number, at in enumerate(answer.marks):
                self._marks[number] = at
            self._agent = True

    def stop(self):
        """Nothing passes any more: what has, for the session; None when nothing was open."""
        told = self.tell()
        self._caller = self._agent = False
        self._ring = None
        return told

    def tell(self):
        """What has passed since the start, or since this was last asked, while more goes on passing; None likewise."""
        if not (self._caller or self._agent):
            return None
        caller = answer = None
        cdef int number
        if self._caller:
            caller = PassedCaller(self._frames, self._frame_at, self._quiet, self._loud)
            self._most -= self._frames
            self._frames = 0
        if self._agent:
            marks = [self._marks[(self._first + number) % MARKS] for number in range(self._out)]
            answer = PassedAnswer(self._piece_at, self._ends_at, self._said, self._marked, self._heard, self._heard_at,
                                  marks)
            self._piece_at = 0.0
        return Passed(caller, answer)

    # For tests, which have no socket to offer from, and a clock of their own.

    def offer_from_phone(self, bytes message, double now):
        """Whether a message of the phone's passed."""
        return self.from_phone(message, len(message), now)

    def offer_from_model(self, bytes message, double now):
        """Whether a message of the model's passed."""
        return self.from_model(message, len(message), now)

    cdef bint from_phone(self, const char* message, Py_ssize_t size, double now) except -1:
        cdef Member members[6]
        fetch_ahead(&self._sent)
        fetch_ahead(&self._at)
        fetch_ahead(<void*>self._ring)
        fetch_ahead(<void*>self._model)
        members[0] = _member(b"event")
        members[1] = _member(b"media", -1, True)
        members[2] = _member(b"payload", 1, False, True)
        members[3] = _member(b"timestamp", 1)
        members[4] = _member(b"mark", -1, True)
        members[5] = _member(b"name", 4)
        if not (self._caller or self._agent) or not _whole(message, size, members, 6) or not members[0].seen:
            return False
        if members[4].seen:
            return (members[5].seen and _is(members[0].value, b"mark", 4)
                    and self._came_back(members[5].value, now))
        if not (members[2].seen and members[3].seen and _is(members[0].value, b"media", 5)):
            return False
        if not _is_time(members[3].value):
            return False
        return self._from_caller(members[2].value, now)

    cdef bint _from_caller(self, Text payload, double now) except -1:
        cdef int quiet = self._quiet, loud = self._loud
        cdef char* end
        if not self._caller or self._frames >= self._most or payload.size != self._place or self._model_end.strained:
            return False
        if (self._sent + 1) % self._look == 0:
            if self._speaking:
                quiet = 0 if _sounds(payload) else quiet + 1
                if quiet == self._rest:
                    return False
            elif self._listens:
                loud = loud + 1 if _sounds(payload) else 0
                if loud == self._voice:
                    return False
        self._quiet, self._loud, self._frame_at = quiet, loud, now
        self._sent += 1
        memcpy(PyByteArray_AS_STRING(self._ring) + self._at, payload.at, self._place)
        self._at += self._place
        if self._at + self._place > len(self._ring):
            self._at = 0
        self._frames += 1
        end = _message(buffer + HEADROOM, self._append_head, payload.at, payload.size, self._append_tail)
        self._model.send_reuse_external_buffer(WSMsgType.TEXT, buffer + HEADROOM, end - buffer - HEADROOM)
        return True

    cdef bint _came_back(self, Text name, double now) except -1:
        cdef char expected[64]
        cdef int size
        if not self._agent or not self._out:
            return False
        size = snprintf(expected, 64, b"%ld:%g", self._index, self._marks[self._first])
        if not _is(name, expected, size):
            return False
        self._heard, self._heard_at = self._marks[self._first], now
        self._first = (self._first + 1) % MARKS
        self._out -= 1
        return True

    cdef bint from_model(self, const char* message, Py_ssize_t size, double now) except -1:
        cdef Member members[4]
        cdef Text payload
        cdef double duration, said
        cdef char name[64]
        cdef int length
        cdef char* end
        if not self._agent or self._phone_end.strained:
            return False
        fetch_ahead(<void*>self._response_id)
        fetch_ahead(<void*>self._item_id)
        fetch_ahead(<void*>self._media_head)
        fetch_ahead(<char*><void*>self._media_head + 64)
        fetch_ahead(<void*>self._phone)
        fetch_ahead(&self._ends_at)
        fetch_ahead(&self._heard_at)
        members[0] = _member(self._kind_name)
        members[1] = _member(self._response_name)
        members[2] = _member(self._item_name)
        members[3] = _member(self._payload_name, -1, False, True)
        if not _whole(message, size, members, 4) or not members[0].seen or not members[1].seen:
            return False
        if not members[2].seen or not members[3].seen:
            return False
        if not (_is(members[0].value, self._kind, len(self._kind))
                and _is(members[1].value, self._response_id, len(self._response_id))
                and _is(members[2].value, self._item_id, len(self._item_id))):
            return False
        if not now - self._audible < self._ends_at < now + self._lead:
            return False
        payload = members[3].value
        duration = _milliseconds(payload)
        said = self._said + duration
        marked = said - self._marked >= self._mark_every
        if marked and self._out == MARKS:
            return False
        self._said, self._piece_at = said, now
        self._ends_at = (self._ends_at if self._ends_at > now else now) + duration / 1000
        end = _frame(buffer, self._media_head, payload.at, payload.size, self._media_tail)
        if marked:
            self._marks[(self._first + self._out) % MARKS] = said
            self._out += 1
            self._marked = said
            length = snprintf(name, 64, b"%ld:%g", self._index, said)
            end = _frame(end, self._mark_head, name, length, self._mark_tail)
        if not (self._phone.is_close_frame_sent or self._phone.is_disconnected):
            self._phone._fast_write(buffer, end - buffer)
        return True


cdef inline char* _message(char* at, bytes head, const char* middle, Py_ssize_t size, bytes tail) noexcept:
    """Writes a message; behind it."""
    cdef Py_ssize_t heading = len(head), trailing = len(tail)
    memcpy(at, <const char*>head, heading)
    memcpy(at + heading, middle, size)
    memcpy(at + heading + size, <const char*>tail, trailing)
    return at + heading + size + trailing


cdef inline char* _frame(char* at, bytes head, const char* middle, Py_ssize_t size, bytes tail) noexcept:
    """Writes a message as a server's frame, unmasked (RFC 6455, 5.2); behind it. Two such go in one piece: a mark
    costs no system call of its own."""
    cdef Py_ssize_t whole = len(head) + size + len(tail)
    at[0] = <char>0x81  # whole, and text
    if whole < 126:
        at[1] = <char>whole
        return _message(at + 2, head, middle, size, tail)
    at[1], at[2], at[3] = 126, <char>(whole >> 8), <char>(whole & 0xFF)
    return _message(at + 4, head, middle, size, tail)


cdef class Listener(WSListener):
    """A socket's ear: a whole text goes to the lane first, what it does not take, and all else, to `on_frame`."""

    cdef public Lane lane  # None: there is none
    cdef public bint hears_phone  # this socket is the phone's, not the model's
    cdef public bint whole  # no fragmented message is under way
    cdef public bint strained

    def __cinit__(self, *_, **__):
        self.whole = True

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if (self.lane is not None and frame.msg_type == WSMsgType.TEXT and frame.fin and self.whole
                and not (frame.rsv1 or frame.rsv2 or frame.rsv3) and not transport.is_close_frame_sent):
            if self.hears_phone:
                if self.lane.from_phone(frame.payload_ptr, frame.payload_size, _now()):
                    return
            elif self.lane.from_model(frame.payload_ptr, frame.payload_size, _now()):
                return
        self.on_frame(transport, frame)


cdef dict _words = {}


def _shared(bytes word):
    """A word that all lanes have, the same one for all: it stays in the caches."""
    return _words.setdefault(word, word)


def _around(str message):
    head, nul, tail = message.encode("ascii").partition(b"\0")
    if not nul:
        raise ValueError("expected a message around a NUL, got one without")
    return head, tail
