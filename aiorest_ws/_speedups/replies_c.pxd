from aiorest_ws._speedups cimport codec_c as codec
from aiorest_ws._speedups cimport envelope_c as envelope
from aiorest_ws._speedups cimport wrappers_c as wrappers
from aiorest_ws._speedups.plan_c cimport Plan as _Plan
from aiorest_ws._speedups.wrappers_c cimport Request as _Request


cdef class Replies:
    cdef readonly bint debug
    cdef readonly object report
    cdef readonly tuple recoveries

    cdef bytes _render(self, _Request request, _Plan plan, object view, object result)
    cdef object _answer(self, _Request request, _Plan plan, object view, object result)
    cpdef bytes carry(self, _Request request, _Plan plan, object view, object result)
    cpdef bytes value(self, _Request request, object result, int form)
    cpdef bytes refuse(self, _Request request, object exc)
    cdef object _unsent(self, _Request request, object exc)
    cdef object _recover(self, _Request request, object exc)
    cdef bytes _refused(self, _Request request, object exc)
    cdef bytes _recovered(self, _Request request, object result)


cdef dict _body(_Request request, object result)
cdef check_event_name(_Request request, Py_ssize_t most)
cdef bytes rendered(object given)
cdef object _explained(_Request request, object exc)
cdef object _handler_for(object exc, tuple recoveries)
cdef bint is_awaitable(object value) except -1
cdef object _awaitable(object value)
