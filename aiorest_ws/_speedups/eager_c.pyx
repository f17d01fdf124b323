# cython: language_level=3
"""Compiled twin of `eager.py`: no bound method, no StopIteration."""

import asyncio
from asyncio import tasks

from cpython.object cimport PyObject

from .eager import SEES_LOOKS

__all__ = ("SEES_LOOKS", "Lookout", "copy_context", "first_step")

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(object iter, object value, PyObject** result)
    object PyContext_CopyCurrent()
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    void Py_XDECREF(PyObject* o)
    Py_ssize_t Py_REFCNT(PyObject* o)

cdef Py_ssize_t OWN = 3  # as `eager._OWN`

cdef object current_task = asyncio.current_task
cdef object enter_task = tasks._enter_task
cdef object leave_task = tasks._leave_task


cpdef object copy_context():
    """Give a copy of the context of now."""
    return PyContext_CopyCurrent()


cdef bint enter(object context) except -1:
    """Make `context` the one of now, until `leave`; tells that it could."""
    PyContext_Enter(context)
    return True


cdef int leave(object context) except -1:
    return PyContext_Exit(context)


cdef class Lookout:
    """Takes note of each look at the task that runs in `loop`, while that is `task` in a first step."""

    def __init__(self, object loop, object task):
        self._hash = hash(loop)
        self.loop = loop
        self.task = task
        self.looked = False

    def __hash__(self):
        return self._hash

    def __eq__(self, object other):
        self.looked = True
        return other is self.loop

    cpdef bint is_kept(self) except -1:
        """Tell whether somebody has a reference to the task, which waits."""
        return Py_REFCNT(<PyObject*>self.task) > OWN


cpdef tuple first_step(object coroutine, object context, Lookout lookout):
    """Run `coroutine` in `context` as if the task of `lookout` did, up to its end or to where it waits."""
    cdef PyObject* result = NULL
    cdef PySendResult outcome
    cdef object value
    cdef object running = go_out(lookout.loop)
    enter_task(lookout, lookout.task)
    try:
        PyContext_Enter(context)
        try:
            outcome = send(coroutine, &result)
        finally:
            PyContext_Exit(context)
    finally:
        leave_task(lookout, lookout.task)
        go_in(lookout.loop, running)
    value = <object>result
    Py_XDECREF(result)  # `value` has a reference of its own
    return outcome == PYGEN_RETURN, value


cdef object go_out(object loop):
    """Leave the task that runs in `loop`; gives it, for `go_in`. None: there is none."""
    cdef object running = current_task(loop)
    if running is not None:
        leave_task(loop, running)
    return running


cdef int go_in(object loop, object running) except -1:
    """Go on in the task that `go_out` gave."""
    if running is not None:
        enter_task(loop, running)
    return 0


cdef PySendResult send(object coroutine, PyObject** result) except PYGEN_ERROR:
    return PyIter_Send(coroutine, None, result)
