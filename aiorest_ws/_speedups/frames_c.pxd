from cpython.object cimport PyObject

from aiorest_ws._speedups.deflate_c cimport Packer, Unpacker
from aiorest_ws._speedups.wrappers_c cimport Request


cdef class Frames:
    cdef public int state
    cdef public int _held
    cdef public bint _fast
    cdef public bint _serves_pings
    cdef public bint _checks_utf8
    cdef public bint inside_message
    cdef public bint _reads_requests
    cdef public bint _gathers
    cdef public bint _heard
    cdef public int _max_fragments
    cdef public Py_ssize_t _limit
    cdef public object _transport
    cdef public int _socket
    cdef public object autoPingTimeoutCall
    cdef public unsigned long long _fast_frames
    cdef public unsigned long long _unusual_frames
    cdef public unsigned long long _messages
    cdef public unsigned long long _octets
    cdef public unsigned long long _octets_on_wire
    cdef public unsigned long long _octets_on_wire_out
    cdef public unsigned long long _octets_out
    cdef public unsigned long long _frames_out
    cdef public unsigned long long _fragments_in
    cdef public long long _saved
    cdef public long long _saved_out
    cdef public Unpacker _unpacker
    cdef public Packer _packer
    cdef public Py_ssize_t _packs_from

    cdef bint _feeding
    cdef int served
    cdef int fragments
    cdef int expects
    cdef bytes data          # what has arrived and is not consumed: data[at:]
    cdef Py_ssize_t at
    cdef unsigned long long left
    cdef unsigned char head[14]
    cdef int head_size
    cdef PyObject* part      # bytes object that nobody else knows, part_size of part_room bytes are filled; or NULL
    cdef Py_ssize_t part_size
    cdef Py_ssize_t part_room
    cdef unsigned char mask[4]
    cdef int opcode
    cdef bint part_is_text
    cdef unsigned int utf8
    cdef Py_ssize_t utf8_start
    cdef bint unpacks        # inside of a compressed message
    cdef bint ends           # with this frame
    cdef bytearray unpacked  # what has come of it, None while that is nothing
    cdef PyObject* out       # bytes object, out_size of out_room bytes are filled; or NULL. Full it may be others', too
    cdef Py_ssize_t out_size
    cdef Py_ssize_t out_room
    cdef bint is_shared      # somebody has asked for the transport since the connection is open, and may write to it
    cdef bint is_clear       # nobody has, and it has nothing to write

    cdef int _serve_request(self, Request request) except -1
    cdef int _take_in(self, bytes data) except -1
    cdef int _take_bytes(self, bytes payload, bint is_binary) except -1
    cpdef _resume(self)
    cdef int _flush_out(self) except -1
    cdef bint has_room(self) except -1
    cdef int _put(self, bytes payload, int opcode) except -1
    cdef int _put_base64(self, bytes payload, int opcode) except -1
    cdef int _put_frames(self, bytes frames, unsigned long long octets, int count, Py_ssize_t saved) except -1
    cdef int make_room(self, Py_ssize_t need) except -1
    cdef unsigned char* reserve(self, Py_ssize_t size, int opcode) except NULL

    cdef int take(self, const unsigned char* payload, Py_ssize_t size, bint is_binary) except -1

    cdef int serve(self) except -1
    cdef bint may_go_on(self) noexcept
    cdef int step(self) except -1
    cdef int begin_frame(self) except -1
    cdef int frame(self, int opcode, const unsigned char* masked, Py_ssize_t size, const unsigned char* mask) except -1
    cdef int begin_part(self, int opcode, const unsigned char* mask, unsigned long long size) except -1
    cdef int add_part(self, const unsigned char* piece, Py_ssize_t size) except -1
    cdef int resize_part(self, Py_ssize_t room) except -1
    cdef Py_ssize_t check_utf8(self, const unsigned char* payload, Py_ssize_t size) noexcept
    cdef int drop_part(self) except -1
    cdef bint is_packed(self, int first, int second) noexcept
    cdef int begin_packed(self) except -1
    cdef int add_packed(self, const unsigned char* masked, Py_ssize_t size) except -1
    cdef bytes unpack(self, bytes piece, bint ends)
    cdef int put_packed(self, bytes message, int opcode) except -1
    cdef int begin_unusual(self) except -1
    cdef int unusual_header(self) except -1
    cdef int write_raw(self, const unsigned char* payload, Py_ssize_t size, int opcode) except -1


cpdef bytes header(int first, Py_ssize_t size)
