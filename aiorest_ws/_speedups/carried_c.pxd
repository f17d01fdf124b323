cimport cython

from aiorest_ws._speedups cimport codec_c as codec
from aiorest_ws._speedups cimport connection_c as connection
from aiorest_ws._speedups cimport flow_c as flow
from aiorest_ws._speedups.wrappers_c cimport Request as _Request


cdef Py_ssize_t _MOST_WAITING
cdef int _AT_ONCE
cdef Py_ssize_t _FEW


@cython.final
cdef class Queue:
    cdef list _items
    cdef Py_ssize_t _at

    cpdef bint is_empty(self) except -1
    cpdef put(self, object item)
    @cython.locals(items=list, at=Py_ssize_t)
    cpdef take(self)
    cpdef clear(self)


@cython.final
cdef class Outgoing:
    cdef readonly Queue said
    cdef public Py_ssize_t waiting
    cdef readonly bint is_choked
    cdef readonly bint is_over
    cdef object _idle

    cpdef bint say(self, object what, Py_ssize_t size) except -1
    cpdef bint took(self, Py_ssize_t size) except -1
    cpdef end(self)
    cdef _wake(self)


cdef dict _event_of(object what)


cdef class Carried(connection.Connection):
    cdef public Queue ahead
    cdef public bint is_held
    cdef public bint is_due
    cdef public Outgoing _outgoing
    cdef public bint _is_plain

    cpdef wake(self)
    @cython.locals(most=Py_ssize_t, left=int, ahead=Queue)
    cpdef _catch_up(self)
    @cython.locals(is_binary=bint, payload=bytes)
    cdef _serve_next(self, object message, Py_ssize_t most)
    @cython.locals(form=int, payload=bytes, text=str, size=Py_ssize_t, chokes=bint)
    cdef _give(self, _Request request, bytes rendered)


@cython.locals(payload=bytes)
cdef bytes _utf8(str text)
cdef object _message_of(dict event)
