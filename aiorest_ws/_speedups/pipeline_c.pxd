cimport cython

from aiorest_ws._speedups cimport codec_c as codec
from aiorest_ws._speedups cimport envelope_c as envelope
from aiorest_ws._speedups cimport passage_c as passage
from aiorest_ws._speedups cimport plan_c as plans
from aiorest_ws._speedups cimport replies_c as replies
from aiorest_ws._speedups cimport wrappers_c as wrappers
from aiorest_ws._speedups.plan_c cimport Plan as _Plan
from aiorest_ws._speedups.trie_c cimport Trie as _Trie
from aiorest_ws._speedups.wrappers_c cimport Request as _Request


cdef class Pipeline(passage.Passage):
    cdef readonly _Trie trie
    cdef readonly object process
    cdef readonly tuple middlewares
    cdef readonly tuple dependencies
    cdef readonly Py_ssize_t max_event_name
    cdef readonly object live
    cdef readonly object keys
    cdef bint _adds
    cdef dict _plans

    cpdef object handle(self, bytes payload, bint is_binary, object connection=*)
    cpdef _Request adopt(self, _Request request, int form, object connection, bytes payload=*)
    cpdef object respond(self, _Request request)
    cpdef object start(self, _Request request)
    cdef object _process(self, _Request request)
    cpdef bytes complete(self, _Request request, object result)
    cpdef bytes say(self, _Request request, object data)
    cpdef object run(self, _Request request, _Plan plan, object params)
    cpdef object go_on(self, _Request request, _Plan plan, object params)
    cdef object _whole(self, _Request request, _Plan plan, object params)
    cdef object _once(self, _Request request, _Plan plan, tuple params, object key)
    cdef object _follow(self, _Request request, _Plan plan, tuple params)
    cpdef object rest(self, _Request request, object bare)
    @cython.locals(plan=_Plan, params=tuple)
    cdef object _route(self, _Request request, _Trie trie)
    cdef bint _is_of_live(self, _Request request) except -1
    cpdef object route(self, _Request request, _Trie trie)
    @cython.locals(own=_Plan)
    cdef _Plan _own(self, _Plan plan)
