cimport cython

cdef double[16] BOUNDS
cdef int _LAST


cdef class Meter:
    cdef unsigned long long _done
    cdef dict _others
    cdef unsigned long long[17] _buckets
    cdef double _seconds

    @cython.locals(at=int)
    cpdef add(self, int status, double seconds)


cdef class Meters:
    cdef dict _of

    @cython.locals(meter=Meter)
    cpdef add(self, object plan, int status, double seconds)
