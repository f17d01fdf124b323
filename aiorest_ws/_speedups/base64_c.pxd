# Base64 of short messages, on raw memory; longer ones are worth a call of pybase64. There is no module of this name: what
# is here becomes a part of those who cimport it.

cdef extern from *:
    """
    static const unsigned char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const unsigned char VALUE_OF[256] = { /* 255: it is no digit */
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,  62, 255, 255, 255,  63,
         52,  53,  54,  55,  56,  57,  58,  59,  60,  61, 255, 255, 255, 255, 255, 255,
        255,   0,   1,   2,   3,   4,   5,   6,   7,   8,   9,  10,  11,  12,  13,  14,
         15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25, 255, 255, 255, 255, 255,
        255,  26,  27,  28,  29,  30,  31,  32,  33,  34,  35,  36,  37,  38,  39,  40,
         41,  42,  43,  44,  45,  46,  47,  48,  49,  50,  51, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255
    };
    """
    const unsigned char* DIGITS
    const unsigned char* VALUE_OF


cdef inline void encode_small(const unsigned char* data, Py_ssize_t size, unsigned char* to) noexcept nogil:
    """Write (size + 2) / 3 * 4 characters of base64 (RFC 4648 §4)."""
    cdef Py_ssize_t at = 0
    cdef unsigned int word
    while at + 3 <= size:
        word = <unsigned int>data[at] << 16 | <unsigned int>data[at + 1] << 8 | data[at + 2]
        to[0] = DIGITS[word >> 18]
        to[1] = DIGITS[word >> 12 & 63]
        to[2] = DIGITS[word >> 6 & 63]
        to[3] = DIGITS[word & 63]
        to += 4
        at += 3
    if at < size:
        word = <unsigned int>data[at] << 16
        if at + 1 < size:
            word |= <unsigned int>data[at + 1] << 8
        to[0] = DIGITS[word >> 18]
        to[1] = DIGITS[word >> 12 & 63]
        to[2] = DIGITS[word >> 6 & 63] if at + 1 < size else c"="
        to[3] = c"="


cdef inline Py_ssize_t decode_small(const unsigned char* data, Py_ssize_t size, unsigned char* to) noexcept nogil:
    """Decode canonical base64 (RFC 4648 §3.5, §4) to at most size / 4 * 3 bytes; give their number, or -1."""
    cdef Py_ssize_t at = 0, n = 0
    cdef unsigned int a, b, c, d
    cdef int padding = 0
    if size == 0 or size & 3:
        return -1
    if data[size - 1] == c"=":
        padding = 2 if data[size - 2] == c"=" else 1
    while at < size - (4 if padding else 0):
        a = VALUE_OF[data[at]]
        b = VALUE_OF[data[at + 1]]
        c = VALUE_OF[data[at + 2]]
        d = VALUE_OF[data[at + 3]]
        if (a | b | c | d) & 0x80:
            return -1
        to[n] = <unsigned char>(a << 2 | b >> 4)
        to[n + 1] = <unsigned char>((b & 15) << 4 | c >> 2)
        to[n + 2] = <unsigned char>((c & 3) << 6 | d)
        n += 3
        at += 4
    if padding:
        a = VALUE_OF[data[at]]
        b = VALUE_OF[data[at + 1]]
        c = VALUE_OF[data[at + 2]] if padding == 1 else 0
        if (a | b | c) & 0x80 or (b & 15 if padding == 2 else c & 3):
            return -1
        to[n] = <unsigned char>(a << 2 | b >> 4)
        n += 1
        if padding == 1:
            to[n] = <unsigned char>((b & 15) << 4 | c >> 2)
            n += 1
    return n
