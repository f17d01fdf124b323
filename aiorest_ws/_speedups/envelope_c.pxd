from aiorest_ws._speedups.wrappers_c cimport Request

cpdef Request read(bytes payload, bint is_binary, object connection)
cpdef Py_ssize_t holds_of(bytes payload, int form) except -1
cpdef bytes render(Request request, object data)
cpdef bytes write_for(Request request, object whole)
cpdef bytes render_detail(Request request, object detail)
cdef Request read_raw(const unsigned char* payload, Py_ssize_t size, bint is_binary, object connection)
