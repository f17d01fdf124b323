cimport cython


cdef class Subscriber:
    cdef public object connection
    cdef public int form
    cdef public long long position
    cdef public long long seen
    cdef public bint is_held


@cython.locals(subscriber=Subscriber)
cpdef tuple fan_out(list subscribers, long long since, long long number, long long seen, object pushes)
cpdef bint sent(Subscriber subscriber, list payloads)
