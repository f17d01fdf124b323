from aiorest_ws._speedups.plan_c cimport Plan as _Plan


cdef class Guard:
    cdef _Plan _plan
    cdef object _report
    cdef readonly bint asked


cdef object ask(_Plan plan, object request, object view, object report)
cpdef bint is_authenticated(object user) except -1
cdef object _answer(object permission, object request, object view, object report)
cdef bint _is_known(object request, object report) except -1
cdef object _read(object user, str name, object otherwise)
cdef bint _says(object user, str name, object flag) except -1
