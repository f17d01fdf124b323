from aiorest_ws._speedups.wrappers_c cimport Request as _Request


cdef Py_ssize_t _LARGE


cdef class Plan:
    cdef readonly object route
    cdef readonly object method
    cdef readonly object view
    cdef readonly object function
    cdef readonly bint bare
    cdef readonly object fit
    cdef readonly bint takes_nothing
    cdef readonly object bind
    cdef readonly object explain
    cdef readonly bint exact
    cdef readonly bint auth_required
    cdef readonly tuple permissions
    cdef readonly tuple checks
    cdef readonly object render
    cdef readonly bint threaded
    cdef readonly tuple middlewares
    cdef readonly tuple guards
    cdef readonly bint around
    cdef readonly tuple recoveries
    cdef readonly object provide
    cdef readonly object live
    cdef readonly object changes
    cdef readonly object watched
    cdef readonly bint impersonal
    cdef readonly bint guarded
    cdef readonly bint writes


cdef object call(Plan plan, _Request request, tuple params, object view)
