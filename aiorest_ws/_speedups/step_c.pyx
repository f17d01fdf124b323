# cython: language_level=3
"""Compiled twin of `step.py`: no bound method, no StopIteration."""

from asyncio import current_task
from asyncio.tasks import _enter_task, _leave_task

from cpython.object cimport PyObject

__all__ = ("first_step",)

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(object iter, object value, PyObject** result)
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    void Py_XDECREF(PyObject* o)


cpdef tuple first_step(object coroutine, object context, object loop, object task):
    """Run `coroutine` in `context` as if `task` did, up to its end or to where it waits."""
    cdef PyObject* result = NULL
    cdef PySendResult outcome
    cdef object value
    cdef object running = current_task(loop)
    if running is not None:
        _leave_task(loop, running)
    _enter_task(loop, task)
    try:
        PyContext_Enter(context)
        try:
            outcome = send(coroutine, &result)
        finally:
            PyContext_Exit(context)
    finally:
        _leave_task(loop, task)
        if running is not None:
            _enter_task(loop, running)
    value = <object>result
    Py_XDECREF(result)  # `value` has a reference of its own
    return outcome == PYGEN_RETURN, value


cdef PySendResult send(object coroutine, PyObject** result) except PYGEN_ERROR:
    return PyIter_Send(coroutine, None, result)
