from aiorest_ws._speedups.eager_c cimport Lookout as _Lookout


cdef class SpareTask


cdef class SpareTasks:
    cdef object _loop
    cdef bint _coming
    cdef bint _closed
    cdef public SpareTask spare

    cpdef prepare(self)
    cpdef SpareTask take(self)
    cpdef put_back(self, SpareTask spare)
    cpdef parked(self, SpareTask spare)


cdef class SpareTask:
    cdef SpareTasks _spare_tasks
    cdef object _wake
    cdef object _job
    cdef object _resumed
    cdef readonly object task
    cdef readonly _Lookout lookout

    cdef bint is_free(self) except -1
    cdef end(self)
