cimport cython

from aiorest_ws._speedups cimport flow_c as flow
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


cdef class Connection(flow.Flow):
    cdef public bint _observes
    cdef public bint _logs_replies
    cdef public _Meters _meters
    cdef public _Pipeline _pipeline
    cdef public _SpareTasks _spare_tasks
    cdef public double _request_timeout
    cdef public object _rate
    cdef public bint _stopping
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
    cdef public dict _tasks

    cdef int _arrived(self, bytes data) except -1
    cdef int _serve_request(self, _Request request) except -1
    cdef bint _start(self, _Request request) except -1
    cdef object _first_step(self, _Request request, object pending, object context, _Lookout lookout)
    @cython.locals(spare_tasks=_SpareTasks, spare=_SpareTask)
    cdef bint _begin(self, _Request request, object pending) except -1
    cdef _keep(self, object task, _Request request)
    cdef _end(self, _Request request)
    cpdef _answer_with(self, _Request request, object exc)
    cpdef _time_out(self, _Request request, object task)
    cpdef _finish(self, _Request request, bytes rendered)
    cdef _next(self)
    cdef _give(self, _Request request, bytes rendered)
    cdef _reply(self, _Request request, bytes rendered)
    @cython.locals(seconds=double)
    cdef _observe(self, _Request request, Py_ssize_t size)
