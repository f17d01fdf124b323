cimport cython


@cython.final
cdef class Check:
    cdef readonly object permission

    cpdef object ask(self, object request, object view, object report)


@cython.locals(check=Check)
cdef object ask(object guard, object request, object view, object report)
cpdef bint is_authenticated(object user) except -1
cdef object _answer(object permission, object request, object view, object report)
cdef bint _is_known(object request, object report) except -1
cdef object _read(object user, str name, object otherwise)
cdef bint _says(object user, str name, object flag) except -1
