cpdef object copy_context()
cdef bint enter(object context) except -1
cdef int leave(object context) except -1
cpdef tuple first_step(object coroutine, object context, object loop, object task)
