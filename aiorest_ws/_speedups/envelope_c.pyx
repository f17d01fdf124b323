# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Compiled twin of `envelope.py`.

Most envelopes are small and plain: known keys, ASCII strings without escapes, short integers, no white space. `scan`
reads those straight into a `Request`, and `compose` writes plain replies; whatever they do not know for certain they leave
to orjson, so that both twins accept, refuse and write the same.
PERF: `compose` took the round trip of an endpoint from 1.55 to 1.03 times what orjson alone needs for both ways
(bench/ratios.py); `scan` had taken it from 2.7 to 1.9 before. A message with a `token`, the one further key that many
bring all the time, is cheaper by more than it costs to recognise a token that is known.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.string cimport memcmp, memcpy

from orjson import loads

from aiorest_ws._speedups.base64_c cimport decode_small
from aiorest_ws._speedups.codec_c cimport decode, decode_base64, recognise, write
from aiorest_ws._speedups.codec_c import EMPTY, write as write_it
from aiorest_ws._speedups.msgpack_c cimport check, made
from aiorest_ws._speedups.wrappers_c cimport Request, blank, body, check_id, failed, wrap

from aiorest_ws._speedups.collector import LARGE, undisturbed_in_turn
from aiorest_ws.exceptions import InvalidMessage

__all__ = ("holds_of", "read", "render", "render_detail", "write_for")

cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object o)
    bint PyLong_CheckExact(object o)
    bint PyUnicode_IS_COMPACT_ASCII(object o)
    Py_ssize_t PyUnicode_GET_LENGTH(object o)
    const unsigned char* PyUnicode_1BYTE_DATA(object o)
    long long PyLong_AsLongLongAndOverflow(object o, int* overflow) except? -1

cdef enum:
    SMALL_BASE64 = 680   # what encodes MAX_SIZE bytes at most
    MAX_PLAIN = 4096     # beyond it orjson is as fast
    ROOM = 100           # for all of a reply but its strings: keys, punctuation, an integer id, a status

cdef Py_ssize_t LARGE_MESSAGE = LARGE
cdef Py_ssize_t MAX_SIZE = 512   # beyond it orjson's one pass is as fast
cdef int MAX_DEPTH = 64          # far below orjson's limit, which counts from the whole document
cdef int MAX_DIGITS = 18         # always fits 64 bits

# Every function below reads text[at] only where at < size.


cpdef Request read(bytes payload, bint is_binary, object connection):
    """Give the request in `payload`, also when it is malformed."""
    cdef int form = recognise(payload, is_binary)
    if not payload:
        return failed(EMPTY, form, connection)
    if len(payload) > LARGE_MESSAGE:
        return undisturbed_in_turn(read_now, payload, form, connection)
    return read_now(payload, form, connection)


cpdef Request read_now(bytes payload, int form, object connection):
    cdef Request request = None
    cdef bytes text
    cdef Py_ssize_t size, holds
    try:
        text = decode_base64(payload) if form & 1 else payload
        size = len(text)  # TypeError if None
        request = scan(<const unsigned char*>PyBytes_AS_STRING(text), size, form, connection)
        if request is None and form & 4:
            holds = check(text)
            request = wrap(made(text), form, connection)
            request._holds = holds
        elif request is None:
            request = wrap(decode(text, form & 4), form, connection)
            request._text = text
            request._holds = containers_in(text)
        request._size = len(payload)
    except InvalidMessage as exc:
        request = failed(exc, form, connection)
    if request._id is not None:
        check_id(request)
    return request


cdef Request read_raw(const unsigned char* payload, Py_ssize_t size, bint is_binary, object connection):
    """Do the same for bytes that nobody owns for longer than this call."""
    cdef unsigned char text[SMALL_BASE64]
    cdef Request request = None
    cdef Py_ssize_t decoded
    if size and payload[0] == c"{":  # JSON, whatever the frame
        request = scan(payload, size, 2 if is_binary else 0, connection)
    elif size and size <= SMALL_BASE64 and payload[0] == c"e":  # base64 of a brace, whatever the frame
        decoded = decode_small(payload, size, text)
        if decoded > 0:
            request = scan(text, decoded, 3 if is_binary else 1, connection)
    if request is None:
        return read(PyBytes_FromStringAndSize(<const char*>payload, size), is_binary, connection)
    request._size = size
    if request._id is not None:
        check_id(request)
    return request


cpdef Py_ssize_t holds_of(bytes payload, int form) except -1:
    """Give how many arrays and objects there are in a message that somebody else has read."""
    cdef bytes text
    try:
        if form & 4:
            return check(payload)
        text = decode_base64(payload) if form & 1 else payload
    except InvalidMessage:
        text = payload  # in a form of the application's own
    return containers_in(text)


