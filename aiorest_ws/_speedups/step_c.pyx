# cython: language_level=3
"""Compiled twin of `step.py`: no bound method, no StopIteration."""

import asyncio
from asyncio import tasks

from cpython.object cimport PyObject

__all__ = ("copy_context", "first_step")

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


cpdef tuple first_step(object coroutine, object context, object loop, object task):
    """Run `coroutine` in `context` as if `task` did, up to its end or to where it waits."""
    cdef PyObject* result = NULL
    cdef PySendResult outcome
    cdef object value
    cdef object running = current_task(loop)
    if running is not None:
        leave_task(loop, running)
    enter_task(loop, task)
    try:
        PyContext_Enter(context)
        try:
            outcome = send(coroutine, &result)
        finally:
            PyContext_Exit(context)
    finally:
        leave_task(loop, task)
        if running is not None:
            enter_task(loop, running)
    value = <object>result
    Py_XDECREF(result)  # `value` has a reference of its own
    return outcome == PYGEN_RETURN, value


cdef PySendResult send(object coroutine, PyObject** result) except PYGEN_ERROR:
    return PyIter_Send(coroutine, None, result)
