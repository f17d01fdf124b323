cimport cython


@cython.freelist(64)
cdef class Request:
    cdef dict __dict__
    cdef object _method
    cdef object _url
    cdef object _args
    cdef object _data
    cdef object _event_name
    cdef object _id
    cdef dict _envelope
    cdef dict _extra
    cdef object _failure
    cdef object _params
    cdef public object _pipeline
    cdef object _plan
    cdef object _text
    cdef int _form
    cdef Py_ssize_t _size
    cdef Py_ssize_t _holds
    cdef bint _is_bare
    cdef bint _is_over
    cdef int _status
    cdef double _started
    cdef public object _ended_in
    cdef public object _live
    cdef public object connection
    cdef public object user
    cdef public object token_payload


cdef Py_ssize_t CONTAINER
cdef bint _IS_BLANK


@cython.locals(request=Request)
cpdef Request blank(int form, object connection)
cpdef Request failed(object exc, int form, object connection)
cpdef dict body(Request request, dict content)
cpdef check_id(Request request)
cdef object _sent(Request request, object name)
cpdef object extra_of(Request request, object name)
cpdef tuple texts_of(Request request)
cpdef Request wrap(dict envelope, int form, object connection)
cdef int clear(Request request) except -1
cdef int _fill(Request request, dict envelope) except -1


cdef class Response:
    cdef dict _content
    cdef public int status
