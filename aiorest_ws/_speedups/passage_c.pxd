cimport cython

from aiorest_ws._speedups cimport guards_c as guards
from aiorest_ws._speedups cimport plan_c as plans
from aiorest_ws._speedups cimport replies_c as replies
from aiorest_ws._speedups cimport wrappers_c as wrappers
from aiorest_ws._speedups.plan_c cimport Plan as _Plan
from aiorest_ws._speedups.wrappers_c cimport Request as _Request


cdef class Passage(replies.Replies):
    cdef readonly bint logs
    cdef readonly object threads
    cdef readonly object overrides

    @cython.locals(at=Py_ssize_t, asked=tuple)
    cdef object _guard(self, _Request request, _Plan plan, tuple params)
    cdef object _enter_now(self, _Request request, _Plan plan, tuple params, object view, object scope, object around)
    cdef object _enter(self, _Request request, _Plan plan, tuple params, object view, object scope, object around)
    cdef object _call_guarded(self, _Request request, _Plan plan, tuple params, object view)
