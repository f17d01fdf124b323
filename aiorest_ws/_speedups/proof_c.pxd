from aiorest_ws._speedups cimport wrappers_c as wrappers
from aiorest_ws._speedups.wrappers_c cimport Request as _Request


cdef class Proof:
    cdef public object owner
    cdef public object token
    cdef public dict payload
    cdef bint _is_flat
    cdef public object user
    cdef public double ends
    cdef public bint lasting

    cdef bint _covers(self, _Request request, object owner, double now) except -1
    cdef int _fill(self, _Request request) except -1
    cdef dict _claims(self)


cdef object _copied(object value)
