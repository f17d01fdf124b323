cdef class Lookout:
    cdef readonly object loop
    cdef readonly object task
    cdef readonly bint looked
    cdef Py_hash_t _hash

    cpdef bint is_kept(self) except -1


cpdef object copy_context()
cdef bint enter(object context) except -1
cdef int leave(object context) except -1
cpdef tuple first_step(object coroutine, object context, Lookout lookout)
cdef object go_out(object loop)
cdef int go_in(object loop, object running) except -1
