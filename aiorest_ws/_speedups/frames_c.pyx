# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Compiled twin of `frames.py` and `writing.py`: the same reader and writer on raw memory.

Bounds: `data`, of PyBytes_GET_SIZE(data) bytes, is read from `at` on, and never before `have = size - at` was compared with what is
read. A step holds its own reference to `data`: a handler may make more arrive, and `self.data` another object, at any call.
PERF: a small frame is read in 0.15 us, against 2.6 pure (bench_frames).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF, Py_XINCREF
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from pybase64 import b64encode

from aiorest_ws._speedups.base64_c cimport encode_small
from aiorest_ws._speedups.deflate_c cimport Packer, Unpacker
from aiorest_ws._speedups.envelope_c cimport read, read_raw
from aiorest_ws._speedups.wrappers_c cimport Request

__all__ = ("CLOSED", "CLOSING", "CONNECTING", "OPEN", "Frames", "header")

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    int _PyBytes_Resize(PyObject** bytes, Py_ssize_t newsize) except -1
    PyObject* NewBytes "PyBytes_FromStringAndSize"(const char* v, Py_ssize_t size) except NULL
    char* BytesData "PyBytes_AS_STRING"(PyObject* o)
    Py_ssize_t BytesSize "PyBytes_GET_SIZE"(PyObject* o)
    Py_ssize_t Py_REFCNT(PyObject* o)

cdef extern from *:
    """
    #ifdef _WIN32
    static Py_ssize_t send_now(int fd, const char *data, Py_ssize_t size) { return -1; }
    #else
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0 /* macOS: there it takes a CPython that ignores SIGPIPE, as it does unless told otherwise */
    #endif
    static Py_ssize_t send_now(int fd, const char *data, Py_ssize_t size) {
        return send(fd, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    #endif
    """
    Py_ssize_t send_now(int fd, const char* data, Py_ssize_t size) nogil

CLOSED, CONNECTING, CLOSING, OPEN = range(4)

cdef enum:
    IS_CLOSED = 0
    IS_CONNECTING = 1
    IS_CLOSING = 2
    IS_OPEN = 3

cdef enum:
    HEADER = 0
    PART = 1
    SKIP = 2
    UNUSUAL_HEADER = 3
    UNUSUAL = 4
    PACKED = 5

cdef enum:
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    PING = 9
    PONG = 10
    COMPRESSED = 0x40    # RSV1 (RFC 7692 §6)

cdef enum:
    FLUSH_AT = 65536
    SLICE = 256          # frames that are served before others get their turn
    AS_SLOW_AS = 8       # frames: one that is not served here
    AS_LARGE_AS = 1024   # bytes that are inflated: a frame
    SMALL = 512          # messages up to here are unmasked on the stack and never become an object by themselves
    FIRST_PART = 4096
    FIRST_OUT = 512
    SMALL_BASE64 = 4096  # longer ones are worth a call of pybase64


