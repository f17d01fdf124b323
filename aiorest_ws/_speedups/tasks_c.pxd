from aiorest_ws._speedups.eager_c cimport Lookout as _Lookout


cdef class Worker


cdef class Workers:
    cdef object _loop
    cdef bint _coming
    cdef bint _closed
    cdef public Worker spare

    cpdef prepare(self)
    cpdef Worker take(self)
    cpdef put_back(self, Worker worker)
    cpdef parked(self, Worker worker)


cdef class Worker:
    cdef Workers _workers
    cdef object _wake
    cdef object _job
    cdef object _resumed
    cdef readonly object task
    cdef readonly _Lookout lookout

    cdef bint is_free(self) except -1
    cdef end(self)
