cimport cython

from aiorest_ws._speedups cimport msgpack_c as msgpack


@cython.locals(first=cython.uchar)
cpdef int recognise(bytes payload, bint is_binary) except -1
cpdef dict decode(bytes payload, int form)
cpdef bytes encode(bytes rendered, int form)
cpdef bytes dumps(object value)
cpdef bytes decode_base64(bytes payload)
cpdef bytes write(object value, int form)
cpdef object native(object value, int depth=*)
