cimport cython

from aiorest_ws._speedups cimport frames_c as frames
from aiorest_ws._speedups cimport wrappers_c as wrappers
from aiorest_ws._speedups.wrappers_c cimport Request as _Request


cdef int _OPEN
cdef int _CLOSING
cdef int FULL
cdef int _CHOKED
cdef int _SLICED
cdef long long _DECODED


cdef class Flow(frames.Frames):
    cdef public bint _writes_replies
    cdef public object _loop
    cdef public object _context
    cdef bint _flushes_late
    cdef public int _limit_in_flight
    cdef public int _in_flight
    cdef public long long _limit_octets
    cdef long long _octets_in_flight
    cdef long long _holds_in_flight
    cdef bint _choked
    cdef bint _stalled
    cdef public double _choked_at
    cdef public object _live

    cdef _next(self)
    cdef _count(self, _Request request)
    cdef _discount(self, _Request request)
    @cython.locals(octets=cython.longlong, most=cython.longlong)
    cdef bint _is_full(self) noexcept
    cdef _flush_soon(self)
    cdef _end_turn(self)
    cpdef bint _takes_pushes(self)
    @cython.locals(opcode=int, message=bytes)
    cpdef _push(self, list rendered, int form)
    cpdef _breathe(self)
    cpdef _take_message(self, bytes payload, bint is_binary)
    cpdef _note_sent(self, unsigned long long size)
    cpdef _hold(self, int reason)
    cpdef _go_on(self, int reason)
