cimport cython

cdef int _state
cdef bytes _LENGTHS
cdef bytes _FOLLOW

cpdef bint is_map(int first) except -1
cpdef bint is_installed() except -1
cpdef dict unpack(bytes payload)
cpdef dict made(bytes payload)
cpdef bytes pack(object value)
@cython.locals(
    size=cython.longlong, at=cython.longlong, left=cython.longlong, count=cython.longlong, around=cython.longlong,
    found=cython.longlong, width=cython.int, first=cython.uchar, in_map=cython.bint, becomes_map=cython.bint, outer=list,
)
cpdef Py_ssize_t check(bytes payload) except -1
@cython.locals(length=cython.longlong, i=cython.int)
cdef long long _length(bytes payload, long long at, int width) except -1
