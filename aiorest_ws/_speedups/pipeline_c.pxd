cimport cython

from aiorest_ws._speedups cimport codec_c as codec
from aiorest_ws._speedups cimport envelope_c as envelope
from aiorest_ws._speedups cimport guards_c as guards
from aiorest_ws._speedups cimport replies_c as replies
from aiorest_ws._speedups cimport wrappers_c as wrappers
from aiorest_ws._speedups.plan_c cimport Plan as _Plan
from aiorest_ws._speedups.trie_c cimport Trie as _Trie
from aiorest_ws._speedups.wrappers_c cimport Request as _Request


cdef Py_ssize_t _LARGE


cdef class Pipeline(replies.Replies):
    cdef readonly _Trie trie
    cdef readonly object process
    cdef readonly tuple middlewares
    cdef readonly Py_ssize_t known_at
    cdef readonly tuple steps
    cdef readonly bint onion
    cdef readonly bint guarded
    cdef readonly bint logs
    cdef readonly object threads
    cdef readonly object overrides
    cdef readonly tuple dependencies
    cdef readonly Py_ssize_t max_event_name
    cdef dict _plans
    cdef tuple _own
    cdef dict _turns

    cpdef object handle(self, bytes payload, bint is_binary, object connection=*)
    cpdef _Request adopt(self, _Request request, int form, object connection, bytes payload=*)
    cpdef object respond(self, _Request request)
    cpdef object start(self, _Request request)
    cdef _refuse_event_name(self, _Request request)
    cpdef bytes complete(self, _Request request, object result)
    cpdef object rest(self, _Request request, object bare)
    @cython.locals(plan=_Plan, params=tuple)
    cdef object _route(self, _Request request, _Trie trie)
    cpdef object route(self, _Request request, _Trie trie)
    cdef _Plan _depending(self, _Plan plan)
    cdef object _call(self, _Request request, _Plan plan, tuple params, object view)
    @cython.locals(done=Py_ssize_t)
    cdef object _guard(self, _Request request, _Plan plan, tuple params)
    cdef object _provide(self, _Request request, _Plan plan, tuple params, object view)
    cdef object _step(self, object step, _Request request, _Plan plan, object view)
    cdef object _call_guarded(self, _Request request, _Plan plan, tuple params, object view)
