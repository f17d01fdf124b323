cimport cython

from aiorest_ws._speedups cimport frames_c as frames
from aiorest_ws._speedups cimport eager_c as eager
from aiorest_ws._speedups.meter_c cimport Meters as _Meters
from aiorest_ws._speedups.pipeline_c cimport Pipeline as _Pipeline
from aiorest_ws._speedups.eager_c cimport Lookout as _Lookout
from aiorest_ws._speedups.tasks_c cimport SpareTask as _SpareTask
from aiorest_ws._speedups.tasks_c cimport SpareTasks as _SpareTasks
from aiorest_ws._speedups.wrappers_c cimport Request as _Request
from cpython cimport time


cdef int _OPEN
cdef int _CLOSING
cdef int _FULL
cdef int _CHOKED
cdef int _SLICED


cdef class Connection(frames.Frames):
    cdef public bint _writes_replies
    cdef public bint _observes
    cdef public bint _logs_replies
    cdef public _Meters _meters
    cdef public _Pipeline _pipeline
    cdef public object _loop
    cdef public _SpareTasks _spare_tasks
    cdef public object _context
    cdef bint _flushes_late
    cdef public int _limit_in_flight
    cdef public int _in_flight
    cdef public long long _limit_octets
    cdef long long _octets_in_flight
    cdef long long _holds_in_flight
    cdef bint _choked
    cdef bint _stalled
    cdef public double _request_timeout
    cdef public object _rate
    cdef public bint _stopping
    cdef public double _choked_at
    cdef public unsigned long long _unsent
    cdef public long long _left
    cdef public double _left_at
    cdef public long long _acked
    cdef public double _silent_since
    cdef public bint _pinged
    cdef public double _idle_since
    cdef public unsigned long long _asked
    cdef public bint _dropped
    cdef public object _lane
    cdef public set _tasks
    cdef public object _live

    cdef int _arrived(self, bytes data) except -1
    cdef int _serve_request(self, _Request request) except -1
    cdef bint _start(self, _Request request) except -1
    cdef object _first_step(self, _Request request, object pending, object context, _Lookout lookout)
    @cython.locals(spare_tasks=_SpareTasks, spare=_SpareTask)
    cdef bint _begin(self, _Request request, object pending) except -1
    cdef _end(self, _Request request)
    cpdef _answer_with(self, _Request request, object exc)
    cpdef bint _takes_pushes(self)
    @cython.locals(opcode=int, message=bytes)
    cpdef _push(self, list rendered, int form)
    cpdef _time_out(self, _Request request, object task)
    cpdef _finish(self, _Request request, bytes rendered)
    cdef _next(self)
    cdef _flush_soon(self)
    cdef _end_turn(self)
    cdef _count(self, _Request request)
    cdef _discount(self, _Request request)
    cdef bint _is_full(self) noexcept
    cpdef _breathe(self)
    cdef _reply(self, _Request request, bytes rendered)
    @cython.locals(seconds=double)
    cdef _observe(self, _Request request, Py_ssize_t size)
    cpdef _hold(self, int reason)
    cpdef _go_on(self, int reason)
