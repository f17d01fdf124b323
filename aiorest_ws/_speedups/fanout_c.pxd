cimport cython

from aiorest_ws._speedups cimport frames_c as frames
from aiorest_ws._speedups.connection_c cimport Connection as _Connection
from aiorest_ws._speedups.deflate_c cimport Packer as _Packer


cdef int _OPEN
cdef int _TEXT
cdef int _BINARY
cdef int _COMPRESSED


cdef class Subscriber:
    cdef public _Connection connection
    cdef public int form
    cdef public int at
    cdef public long long position
    cdef public long long seen
    cdef public bint is_held
    cdef public bint is_over


@cython.final
cdef class Outbox:
    cdef object _loop
    cdef object _context
    cdef object _due
    cdef list _gathering
    cdef bint _is_scheduled

    cpdef soon(self, object tell)
    cpdef push(self, _Connection connection, list payloads, int form)
    cpdef gather(self, _Connection connection)
    cdef _schedule(self)
    cdef _tell(self)
    @cython.locals(gathering=list, done=Py_ssize_t, number=Py_ssize_t, connection=_Connection)
    cdef _flush(self)


@cython.final
cdef class _Bundle:
    cdef int form
    cdef int count
    cdef _Packer packer
    cdef bytes frames
    cdef unsigned long long octets
    cdef Py_ssize_t saved


@cython.final
cdef class Fan:
    cdef Outbox _outbox
    cdef object _render
    cdef dict _rendered
    cdef list _bundles
    cdef _Bundle _last

    @cython.locals(connection=_Connection, form=int, packer=_Packer, bundle=_Bundle)
    cpdef bint send(self, Subscriber subscriber, long long number, long long seen) except -1
    @cython.locals(bundle=_Bundle)
    cdef _Bundle _bundle(self, int form, _Packer packer, Py_ssize_t packs_from)
    cdef list _payloads(self, int form)
    @cython.locals(form=int, payloads=list, connection=_Connection)
    cdef bint _send_by_hand(self, Subscriber subscriber, long long number, long long seen) except -1


@cython.locals(subscriber=Subscriber, told=Py_ssize_t, left=list)
cpdef tuple fan_out(list subscribers, Fan fan, long long since, long long number, long long seen)
@cython.locals(subscriber=Subscriber, told=Py_ssize_t, left=list, fan=Fan)
cpdef tuple fan_out_state(list subscribers, Fan news, Fan same, long long number, long long seen)
@cython.locals(subscriber=Subscriber, forms=int, form=int)
cpdef set forms_of(list subscribers)
