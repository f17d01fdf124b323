cimport cython

from aiorest_ws._speedups cimport msgpack_c as msgpack


@cython.locals(first=cython.uchar)
cpdef int recognise(bytes payload, bint is_binary) except -1
cpdef dict decode(bytes payload, int form)
cpdef bytes encode(bytes rendered, int form)
cpdef bytes dumps(object value)
cpdef bytes decode_base64(bytes payload)
@cython.locals(left=Py_ssize_t, level=Py_ssize_t, todo=list)
cpdef bint is_short(object value, Py_ssize_t most) except -1
cpdef bytes write(object value, int form)
cpdef object native(object value, int depth=*)
@cython.locals(made=list, at=Py_ssize_t)
cdef object _native_items(object items, int depth)
@cython.locals(made=dict, at=Py_ssize_t)
cdef dict _native_members(dict members, int depth)
