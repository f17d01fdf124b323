cimport cython

from aiorest_ws._speedups cimport wrappers_c as wrappers
from aiorest_ws._speedups.wrappers_c cimport Request as _Request


@cython.locals(fresh=_Request)
cpdef object again(_Request request, object kind=*)
@cython.locals(fresh=_Request)
cpdef object kept(_Request request, bint is_exact)
cpdef object weight_of(_Request request)
cpdef came_as(_Request request, bytes data)
cpdef over(_Request request)
cpdef object renders_otherwise(_Request request)
cpdef set_method(_Request request, object method)
cpdef set_status(_Request request, int status)