cdef class Frames:
    """The frame layer of one connection; see `frames.py`."""

    def __cinit__(self):
        self.state = IS_CONNECTING
        self._fast = True
        self._serves_pings = True
        self._reads_requests = True
        self._checks_utf8 = True
        self.expects = HEADER
        self.data = b""
        self._socket = -1
        self._packs_from = PY_SSIZE_T_MAX

    def __dealloc__(self):
        Py_XDECREF(self.part)
        Py_XDECREF(self.out)

    @property
    def transport(self):
        """The transport. Whoever asks for it may write to it or close it: what is gathered goes first."""
        if self.out is not NULL:
            self._flush_out()
        if self.state >= IS_CLOSING:
            self.is_shared = True  # who has it may keep it
            self.is_clear = False
        return self._transport

    @transport.setter
    def transport(self, transport):
        self._transport = transport
        self._socket = -1
        self.is_shared = self.is_clear = False

    # What the subclass does

    def _receive(self, request):
        """Take a request."""

    cdef int _serve_request(self, Request request) except -1:
        self._receive(request)
        return 0

    def _on_message(self, payload, is_binary):
        """Take a message, where requests are not read here."""

    def _on_pong(self, payload):
        """Take a pong."""

    def _on_traffic(self):
        """Take note that a message came while a pong is waited for."""

    def _on_unusual_frame(self):
        """Take note that a frame begins which is not served here."""

    def _on_unusual(self, data):
        """Take the next bytes of it, header and payload."""

    def _on_invalid_utf8(self, index):
        """Take note that the text which is coming in is not UTF-8 from byte `index` on."""

    def _on_bad_message(self, wrong):
        """Take note that a compressed message is not as agreed (ValueError), or too large (OverflowError)."""

    def _on_fragments(self):
        """Take note that a message has more fragments than it may have. It must not stay open."""

    def _on_slice(self):
        """Take note that many frames were served without a pause: hold, or go on."""

    cdef int take(self, const unsigned char* payload, Py_ssize_t size, bint is_binary) except -1:
        """Serve a whole message; `payload` is valid during the call only."""
        self._messages += 1
        self._octets += <unsigned long long>size
        if self.autoPingTimeoutCall is not None:
            self._on_traffic()
        if self._reads_requests:
            self._serve_request(read_raw(payload, size, is_binary, self))
        else:
            self._on_message(PyBytes_FromStringAndSize(<const char*>payload, size), is_binary)
        return 0

    cdef int _take_bytes(self, bytes payload, bint is_binary) except -1:
        self._messages += 1
        self._octets += <unsigned long long>PyBytes_GET_SIZE(payload)
        if self.autoPingTimeoutCall is not None:
            self._on_traffic()
        if self._reads_requests:
            self._serve_request(read(payload, is_binary, self))
        else:
            self._on_message(payload, is_binary)
        return 0

    # Reading

    # PERF: a `cpdef` method looks, with every call, whether a subclass has its own; for a connection each look took 700
    # instructions, and a message made six (callgrind). So what Python code calls has a C part of its own.

    def _feed(self, bytes data):
        """Take what has arrived, and serve it as far as nothing holds it up. Replies leave before this returns."""
        self._take_in(data)

    cdef int _take_in(self, bytes data) except -1:
        cdef Py_ssize_t size = len(data)  # TypeError if None
        self._heard = True
        if self.state == IS_OPEN:
            self._octets_on_wire += <unsigned long long>size
        if self.at < PyBytes_GET_SIZE(self.data):
            data = self.data[self.at:] + data
        self.data = data
        self.at = 0
        return self.serve()

    cpdef _resume(self):
        """Go on with what has arrived, unless the transport was closed since."""
        if self._transport is not None and not self._transport.is_closing():
            self.serve()

    cdef int serve(self) except -1:
        if self._feeding:
            return 0  # a handler made this call: the loop below is under way
        self._feeding = True
        self.served = 0
        try:
            while self.at < PyBytes_GET_SIZE(self.data) and self.may_go_on() and self.step():
                if self.at < PyBytes_GET_SIZE(self.data) and (self._transport is None or self._transport.is_closing()):
                    self.at = PyBytes_GET_SIZE(self.data)  # a handler aborted it, or ran the loop until it was gone
                    self.expects = HEADER
        finally:
            self._feeding = False
            if self.state == IS_CLOSED or self.may_go_on():
                # What is left is part of a header at most: not worth keeping the whole read for.
                if self.state == IS_CLOSED or self.at >= PyBytes_GET_SIZE(self.data):
                    self.data = b""
                else:
                    self.data = self.data[self.at:]
                self.at = 0
            self._flush_out()
        return 0

    cdef bint may_go_on(self) noexcept:  # compares fields
        return self.state == IS_CLOSING or (self.state == IS_OPEN and self._held == 0)

    cdef int step(self) except -1:
        """Consume the next piece; 0 when more bytes must come first."""
        cdef bytes data
        cdef Py_ssize_t at, size
        cdef int expected = self.expects
        if expected == HEADER:
            self.served += 1
            if self.served > SLICE:
                self.served = 0
                self._on_slice()
                return 1
            return self.begin_frame()
        if expected == UNUSUAL_HEADER:
            return self.unusual_header()
        data = self.data
        at = self.at
        size = PyBytes_GET_SIZE(data) - at
        if <unsigned long long>size > self.left:
            size = <Py_ssize_t>self.left
        self.at += size
        self.left -= <unsigned long long>size
        if self.left == 0:
            self.expects = HEADER
        if expected == UNUSUAL:
            self._on_unusual(data[at:at + size])
        elif expected == PART:
            self.add_part(<const unsigned char*>PyBytes_AS_STRING(data) + at, size)
        elif expected == PACKED:
            self.add_packed(<const unsigned char*>PyBytes_AS_STRING(data) + at, size)
        return 1

    cdef int begin_frame(self) except -1:
        """Look at a header; serve the frame, or settle how its bytes are to be served."""
        cdef bytes data = self.data
        cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(data) + self.at
        cdef Py_ssize_t have = PyBytes_GET_SIZE(data) - self.at
        cdef int opcode, header = 6, i
        cdef bint usual
        cdef unsigned long long length
        if have < 2:
            return 0
        opcode = p[0] & 0x0F
        usual = self._fast and (p[0] & 0xF0) == 0x80 and (p[1] & 0x80) != 0
        length = p[1] & 0x7F
        if self.state == IS_CLOSING and opcode <= BINARY:
            usual = (p[1] & 0x80) != 0  # whatever it is a part of, it is skipped
        elif opcode == TEXT or opcode == BINARY:
            usual = usual and not self.inside_message
        else:
            usual = usual and (opcode == PING or opcode == PONG) and self._serves_pings and length < 126
        if not usual:
            return self.begin_packed() if self.is_packed(p[0], p[1]) else self.begin_unusual()
        if length >= 126:
            header = 8 if length == 126 else 14
            if have < header - 4:
                return 0
            length = 0
            for i in range(2, header - 4):
                length = (length << 8) | p[i]
            if length < (126 if header == 8 else 65536) or length >> 63:
                return self.begin_unusual()
        if opcode < 8 and self.state == IS_OPEN and 0 < self._limit and <unsigned long long>self._limit < length:
            return self.begin_unusual()
        if have < header:
            return 0
        if length > <unsigned long long>(have - header):
            if opcode >= 8:
                return 0  # at most 125 bytes are waited for
            self._fast_frames += 1
            self.at += header
            return self.begin_part(opcode, p + header - 4, length)
        self._fast_frames += 1
        self.at += header + <Py_ssize_t>length
        return self.frame(opcode, p + header, <Py_ssize_t>length, p + header - 4)  # `data` is held until this returns

    cdef int frame(self, int opcode, const unsigned char* masked, Py_ssize_t size, const unsigned char* mask) except -1:
        """Serve a whole frame, of `size` bytes from `masked` on."""
        cdef unsigned char small[SMALL]
        cdef unsigned char* payload
        cdef bytes whole = None
        cdef uint64_t high
        cdef Py_ssize_t bad
        if self.state != IS_OPEN:
            return 1
        if size <= SMALL:
            payload = small
        else:
            whole = PyBytes_FromStringAndSize(NULL, size)
            payload = <unsigned char*>PyBytes_AS_STRING(whole)
        high = unmask(payload, masked, size, mask)
        if opcode == TEXT and high and self._checks_utf8:
            bad = invalid_utf8(payload, size)
            if bad >= 0:
                self._on_invalid_utf8(bad)
                return 1
        if opcode == PING:
            self.write_raw(payload, size, PONG)
        elif opcode == PONG:
            self._on_pong(PyBytes_FromStringAndSize(<const char*>payload, size))
        elif whole is None:
            self.take(payload, size, opcode == BINARY)
        else:
            self._take_bytes(whole, opcode == BINARY)
        return 1

    cdef int begin_part(self, int opcode, const unsigned char* mask, unsigned long long size) except -1:
        """Expect a message that has not arrived whole."""
        self.left = size
        if self.state != IS_OPEN:
            self.expects = SKIP
            return 1
        self.expects = PART
        self.opcode = opcode
        memcpy(self.mask, mask, 4)
        self.part_is_text = opcode == TEXT and self._checks_utf8
        self.utf8 = 0
        self.utf8_start = 0
        return 1

    cdef int add_part(self, const unsigned char* piece, Py_ssize_t size) except -1:
        """Add bytes that have arrived; memory grows with them, not with the length that was declared."""
        cdef unsigned char turned[4]
        cdef unsigned char* payload
        cdef Py_ssize_t need = self.part_size + size, room, bad
        cdef uint64_t high
        cdef int i
        cdef bytes whole
        if self.state != IS_OPEN:
            return self.drop_part()
        if need > self.part_room:
            room = max(need, 2 * self.part_room, FIRST_PART)
            if <unsigned long long>room > <unsigned long long>need + self.left:
                room = need + <Py_ssize_t>self.left
            self.resize_part(room)
        for i in range(4):
            turned[i] = self.mask[(i + self.part_size) & 3]
        payload = <unsigned char*>BytesData(self.part) + self.part_size
        high = unmask(payload, piece, size, turned)
        self.part_size = need
        if self.part_is_text and (high or self.utf8):
            bad = self.check_utf8(payload, size)
            if bad >= 0:
                self.drop_part()
                self._on_invalid_utf8(bad)
                return 1
        if self.left == 0:
            if self.part_is_text and self.utf8:
                bad = self.utf8_start
                self.drop_part()
                self._on_invalid_utf8(bad)
                return 1
            whole = <bytes>self.part  # part_room == need: there was never room for more than the whole
            Py_XDECREF(self.part)  # `whole` has a reference of its own
            self.part = NULL
            self.part_size = self.part_room = 0
            self._take_bytes(whole, self.opcode == BINARY)
        return 1

    cdef int resize_part(self, Py_ssize_t room) except -1:
        """Give a message room to grow; without memory for it, the message is lost, and the rest of it skipped."""
        cdef Py_ssize_t size = self.part_size
        cdef int expects = self.expects
        self.part_size = self.part_room = 0  # on failure the object is gone and `part` NULL
        if self.left:
            self.expects = SKIP
        if self.part is NULL:
            self.part = NewBytes(NULL, room)
        else:
            _PyBytes_Resize(&self.part, room)
        self.expects = expects
        self.part_size = size
        self.part_room = room
        return 0

    cdef Py_ssize_t check_utf8(self, const unsigned char* payload, Py_ssize_t size) noexcept:  # looks at memory only
        """Go on checking; give the index in the message of the first byte of a wrong sequence, or -1."""
        cdef Py_ssize_t i, offset = self.part_size - size
        cdef unsigned int state = self.utf8
        for i in range(size):
            if state == 0:
                if payload[i] < 0x80:
                    continue
                self.utf8_start = offset + i
            state = next_utf8(state, payload[i])
            if state == INVALID:
                return self.utf8_start
        self.utf8 = state
        return -1

    cdef int drop_part(self) except -1:
        Py_XDECREF(self.part)
        self.part = NULL
        self.part_size = self.part_room = 0
        self.unpacked = None
        if self.left:
            self.expects = SKIP
        return 1

    # Compressed messages (RFC 7692)

    cdef bint is_packed(self, int first, int second) noexcept:  # compares fields
        """Tell whether these bytes begin a frame of a compressed message, without a fault."""
        cdef int opcode = first & 0x0F
        if self._unpacker is None or not self._fast or self.state != IS_OPEN or second & 0x80 == 0:
            return False
        if opcode == CONTINUATION:
            return self.unpacks and first & 0x70 == 0
        return (opcode == TEXT or opcode == BINARY) and first & 0x70 == COMPRESSED and not self.inside_message

    cdef int begin_packed(self) except -1:
        """Look at the header of such a frame; serve what has arrived of it."""
        cdef bytes data = self.data
        cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(data) + self.at
        cdef Py_ssize_t have = PyBytes_GET_SIZE(data) - self.at, limit = self._unpacker.limit  # have >= 2: begin_frame
        cdef int opcode = p[0] & 0x0F, header = 6, i
        cdef unsigned long long length = p[1] & 0x7F
        if length >= 126:
            header = 8 if length == 126 else 14
            if have < header - 4:
                return 0
            length = 0
            for i in range(2, header - 4):
                length = (length << 8) | p[i]
            if length < (126 if header == 8 else 65536) or length >> 63:
                return self.begin_unusual()
        if have < header:
            return 0
        if opcode == CONTINUATION:
            if 0 < self._max_fragments <= self.fragments:
                self._on_fragments()
                return 1  # looked at again, closing
            self.fragments += 1
        else:
            self.fragments = 1
            self.opcode = opcode
        self._fast_frames += 1
        self.ends = (p[0] & 0x80) != 0
        self.inside_message = self.unpacks = not self.ends
        memcpy(self.mask, p + header - 4, 4)
        self.at += header
        self.left = length
        if 0 < limit and <unsigned long long>(limit + (limit >> 3) + 1024) < length:  # more than DEFLATE makes of anything
            self.expects = SKIP
            self._on_bad_message(OverflowError(f"message has more than {limit} bytes"))
        elif <unsigned long long>(have - header) < length:
            self.expects = PACKED
        else:
            self.left = 0
            self.at += <Py_ssize_t>length
            self.add_packed(p + header, <Py_ssize_t>length)  # `data` is held until this returns
        return 1

    cdef int add_packed(self, const unsigned char* masked, Py_ssize_t size) except -1:
        """Inflate what has arrived of a frame; with the end of the message, serve it."""
        cdef bytes piece, message
        cdef unsigned char turned[4]
        cdef bint ends = self.ends and self.left == 0
        cdef Py_ssize_t bad
        cdef int i
        if self.state != IS_OPEN:
            return self.drop_part()
        piece = PyBytes_FromStringAndSize(NULL, size)
        unmask(<unsigned char*>PyBytes_AS_STRING(piece), masked, size, self.mask)
        for i in range(4):
            turned[i] = self.mask[(i + size) & 3]
        memcpy(self.mask, turned, 4)
        message = self.unpack(piece, ends)
        if message is None:
            return 1
        self._saved += PyBytes_GET_SIZE(message) - size
        self.served += <int>min(PyBytes_GET_SIZE(message) // AS_LARGE_AS, SLICE)
        if self.unpacked is None and not ends:
            self.unpacked = bytearray()
        if self.unpacked is not None:
            self.unpacked += message
        if not ends:
            self._fragments_in += self.left == 0
            return 1
        if self.unpacked is not None:
            message = bytes(self.unpacked)
            self.unpacked = None
        if self.opcode == TEXT and self._checks_utf8:
            bad = invalid_utf8(<const unsigned char*>PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
            if bad >= 0:
                self._on_invalid_utf8(bad)
                return 1
        self._take_bytes(message, self.opcode == BINARY)
        return 1

    cdef bytes unpack(self, bytes piece, bint ends):
        cdef object wrong = None
        cdef bytes message = None
        try:
            message = self._unpacker.unpack(piece, ends)
        except (ValueError, OverflowError) as exc:
            wrong = exc
        if message is None:
            self.drop_part()
            self._on_bad_message(wrong)
        return message

    cdef int begin_unusual(self) except -1:
        """Expect the header of a frame that the subclass serves."""
        cdef int opcode = PyBytes_AS_STRING(self.data)[self.at] & 0x0F  # begin_frame has seen two bytes
        if opcode == TEXT or opcode == BINARY:
            self.fragments = 1
        elif opcode == 0:
            self.fragments += 1
            if 0 < self._max_fragments < self.fragments and self.state == IS_OPEN:
                self._on_fragments()
                return 1  # looked at again, closing
        self._unusual_frames += 1
        self.served += AS_SLOW_AS - 1
        self._on_unusual_frame()
        self.expects = UNUSUAL_HEADER
        self.head_size = 0
        return 1

    cdef int unusual_header(self) except -1:
        """Hand over as much of the header as is there: a fault shows before it is complete."""
        cdef bytes data = self.data
        cdef Py_ssize_t at = self.at, have = PyBytes_GET_SIZE(data) - at, size, i
        cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(data) + at
        # begin_frame has seen two bytes, and this is only called with at least one more to take
        cdef int second = self.head[1] if self.head_size else p[1]
        cdef int length = second & 0x7F
        cdef int header = 2 + (0 if length < 126 else 2 if length == 126 else 8) + (4 if second & 0x80 else 0)
        size = min(have, header - self.head_size)  # header <= 14 = sizeof(head)
        memcpy(self.head + self.head_size, p, size)
        self.head_size += <int>size
        self.at += size
        if self.head_size == header:
            self.left = length
            if length >= 126:
                self.left = 0
                for i in range(2, 4 if length == 126 else 10):
                    self.left = (self.left << 8) | self.head[i]
            self.expects = UNUSUAL if self.left else HEADER
        self._on_unusual(data[at:at + size])
        return 1

    # Writing

    def _write(self, bytes payload, int opcode):
        """Send a frame: at once when nothing is being read, else with the other replies of this read."""
        self._put(payload, opcode)

    cdef int _put(self, bytes payload, int opcode) except -1:
        cdef Py_ssize_t size = len(payload)  # TypeError if None
        if size >= self._packs_from:
            return self.put_packed(payload, opcode)
        return self.write_raw(<const unsigned char*>PyBytes_AS_STRING(payload), size, opcode)

    cdef int put_packed(self, bytes message, int opcode) except -1:
        """Compress `message`, if it is one, and if that makes it smaller or changes what the next one may refer to."""
        cdef Packer packer = self._packer
        cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
        cdef bytes packed
        if packer is not None and opcode & 8 == 0:
            packed = packer.pack(message)
            if PyBytes_GET_SIZE(packed) < size or packer.takes_over:
                self._write_packed(packed, opcode, size)
                return 0
        return self.write_raw(<const unsigned char*>PyBytes_AS_STRING(message), size, opcode)

    def _write_packed(self, bytes packed, int opcode, Py_ssize_t size):
        """Send a message of `size` bytes as `_packer` has compressed it: unless it takes over, for all who have it."""
        cdef Py_ssize_t packed_size = len(packed)  # TypeError if None
        self._saved_out += size - packed_size
        self.write_raw(<const unsigned char*>PyBytes_AS_STRING(packed), packed_size, opcode | COMPRESSED)

    def _write_base64(self, bytes payload, int opcode):
        """Send a frame that holds `payload` in base64."""
        self._put_base64(payload, opcode)

    cdef int _put_base64(self, bytes payload, int opcode) except -1:
        cdef Py_ssize_t size = len(payload)
        if size > SMALL_BASE64 or (size + 2) // 3 * 4 >= self._packs_from:
            return self._put(b64encode(payload), opcode)
        encode_small(<const unsigned char*>PyBytes_AS_STRING(payload), size, self.reserve((size + 2) // 3 * 4, opcode))
        if not (self._feeding or self._gathers) or self.out_size >= FLUSH_AT:
            self._flush_out()
        return 0

    cdef int write_raw(self, const unsigned char* payload, Py_ssize_t size, int opcode) except -1:
        memcpy(self.reserve(size, opcode), payload, size)
        if not (self._feeding or self._gathers) or self.out_size >= FLUSH_AT:
            self._flush_out()
        return 0

    cdef unsigned char* reserve(self, Py_ssize_t size, int opcode) except NULL:
        """Add the header of a frame to what is gathered, and room for its payload of `size` bytes, which comes back."""
        cdef int head = room_of_header(size)
        cdef Py_ssize_t need = self.out_size + head + size
        cdef unsigned char* p
        if need > self.out_room:
            self.make_room(need)
        p = <unsigned char*>BytesData(self.out) + self.out_size
        write_header(p, 0x80 | opcode, size)
        self.out_size = need
        if opcode & 8 == 0:
            self._octets_out += <unsigned long long>size
            self._frames_out += 1
        return p + head

    cdef int make_room(self, Py_ssize_t need) except -1:
        """Have room for `need` bytes of what is gathered, in an object that nobody else has."""
        cdef Py_ssize_t size = self.out_size, room = max(need, min(2 * self.out_room, FLUSH_AT + FIRST_OUT), FIRST_OUT)
        cdef PyObject* alone
        if self.out is NULL or Py_REFCNT(self.out) > 1:
            alone = NewBytes(NULL, room)
            if self.out is not NULL:
                memcpy(BytesData(alone), BytesData(self.out), size)
                Py_XDECREF(self.out)
            self.out = alone
        else:
            self.out_room = self.out_size = 0  # on failure the object is gone and `out` NULL
            _PyBytes_Resize(&self.out, room)
            self.out_size = size
        self.out_room = room
        return 0

    cdef int _put_frames(self, bytes frames, unsigned long long octets, int count, Py_ssize_t saved) except -1:
        """Send `count` whole frames, of messages of `octets` bytes, that others are sent, too: by reference, if nothing
        is before them."""
        cdef Py_ssize_t size = len(frames)  # TypeError if None
        if self.out is not NULL and size >= FLUSH_AT:
            self._flush_out()  # what is large is not to be copied for each
        if self.out is NULL:
            self.out = <PyObject*>frames
            Py_XINCREF(self.out)
            self.out_room = size
        else:
            if self.out_size + size > self.out_room:
                self.make_room(self.out_size + size)
            memcpy(BytesData(self.out) + self.out_size, PyBytes_AS_STRING(frames), size)
        self.out_size += size
        self._octets_out += octets
        self._frames_out += <unsigned long long>count
        self._saved_out += saved
        if not (self._feeding or self._gathers) or self.out_size >= FLUSH_AT:
            self._flush_out()
        return 0

    def _gathered(self):
        """Give the bytes that are gathered, and that the transport does not know of."""
        return self.out_size

    def _flush(self):
        """Hand to the transport what has been gathered."""
        self._flush_out()

    cdef int _flush_out(self) except -1:
        cdef bytes out
        cdef PyObject* gathered = self.out
        cdef Py_ssize_t size = self.out_size, room = self.out_room, sent = 0
        if gathered is NULL:
            return 0
        self.out = NULL
        self.out_size = self.out_room = 0
        try:
            if self._transport is None or self.state == IS_CLOSED:
                return 0
            self._octets_on_wire_out += <unsigned long long>size
            # PERF: nothing is asked of a transport that only we write to: a tenth of what a delivery takes.
            if self._socket >= 0 and (self.is_clear or self.has_room()):
                # PERF: the transport would do the same, a turn later (uvloop) or in Python (asyncio): bench/peers.py, 64 x 1
                sent = max(0, send_now(self._socket, BytesData(gathered), size))
                if sent == size:
                    self.is_clear = not self.is_shared
                    return 0
            self.is_clear = False
            if sent == 0 and size == BytesSize(gathered):
                out = <bytes>gathered  # others may have it, too
            else:
                out = PyBytes_FromStringAndSize(BytesData(gathered) + sent, size - sent)
        finally:
            Py_XDECREF(gathered)
        self._transport.write(out)  # where an error of the socket, too, is told as it should be
        return 0

    cdef bint has_room(self) except -1:
        """Tell whether the transport has nothing to write, and would take more."""
        return not self._transport.is_closing() and self._transport.get_write_buffer_size() == 0


cpdef bytes header(int first, Py_ssize_t size):
    """Give the header of a frame that is not masked, of a payload of `size` bytes; see `headers.py`."""
    cdef unsigned char[10] head
    write_header(head, first, size)
    return PyBytes_FromStringAndSize(<char*>head, room_of_header(size))


cdef inline int room_of_header(Py_ssize_t size) noexcept nogil:
    """Give the bytes that `write_header` writes: 2, 4 or 10."""
    return 2 if size < 126 else 4 if size < 65536 else 10


cdef inline void write_header(unsigned char* to, int first, Py_ssize_t size) noexcept nogil:
    """Write `room_of_header(size)` bytes."""
    cdef int i
    to[0] = <unsigned char>first
    if size < 126:
        to[1] = <unsigned char>size
    elif size < 65536:
        to[1] = 126
        to[2] = <unsigned char>(size >> 8)
        to[3] = <unsigned char>(size & 0xFF)
    else:
        to[1] = 127
        for i in range(8):
            to[2 + i] = <unsigned char>((<unsigned long long>size >> (56 - 8 * i)) & 0xFF)


cdef uint64_t unmask(unsigned char* to, const unsigned char* data, Py_ssize_t size, const unsigned char* mask) noexcept nogil:
    """XOR `size` bytes with `mask`, over and over; what comes back has a bit of 0x80 in it unless all of `to` is ASCII."""
    cdef uint32_t four
    cdef uint64_t key, word, high = 0
    cdef Py_ssize_t i = 0
    memcpy(&four, mask, 4)
    key = (<uint64_t>four << 32) | four
    while i + 8 <= size:  # gcc makes SSE2 of it
        memcpy(&word, data + i, 8)
        word ^= key
        high |= word
        memcpy(to + i, &word, 8)
        i += 8
    while i < size:
        to[i] = data[i] ^ mask[i & 3]
        high |= to[i]
        i += 1
    return high & <uint64_t>0x8080808080808080


cdef enum:
    INVALID = 0xFFFFFFFF


cdef inline unsigned int next_utf8(unsigned int state, unsigned char c) noexcept nogil:
    """Step through RFC 3629 §4: 0 between characters; else bytes to come, and the bounds of the next: count << 16 | low << 8 | high."""
    if state == 0:
        if c < 0x80:
            return 0
        if c < 0xC2 or c > 0xF4:
            return INVALID
        if c < 0xE0:
            return (1 << 16) | 0x80BF
        if c < 0xF0:
            return (2 << 16) | (0xA0BF if c == 0xE0 else 0x809F if c == 0xED else 0x80BF)
        return (3 << 16) | (0x90BF if c == 0xF0 else 0x808F if c == 0xF4 else 0x80BF)
    if c < ((state >> 8) & 0xFF) or c > (state & 0xFF):
        return INVALID
    state >>= 16
    return 0 if state == 1 else ((state - 1) << 16) | 0x80BF


cdef Py_ssize_t invalid_utf8(const unsigned char* text, Py_ssize_t size) noexcept nogil:
    """Give the index of the first byte of a sequence that is wrong or incomplete, or -1."""
    cdef unsigned int state = 0
    cdef Py_ssize_t i = 0, start = 0
    cdef uint64_t word
    while i < size:
        if state == 0:
            if i + 8 <= size:
                memcpy(&word, text + i, 8)
                if not word & <uint64_t>0x8080808080808080:
                    i += 8
                    continue
            start = i
        state = next_utf8(state, text[i])
        if state == INVALID:
            return start
        i += 1
    return start if state else -1