cdef Py_ssize_t containers_in(bytes text) except -1:
    """Give how many arrays and objects there may be in JSON: brackets in strings are counted, too."""
    return text.count(b"{") + text.count(b"[")


cpdef bytes render(Request request, object data):
    """Give the reply that carries `data`, with the status of `request` when that had an id."""
    cdef bytes reply = None if request._form & 4 else compose(request, data, False)
    return write_for(request, body(request, {"data": data})) if reply is None else reply


cpdef bytes write_for(Request request, object whole):
    """Give `whole` in the form of `request`; what answers a large message may be as large."""
    if request._size > LARGE_MESSAGE:
        return undisturbed_in_turn(write_it, whole, request._form)
    return write(whole, request._form)


cpdef bytes render_detail(Request request, object detail):
    """Give the reply that carries a plain `detail`, or None when it takes orjson to write it."""
    return None if detail is None or request._form & 4 else compose(request, detail, True)


cdef bytes compose(Request request, object data, bint is_detail):
    """Give the reply, or None when it takes orjson to write it."""
    cdef Py_ssize_t size = plain_size(data), name_size = plain_size(request._event_name), id_size = 0, room
    cdef long long number = 0
    cdef int overflow = 0
    cdef object ident = request._id
    cdef bint is_number = False
    cdef char small[1024]
    cdef bytes whole = None
    cdef char* start = small
    cdef char* p
    if size < 0 or name_size < 0:
        return None
    if ident is not None:
        is_number = PyLong_CheckExact(ident)
        if is_number:
            number = PyLong_AsLongLongAndOverflow(ident, &overflow)
            if overflow or number < 0:
                return None
        else:
            id_size = plain_size(ident)
            if id_size < 0:
                return None
    # ROOM: 6 + 20 for a number, 10 + 3 for the status, 11 + 4 for detail, 15 + 4 for the name, quotes, commas, braces
    room = ROOM + size + name_size + id_size
    if room > 1024:
        whole = PyBytes_FromStringAndSize(NULL, room)
        start = PyBytes_AS_STRING(whole)
    p = start
    if ident is not None:
        p = put(p, b'{"id":', 6)
        p = put_number(p, number) if is_number else put_string(p, ident, id_size)
        p = put(p, b',"status":', 10)
        p = put_number(p, request._status)
        p = put(p, b",", 1)
    else:
        p = put(p, b"{", 1)
    p = put(p, b'"detail":', 9) if is_detail else put(p, b'"data":', 7)
    p = put_string(p, data, size)
    if ident is None or request._event_name is not None:
        p = put(p, b',"event_name":', 14)
        p = put_string(p, request._event_name, name_size)
    p[0] = c"}"
    return PyBytes_FromStringAndSize(start, p + 1 - start)


cdef Py_ssize_t plain_size(object value) noexcept:  # looks at memory only: nothing in it raises
    """Give the length of a string that JSON writes as it is, 0 for None, -1 for anything else."""
    cdef const unsigned char* text
    cdef Py_ssize_t size, i
    cdef unsigned char odd = 0
    if value is None:
        return 0
    if not PyUnicode_CheckExact(value) or not PyUnicode_IS_COMPACT_ASCII(value):
        return -1
    size = PyUnicode_GET_LENGTH(value)
    if size > MAX_PLAIN:
        return -1
    text = PyUnicode_1BYTE_DATA(value)
    for i in range(size):
        odd |= (text[i] < 0x20) | (text[i] == c'"') | (text[i] == c"\\")
    return -1 if odd else size


cdef inline char* put(char* p, const char* text, Py_ssize_t size) noexcept nogil:
    memcpy(p, text, size)
    return p + size


cdef inline char* put_string(char* p, object value, Py_ssize_t size) noexcept:  # as `plain_size`
    if value is None:
        return put(p, b"null", 4)
    p[0] = c'"'
    memcpy(p + 1, PyUnicode_1BYTE_DATA(value), size)
    p[size + 1] = c'"'
    return p + size + 2


cdef inline char* put_number(char* p, long long number) noexcept nogil:
    """Write a number that is not negative, of at most 19 digits."""
    cdef char digits[20]
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = <char>(c"0" + number % 10)
        number = number / 10
        if number == 0:
            break
    return put(p, digits + at, 20 - at)


