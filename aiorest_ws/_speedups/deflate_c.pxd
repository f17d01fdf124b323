cimport cython

cdef bytes _TAIL
cdef int _BLOCK
cdef int _MOST_STREAMS


@cython.final
cdef class Packer:
    cdef readonly int window_bits
    cdef readonly int level
    cdef readonly bint takes_over
    cdef object _library
    cdef object _deflater

    cpdef bytes pack(self, bytes message)


@cython.final
cdef class Unpacker:
    cdef readonly int window_bits
    cdef readonly bint takes_over
    cdef public Py_ssize_t limit
    cdef object _inflater
    cdef Py_ssize_t _size
    cdef int _streams
    cdef bint _inside

    @cython.locals(inflated=bytes)
    cpdef bytes unpack(self, bytes data, bint is_last)
    @cython.locals(inflated=bytes)
    cdef bytes _inflate(self, bytes data)
    @cython.locals(blocks=list)
    cdef bytes _go_on(self, bytes inflated, bint is_last)
    cdef int _count(self, Py_ssize_t size) except -1
    cdef int _end(self) except -1