cdef Request scan(const unsigned char* text, Py_ssize_t size, int form, object connection):
    """Give the request in `text`, or None when it takes orjson to tell. `text` must stay as it is during the call."""
    cdef Py_ssize_t at = 1, start, length
    cdef Request request
    cdef object value
    cdef object args_text = None, data_text = None, inner
    if size < 2 or size > MAX_SIZE or text[0] != c"{":
        return None
    request = blank(form, connection)
    request._holds = 1
    while True:
        # a key and its colon
        if at >= size or text[at] != c'"':
            return None
        start = at + 1
        at = end_of_string(text, start, size)
        if at < 0 or at + 2 >= size or text[at + 1] != c":":
            return None
        length = at - start
        at += 2
        value = read_value(text, &at, size, request)
        if at < 0:
            return None
        inner, request._text = request._text, None
        if length == 6 and memcmp(text + start, b"method", 6) == 0:
            request._method = value
        elif length == 3 and memcmp(text + start, b"url", 3) == 0:
            request._url = value
        elif length == 10 and memcmp(text + start, b"event_name", 10) == 0:
            request._event_name = value
        elif length == 4 and memcmp(text + start, b"args", 4) == 0:
            if value is None:
                return None  # null is told apart from absent by the envelope
            request._args = value
            args_text = inner
        elif length == 4 and memcmp(text + start, b"data", 4) == 0:
            request._data = value
            data_text = inner
        elif length == 2 and memcmp(text + start, b"id", 2) == 0:
            request._id = value
        elif length == 5 and memcmp(text + start, b"token", 5) == 0:
            request._extra = {"token": value}
        else:
            return None
        if at >= size:
            return None
        if text[at] == c"}":
            if args_text is not None or data_text is not None:
                request._text = (args_text, data_text)
            return request if at + 1 == size else None
        if text[at] != c",":
            return None
        at += 1


cdef Py_ssize_t end_of_string(const unsigned char* text, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Give the index of the closing quote of a plain string whose first character is text[at], or -1."""
    cdef unsigned char c
    while at < size:
        c = text[at]
        if c == c'"':
            return at
        if c < 0x20 or c == c"\\" or c >= 0x80:
            return -1
        at += 1
    return -1


cdef object read_value(const unsigned char* text, Py_ssize_t* position, Py_ssize_t size, Request request):
    """Give the value that begins at text[position[0]] (which is below `size`) and move to what follows; -1 when in doubt.

    The text of an object or an array is left in `request._text`.
    """
    cdef Py_ssize_t at = position[0], end
    cdef bytes inner
    cdef unsigned char c = text[at]
    position[0] = -1
    if c == c'"':
        end = end_of_string(text, at + 1, size)
        if end < 0:
            return None
        position[0] = end + 1
        return PyUnicode_DecodeASCII(<const char*>text + at + 1, end - at - 1, NULL)
    if c == c"{" or c == c"[":
        end = end_of_container(text, at, size, &request._holds)
        if end < 0:
            return None
        try:
            inner = PyBytes_FromStringAndSize(<const char*>text + at, end - at)
            value = loads(inner)
            request._text = inner
        except ValueError:
            value, end = None, -1  # orjson says it again, with the position in the whole
        position[0] = end
        return value
    if c == c"-" or c"0" <= c <= c"9":
        return read_integer(text, position, at, size)
    if c == c"n" and size - at >= 4 and memcmp(text + at, b"null", 4) == 0:
        position[0] = at + 4
        return None
    if c == c"t" and size - at >= 4 and memcmp(text + at, b"true", 4) == 0:
        position[0] = at + 4
        return True
    if c == c"f" and size - at >= 5 and memcmp(text + at, b"false", 5) == 0:
        position[0] = at + 5
        return False
    return None


cdef object read_integer(const unsigned char* text, Py_ssize_t* position, Py_ssize_t at, Py_ssize_t size):
    """Give a short integer; anything else that begins like a number leaves position[0] at -1."""
    cdef bint negative = text[at] == c"-"
    cdef long long value = 0
    cdef Py_ssize_t first = at + negative
    at = first
    while at < size and c"0" <= text[at] <= c"9" and at - first < MAX_DIGITS:
        value = value * 10 + (text[at] - c"0")
        at += 1
    # a digit more than MAX_DIGITS stands where a comma or a brace must
    if at == first or at >= size or (text[at] != c"," and text[at] != c"}"):
        return None
    if text[first] == c"0" and (at - first > 1 or negative):
        return None
    position[0] = at
    return -value if negative else value


cdef Py_ssize_t end_of_container(
    const unsigned char* text, Py_ssize_t at, Py_ssize_t size, Py_ssize_t* holds
) noexcept nogil:
    """Give the index behind the bracket that closes the one at text[at], or -1; what opens is added to `holds`.

    What is inside is orjson's to check.
    """
    cdef int depth = 0
    cdef bint inside = False
    cdef unsigned char c
    while at < size:
        c = text[at]
        if inside:
            if c == c"\\":
                at += 1
            elif c == c'"':
                inside = False
        elif c == c'"':
            inside = True
        elif c == c"{" or c == c"[":
            depth += 1
            holds[0] += 1
            if depth > MAX_DEPTH:
                return -1
        elif c == c"}" or c == c"]":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return -1
