# cython: language_level=3, binding=False
"""In: a method and a url. Out: the registered value and the path parameters, or the reason why there is none.

The compiled twin of `trie.py`, which specifies what it does. Here an ordinary url is not cut into Python strings: a
segment is a pointer and a size, literals are found in a hash table over their bytes, and only a leaf that matches makes
strings, those of its parameters.

Ownership: nodes and leaves are C memory that is released with the trie and never moves. The Python objects that they
point to are borrowed from `Trie._kept`, which only grows; the collector may empty it, and then nothing is looked at any
more. A walk creates no Python object and calls no Python code, but for converters (`converts`). One of those may insert
a template meanwhile: the walk holds no slot over the call, and whatever else it holds neither moves nor goes.

Bounds: a walk follows `search.count` segments and no more, at most one more than the depth of the deepest template
(SEGMENTS); no node is deeper than that, which also bounds its recursion. Where memory is read or written by offset, the line says what bounds it.
"""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from aiorest_ws.routing.converters import CONVERTERS
from aiorest_ws.routing.templates import MAX_SEGMENTS, PARAMETER, REST, Typed, join_rest, parse_template
from aiorest_ws.exceptions import EndpointValueError, IncorrectURL, MethodNotAllowed, NotSpecifiedHandler

__all__ = ("Trie",)

cdef extern from *:
    """
    #include <string.h>

    /* Before 3.12 a str made through long deprecated API may have no data yet. */
    #if PY_VERSION_HEX < 0x030C0000
    #define trie_ready(text) PyUnicode_READY(text)
    #else
    #define trie_ready(text) 0
    #endif

    /* PERF: PyUnicode_DATA without its questions, for what PyUnicode_New(size, 127) made. */
    #define trie_ascii_data(text) ((unsigned char *)((PyASCIIObject *)(text) + 1))

    /* Eight bytes as a number, the first of them lowest. */
    static CYTHON_INLINE uint64_t trie_word(const unsigned char *data) {
        uint64_t word;
        memcpy(&word, data, 8);
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
    #endif
        return word;
    }

    /* Which byte is the lowest with its high bit set; some has, and no byte has another bit. */
    static CYTHON_INLINE int trie_lowest(uint64_t bits) {
    #if defined(__GNUC__) || defined(__clang__)
        return __builtin_ctzll(bits) >> 3;
    #else
        int index = 0;
        for (; !(bits & 0x80); bits >>= 8) index++;
        return index;
    #endif
    }
    """
    int trie_ready(object text) except -1
    uint64_t trie_word(const unsigned char *data) nogil
    int trie_lowest(uint64_t bits) nogil
    unsigned char *trie_ascii_data(PyObject *text)
    int PyUnicode_CheckExact(object text)
    int PyUnicode_Check(object text)
    int PyUnicode_KIND(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    Py_UCS4 PyUnicode_READ(int kind, const void *data, Py_ssize_t index) nogil
    PyObject *PyUnicode_New(Py_ssize_t size, Py_UCS4 largest) except NULL
    PyObject *PyUnicode_FromKindAndData(int kind, const void *data, Py_ssize_t size) except NULL
    object text_from "PyUnicode_FromKindAndData"(int kind, const void *data, Py_ssize_t size)
    tuple PyTuple_New(Py_ssize_t size)
    void PyTuple_SET_ITEM(tuple items, Py_ssize_t index, PyObject *item)

cdef enum:
    SEGMENTS = 128  # as MAX_SEGMENTS

if MAX_SEGMENTS != SEGMENTS:
    raise ImportError("trie.py and trie_c.pyx differ in MAX_SEGMENTS")


cdef struct Segment:
    const unsigned char *data  # inside a str that the caller of the walk keeps alive
    Py_ssize_t size            # bytes
    uint64_t tail              # the last size % 8 bytes as a number, the first of them lowest
    int kind                   # bytes per character: 1, 2 or 4

cdef struct Leaf:
    Leaf *next           # the same template with another method
    PyObject *method     # str
    PyObject *template   # str
    PyObject *value
    PyObject *ready      # (value, ()) of a template without parameters, else NULL
    Py_ssize_t count     # segments that hold parameters
    unsigned char[SEGMENTS] indexes  # which they are, [0:count], each below the number of the template's segments
    Mixed **shapes       # how to take them apart, [0:count], NULL: a parameter and nothing else
    bint plain           # no shape but NULL

cdef struct Mixed:
    Mixed *next
    Node *node
    PyObject *part       # tuple of str, the literals around the parameters, or Typed
    PyObject *converters # of a Typed its tuple of converters and None, else NULL
    Segment *literals    # the same, [0:count], count > 1
    Py_ssize_t count     # 0: a parameter for all the rest of the url, the last of the list
    int first            # the character that the segment must begin with, -1: any
    int last             # and end with
    Py_ssize_t weight    # their characters: the heaviest is tried first,
    Py_ssize_t typed     # then the one with the most converters, then the oldest

cdef struct Slot:
    uint64_t hash
    Node *node           # NULL: the slot is free

cdef struct Node:
    Slot *slots          # open addressing with linear probing; the first place is hash >> shift
    Py_ssize_t longest   # bytes of the longest literal, -1: there is none and `slots` may be NULL
    int shift            # 64 - the binary logarithm of the number of slots
    Segment literal      # that leads here, inside a str in Trie._kept
    Node *parameter      # in a child of Trie._whole: the node that it stands for
    Mixed *mixed
    Leaf *leaves
    Py_ssize_t used      # slots, at most half of them
    Node *older

cdef struct Search:
    const Segment *segments
    Py_ssize_t count
    PyObject *method     # str, NULL: only whether any template matches is asked
    bint known           # some template matches, whatever its methods
    PyObject *held       # list, owned: by segment what its converters gave, and last what stopped one; NULL: none ran


cdef inline uint64_t tail_of(const unsigned char *data, Py_ssize_t size) noexcept nogil:
    """Give Segment.tail; reads data[0:size]."""
    cdef uint64_t tail = 0
    cdef Py_ssize_t index
    if size >= 8:
        return 0 if size & 7 == 0 else trie_word(data + size - 8) >> (64 - 8 * (size & 7))
    for index in range(size):
        tail |= <uint64_t>data[index] << (8 * index)
    return tail


cdef inline Segment segment_of(str text) noexcept:  # looks at memory only
    """View a whole str, which has to outlive the view."""
    cdef Segment segment
    segment.data = <const unsigned char *>PyUnicode_DATA(text)
    segment.kind = PyUnicode_KIND(text)
    segment.size = PyUnicode_GET_LENGTH(text) * segment.kind
    segment.tail = tail_of(segment.data, segment.size)
    return segment


cdef inline uint64_t hash_of(const Segment *segment) noexcept nogil:
    """Only templates are ever put into a table, so a client cannot make its chains longer."""
    cdef const unsigned char *data = segment.data
    cdef Py_ssize_t left = segment.size
    cdef uint64_t result = <uint64_t>left
    while left >= 8:
        result = (result ^ trie_word(data)) * <uint64_t>0x9e3779b97f4a7c15
        result ^= result >> 32
        data += 8
        left -= 8
    return (result ^ segment.tail) * <uint64_t>0x9e3779b97f4a7c15


cdef inline bint same(const Segment *left, const Segment *right) noexcept nogil:
    """Compare; a str has the smallest kind that holds it, so equal texts have equal kinds."""
    cdef Py_ssize_t index
    if left.size != right.size or left.tail != right.tail or left.kind != right.kind:
        return False
    for index in range(0, left.size - 7, 8):
        if trie_word(left.data + index) != trie_word(right.data + index):
            return False
    return True


cdef inline Node *find_literal(const Node *node, const Segment *segment) noexcept nogil:
    cdef uint64_t hash, index
    cdef Node *child
    if segment.size > node.longest:  # so no long segment is hashed in vain, and no missing table is read
        return NULL
    hash = hash_of(segment)
    index = hash >> node.shift
    while True:  # half of the slots are free, so one is met
        child = node.slots[index].node
        if child == NULL or (node.slots[index].hash == hash and same(&child.literal, segment)):
            return child
        index += 1
        if index >> (64 - node.shift):
            index = 0


cdef void put(Slot *slots, int shift, Slot new) noexcept nogil:
    cdef uint64_t index = new.hash >> shift
    while slots[index].node != NULL:
        index += 1
        if index >> (64 - shift):
            index = 0
    slots[index] = new


cdef int add_literal(Node *node, str literal, Node *child) except -1:
    """Lead from `node` to `child`; the caller keeps `literal` alive as long as the node and knows that it is new."""
    cdef Slot new
    cdef Slot *slots
    cdef Py_ssize_t index, size = <Py_ssize_t>1 << (64 - node.shift) if node.slots != NULL else 0
    cdef int shift
    if 2 * (node.used + 1) > size:
        shift = node.shift - 1 if size else 62
        slots = <Slot *>PyMem_Calloc(<size_t>1 << (64 - shift), sizeof(Slot))
        if slots == NULL:
            raise MemoryError()
        for index in range(size):
            if node.slots[index].node != NULL:
                put(slots, shift, node.slots[index])
        PyMem_Free(node.slots)
        node.slots = slots
        node.shift = shift
    child.literal = segment_of(literal)
    new.hash = hash_of(&child.literal)
    new.node = child
    put(node.slots, node.shift, new)
    node.used += 1
    node.longest = max(node.longest, child.literal.size)
    return 0


cdef inline Py_ssize_t length_of(const Segment *segment) noexcept nogil:
    return segment.size >> (segment.kind >> 1)  # 1, 2 or 4 bytes per character: 0, 1 or 2 bits


cdef inline bint stands_at(const Segment *segment, Py_ssize_t at, const Segment *literal) noexcept nogil:
    """Whether `literal` begins at character `at`; the caller knows that 0 <= at <= length - its length."""
    cdef Py_ssize_t index
    for index in range(length_of(literal)):
        if PyUnicode_READ(segment.kind, segment.data, at + index) != PyUnicode_READ(literal.kind, literal.data, index):
            return False
    return True


cdef inline Py_ssize_t end_of(const Mixed *mixed, const Segment *segment) noexcept nogil:
    """Where the last parameter ends if the segment begins and ends as it must, else -1."""
    cdef const Segment *first = &mixed.literals[0]
    cdef const Segment *last = &mixed.literals[mixed.count - 1]
    cdef Py_ssize_t end = length_of(segment) - length_of(last)
    # Where the first test fails, one of the literals may be longer than the segment: nothing is read then.
    if end <= length_of(first) or not stands_at(segment, end, last) or not stands_at(segment, 0, first):
        return -1
    return end


cdef inline Py_ssize_t before(
    const Mixed *mixed, Py_ssize_t index, const Segment *segment, Py_ssize_t end
) noexcept nogil:
    """Where literal `index` stands if it is as far right as a parameter up to `end` allows, else -1.

    The result is above the length of the first literal, as `end` is: a parameter before it has a character, too.
    """
    cdef const Segment *literal = &mixed.literals[index]
    cdef Py_ssize_t low = length_of(&mixed.literals[0])
    cdef Py_ssize_t at = end - 1 - length_of(literal)
    while at > low:
        if stands_at(segment, at, literal):
            return at
        at -= 1
    return -1


cdef inline bint may_fit(const Mixed *mixed, const Segment *segment) noexcept nogil:
    """Look at the ends of a segment that is not empty. PERF: rules out most of what `fits` would be called for."""
    return segment.kind != 1 or (
        (mixed.first == -1 or mixed.first == segment.data[0])
        and (mixed.last == -1 or mixed.last == segment.data[segment.size - 1])
    )


cdef bint fits(const Mixed *mixed, const Segment *segment) noexcept nogil:
    """Twin of `split_segment`, which says why there is nothing to take back; it only tells whether there are values."""
    cdef Py_ssize_t index, end = end_of(mixed, segment)
    for index in range(mixed.count - 2, 0, -1):
        if end < 0:
            break
        end = before(mixed, index, segment, end)
    return end >= 0


cdef inline object text_of(const Segment *segment, Py_ssize_t start, Py_ssize_t end):
    """Copy characters; 0 <= start <= end <= the segment's length."""
    return text_from(segment.kind, segment.data + start * segment.kind, end - start)


cdef list split(const Mixed *mixed, const Segment *segment):
    """Give the values of a segment that fits."""
    cdef list values = []
    cdef Py_ssize_t index, at, end = end_of(mixed, segment)
    for index in range(mixed.count - 2, 0, -1):
        at = before(mixed, index, segment, end)
        values.append(text_of(segment, at + length_of(&mixed.literals[index]), end))
        end = at
    values.append(text_of(segment, length_of(&mixed.literals[0]), end))
    values.reverse()
    return values


cdef bint converts(const Mixed *mixed, Search *search, Py_ssize_t index) noexcept:  # catches what a converter raises
    """Twin of `convert_segment`; keeps the values in `search.held`."""
    cdef list values, held
    cdef tuple converters = <tuple>mixed.converters
    cdef Py_ssize_t place
    cdef bint done = False
    if not fits(mixed, &search.segments[index]):
        return False
    try:
        if search.held == NULL:
            held = [None] * (search.count + 1)
            Py_INCREF(held)
            search.held = <PyObject *>held
        held = <list>search.held
        if held[search.count] is not None:
            return False
        values = split(mixed, &search.segments[index])
        for place in range(len(values)):
            if converters[place] is not None:
                values[place] = converters[place].convert(values[place])
        held[index] = values
        done = True
    except Exception:  # whatever a converter raises over a text of the client's: it does not fit
        pass
    except BaseException as exc:  # nothing may leave a walk, `match` raises it
        held[search.count] = exc
    return done


cdef inline Leaf *leaf_of(const Node *node, PyObject *method) noexcept:  # compares memory
    """Find the method among those of a template: a few, so a list."""
    cdef Leaf *leaf = node.leaves
    cdef Segment left, right
    while leaf != NULL and leaf.method != method:
        left = segment_of(<str>leaf.method)
        right = segment_of(<str>method)
        if same(&left, &right):
            break
        leaf = leaf.next
    return leaf


cdef inline Mixed *rest_of(const Node *node) noexcept nogil:
    """Find the parameter for all the rest of the url."""
    cdef Mixed *mixed = node.mixed
    while mixed != NULL and mixed.count:
        mixed = mixed.next
    return mixed


cdef inline Leaf *end_at(const Node *node, Search *search) noexcept:  # as `leaf_of`
    """Give the leaf of a node that the whole url leads to."""
    if node.leaves == NULL:
        return NULL
    search.known = True
    return leaf_of(node, search.method) if search.method != NULL else NULL


cdef Leaf *walk(const Node *node, Search *search, Py_ssize_t index) noexcept:  # as `converts` and `end_at`
    """Find the first leaf in order of precedence. Recursive only where there is a choice; no node is visited twice."""
    cdef Node *child
    cdef Mixed *mixed
    cdef Leaf *leaf
    cdef const Segment *segment
    while index < search.count:
        segment = &search.segments[index]
        index += 1
        child = find_literal(node, segment)
        if segment.size > 0:
            mixed = node.mixed
            if child == NULL and mixed == NULL:
                child = node.parameter
            elif mixed != NULL or node.parameter != NULL:
                if child != NULL:
                    leaf = walk(child, search, index)
                    if leaf != NULL:
                        return leaf
                while mixed != NULL and mixed.count:
                    if may_fit(mixed, segment) and (
                        fits(mixed, segment) if mixed.converters == NULL else converts(mixed, search, index - 1)
                    ):
                        leaf = walk(mixed.node, search, index)
                        if leaf != NULL:
                            return leaf
                    mixed = mixed.next
                child = node.parameter
                if mixed != NULL:
                    leaf = walk(child, search, index) if child != NULL else NULL
                    return leaf if leaf != NULL else end_at(mixed.node, search)
        elif node.mixed != NULL and index < search.count:
            leaf = walk(child, search, index) if child != NULL else NULL
            mixed = rest_of(node)
            return leaf if leaf != NULL or mixed == NULL else end_at(mixed.node, search)
        if child == NULL:
            return NULL
        node = child
    return end_at(node, search)


cdef inline void copy(unsigned char *to, const unsigned char *data, Py_ssize_t size) noexcept nogil:
    """Copy size > 0 bytes. PERF: short as they are, a call of memcpy costs more; the two halves may overlap."""
    cdef uint64_t a, b
    cdef uint32_t x, y
    if size > 16:
        memcpy(to, data, size)
    elif size >= 8:
        memcpy(&a, data, 8)
        memcpy(&b, data + size - 8, 8)
        memcpy(to, &a, 8)
        memcpy(to + size - 8, &b, 8)
    elif size >= 4:
        memcpy(&x, data, 4)
        memcpy(&y, data + size - 4, 4)
        memcpy(to, &x, 4)
        memcpy(to + size - 4, &y, 4)
    else:
        to[0] = data[0]
        to[size >> 1] = data[size >> 1]
        to[size - 1] = data[size - 1]


cdef tuple plain_result(const Leaf *leaf, const Segment *segments, bint ascii):
    """Make what `match` returns if every parameter is a whole segment.

    PERF: this is half of a match, so it works with plain references: PyTuple_SET_ITEM takes over the one to its item.
    """
    cdef tuple values = PyTuple_New(leaf.count)
    cdef PyObject *text
    cdef const Segment *segment
    cdef Py_ssize_t index
    for index in range(leaf.count):
        segment = &segments[leaf.indexes[index]]
        if ascii and segment.size > 1:  # a single character is an object that Python shares
            text = PyUnicode_New(segment.size, 127)
            copy(trie_ascii_data(text), segment.data, segment.size)
        else:
            text = PyUnicode_FromKindAndData(segment.kind, segment.data, length_of(segment))
        PyTuple_SET_ITEM(values, index, text)
    return (<object>leaf.value, values)


cdef tuple mixed_result(const Leaf *leaf, const Segment *segments, Py_ssize_t count, list held, list texts):
    """Make what `match` returns if some segment has to be taken apart, was converted, or is not the only one."""
    cdef list values = []
    cdef const Segment *segment
    cdef Py_ssize_t index, place
    for index in range(leaf.count):
        place = leaf.indexes[index]
        segment = &segments[place]
        if leaf.shapes[index] == NULL:
            values.append(text_of(segment, 0, length_of(segment)))
        elif leaf.shapes[index].count == 0:
            if texts is None:  # the segments lie in one url of kind 1
                values.append(text_from(1, segment.data, segments[count - 1].data + segments[count - 1].size - segment.data))
            else:
                values.append(join_rest(texts[place:]))
        elif leaf.shapes[index].converters != NULL:
            values += <list>held[place]
        else:
            values += split(leaf.shapes[index], segment)
    return (<object>leaf.value, tuple(values))


cdef list take_held(Search *search):
    """Take over what converters gave during a walk; raises what stopped one."""
    cdef list held = <list>search.held
    Py_DECREF(held)
    search.held = NULL
    if held[search.count] is not None:
        raise held[search.count]
    return held


cdef inline void note(
    Segment *segment, const unsigned char *url, Py_ssize_t size, Py_ssize_t start, Py_ssize_t end
) noexcept nogil:
    """Fill in the segment url[start:end] of kind 1; 0 <= start <= end <= size."""
    cdef Py_ssize_t tail = end - (end - start & 7)
    cdef Py_ssize_t at
    segment.data = url + start
    segment.size = end - start
    segment.kind = 1
    if size < 8:
        segment.tail = tail_of(segment.data, segment.size)
    else:
        # PERF: no branch on the length. The eight bytes at `tail` or, if they are not all in the url, its last eight,
        # without those before `tail` and those from `end` on. If tail == size, that is all of them: none is wanted.
        at = tail if tail < size - 8 else size - 8
        segment.tail = trie_word(url + at) >> (8 * (tail - at) & 63) & ~(~<uint64_t>0 << 8 * (end - tail))


cdef inline Py_ssize_t cut(
    const unsigned char *url, Py_ssize_t size, Segment *segments, Py_ssize_t most
) noexcept nogil:
    """Find the segments of a url of kind 1 and give their count, or -1 for `cut_wide` to look into it.

    That is a url with a byte that is not from U+0020 to `z` (so no brace and no control character comes through here),
    one without a first slash, and one of too many segments: segments[0:most] is all that is written to.
    """
    cdef uint64_t word, low, slashes, odd = 0
    cdef Py_ssize_t at, left, slash, begin = 1, count = 0
    while size > 0 and url[0] == c" ":
        url += 1
        size -= 1
    while size > 0 and url[size - 1] == c" ":
        size -= 1
    if size == 0:
        return 0
    if url[0] != c"/":
        return -1
    for at in range(1, size, 8):
        left = size - at
        if left >= 8:
            word = trie_word(url + at)
        else:  # 1 to 7 bytes, filled up with spaces
            word = <uint64_t>0x2020202020202020 << 8 * left
            word |= trie_word(url + size - 8) >> (64 - 8 * left) if size >= 8 else tail_of(url + at, left)
        # Eight bytes at a time; no sum of two bytes carries into the next. The high bits tell of bytes from 0x80 on,
        # of low bits from 0x7b on, of low bits not from 0x20 on; and then of slashes.
        low = word & <uint64_t>0x7f7f7f7f7f7f7f7f
        odd |= word | (low + <uint64_t>0x0505050505050505) | ~(low + <uint64_t>0x6060606060606060)
        slashes = ~((low ^ <uint64_t>0x2f2f2f2f2f2f2f2f) + <uint64_t>0x7f7f7f7f7f7f7f7f) & <uint64_t>0x8080808080808080
        while slashes:
            if count == most:
                return -1
            slash = at + trie_lowest(slashes)  # below size, as spaces follow
            note(&segments[count], url, size, begin, slash)
            count += 1
            begin = slash + 1
            slashes &= slashes - 1
    if begin < size:
        if count == most:
            return -1
        note(&segments[count], url, size, begin, size)
        count += 1
    return -1 if odd & <uint64_t>0x8080808080808080 else count


cdef Py_ssize_t cut_wide(str url, Segment *segments, Py_ssize_t most, bint rest, list texts) except? -1:
    """The same for any url; `texts` keeps alive what the segments point to. Raises what `match` raises, too.

    With `rest`, what comes after the first `most` segments is one more: segments[0:most + 1] is written to.

    A str of its own brings each segment down to its smallest kind, in which a literal is kept.
    """
    cdef int kind = PyUnicode_KIND(url)
    cdef const void *data = PyUnicode_DATA(url)
    cdef Py_ssize_t index
    cdef Py_UCS4 code
    cdef bint brace = False
    cdef list parts
    for index in range(PyUnicode_GET_LENGTH(url)):
        code = PyUnicode_READ(kind, data, index)
        if code < 0x20 or code == 0x7f:
            raise IncorrectURL("url contains a control character")
        brace |= code == c"{" or code == c"}"
    parts = url.strip(" ").split("/", most + 1)
    if not parts[-1]:
        del parts[-1]
    if brace or (parts and parts[0]) or <Py_ssize_t>len(parts) - 1 > most + rest:
        raise NotSpecifiedHandler()
    for index in range(1, len(parts)):  # at most `most + rest`, as split was told
        texts.append(parts[index])
        segments[index - 1] = segment_of(<str>parts[index])
    return max(<Py_ssize_t>len(parts) - 1, 0)


cdef inline int check(Trie trie) except -1:
    """Refuse to work while the collector takes the trie apart: what the nodes point to may be gone."""
    if not trie._kept:
        raise ReferenceError("the trie is being collected")
    return 0


cdef Node *new_node(Trie trie) except NULL:
    cdef Node *node = <Node *>PyMem_Calloc(1, sizeof(Node))
    if node == NULL:
        raise MemoryError()
    node.longest = -1
    node.older = <Node *>trie._nodes
    trie._nodes = node
    return node


cdef Mixed *mixed_of(const Node *node, object part) except? NULL:
    cdef Mixed *mixed = node.mixed
    while mixed != NULL and <object>mixed.part != part:
        mixed = mixed.next
    return mixed


cdef Node *child_of(const Node *node, object part) except? NULL:
    """Give the child for a segment of a template."""
    cdef Segment segment
    cdef Mixed *mixed
    if type(part) is str:
        segment = segment_of(<str>part)
        return find_literal(node, &segment)
    if part == PARAMETER:
        return node.parameter
    mixed = mixed_of(node, part)
    return mixed.node if mixed != NULL else NULL


cdef inline bint before_in_trial(const Mixed *new, const Mixed *old) noexcept nogil:
    return new.weight > old.weight or (new.weight == old.weight and new.typed > old.typed)


cdef Node *add_child(Trie trie, Node *node, object part) except NULL:
    """Create that child."""
    cdef Node *child = new_node(trie)
    cdef Mixed *new
    cdef Mixed **place
    trie._kept.append(part)
    if type(part) is str:
        add_literal(node, <str>part, child)
    elif part == PARAMETER:
        node.parameter = child
    else:
        literals = () if part == REST else part.literals if isinstance(part, Typed) else part
        new = <Mixed *>PyMem_Calloc(1, sizeof(Mixed))
        if new == NULL:
            raise MemoryError()
        new.literals = <Segment *>PyMem_Calloc(len(literals), sizeof(Segment))
        if new.literals == NULL:
            PyMem_Free(new)
            raise MemoryError()
        for literal in literals:
            new.literals[new.count] = segment_of(literal)
            new.weight += len(literal)
            new.count += 1
        new.part = <PyObject *>part
        new.first = ord(literals[0][0]) if literals and literals[0] else -1
        new.last = ord(literals[-1][-1]) if literals and literals[-1] else -1
        if not literals:
            new.weight = -1
        elif literals is not part:
            new.converters = <PyObject *>part.converters
            new.typed = len(part.converters) - part.converters.count(None)
        new.node = child
        place = &node.mixed
        while place[0] != NULL and not before_in_trial(new, place[0]):
            place = &place[0].next
        new.next = place[0]
        place[0] = new
    return child


cdef int add_whole(Trie trie, str url, Node *node) except -1:
    """Let a url as it comes lead to the node of a template without parameters."""
    cdef Segment segment = segment_of(url)
    cdef Node *alias
    if find_literal(<Node *>trie._whole, &segment) == NULL:
        alias = new_node(trie)
        alias.parameter = node
        trie._kept.append(url)
        add_literal(<Node *>trie._whole, url, alias)
    return 0


cdef Node *node_of(Trie trie, list parts) except? NULL:
    cdef Node *node = <Node *>trie._root
    check(trie)
    for part in parts:
        node = child_of(node, part)
        if node == NULL:
            break
    return node


@cython.final
@cython.auto_pickle(False)
cdef class Trie:
    """Templates with their methods and values; see `trie.Trie`."""

    def __cinit__(self):
        self._kept = [None]  # never empty as long as the trie can be used
        self.templates = {}
        self.verbs = {}
        self._root = new_node(self)
        self._whole = new_node(self)

    def __dealloc__(self):
        cdef Node *older
        cdef Node *node = <Node *>self._nodes
        cdef Leaf *leaf
        cdef Mixed *mixed
        while node != NULL:
            while node.leaves != NULL:
                leaf = node.leaves
                node.leaves = leaf.next
                PyMem_Free(leaf.shapes)
                PyMem_Free(leaf)
            while node.mixed != NULL:
                mixed = node.mixed
                node.mixed = mixed.next
                PyMem_Free(mixed.literals)
                PyMem_Free(mixed)
            older = node.older
            PyMem_Free(node.slots)
            PyMem_Free(node)
            node = older

    def insert(self, template, method, value, converters=CONVERTERS):
        """Add a template that starts and ends with `/`; EndpointValueError if it is malformed or already there."""
        cdef list parts = parse_template(template, converters)
        cdef Node *node = <Node *>self._root
        cdef Node *child
        cdef Leaf *leaf
        cdef Py_ssize_t index
        if len(parts) > SEGMENTS:  # parse_template saw to it; but memory depends on it
            raise EndpointValueError(f"template of more than {SEGMENTS} segments")
        check(self)
        template = str.__str__(template)
        method = str.__str__(method)
        trie_ready(template)
        trie_ready(method)
        for part in parts:
            child = child_of(node, part)
            node = child if child != NULL else add_child(self, node, part)
        leaf = leaf_of(node, <PyObject *>method)
        if leaf != NULL:  # then no node was added either: nothing has changed
            other = <object>leaf.template
            raise EndpointValueError(f"duplicate template '{template}' for {method}, already registered as '{other}'")
        ready = (value, ())
        self._kept.append((template, method, ready))
        leaf = <Leaf *>PyMem_Calloc(1, sizeof(Leaf))
        if leaf == NULL:
            raise MemoryError()
        leaf.shapes = <Mixed **>PyMem_Calloc(len(parts) + 1, sizeof(void *))
        if leaf.shapes == NULL:
            PyMem_Free(leaf)
            raise MemoryError()
        leaf.method = <PyObject *>method
        leaf.template = <PyObject *>template
        leaf.value = <PyObject *>value
        leaf.plain = True
        node = <Node *>self._root
        for index in range(len(parts)):  # at most SEGMENTS
            if type(parts[index]) is not str:
                leaf.indexes[leaf.count] = index
                leaf.shapes[leaf.count] = mixed_of(node, parts[index])
                leaf.plain = leaf.plain and leaf.shapes[leaf.count] == NULL
                leaf.count += 1
            node = child_of(node, parts[index])
        if leaf.count == 0:
            leaf.ready = <PyObject *>ready
        leaf.next = node.leaves
        node.leaves = leaf
        self.templates[template] = self.verbs[method] = None
        self._depth = max(self._depth, <Py_ssize_t>len(parts))
        self._rest = self._rest or (len(parts) > 0 and parts[-1] == REST)
        if leaf.count == 0:
            add_whole(self, template, node)
            # Without its last slash `//` would be another template, and a space at the end is stripped.
            if not template[:-1].endswith(("/", " ")):
                add_whole(self, template[:-1], node)

    def find(self, template, method, converters=CONVERTERS):
        """Give the registered template that `insert` would clash with."""
        cdef Node *node = node_of(self, parse_template(template, converters))
        cdef Leaf *leaf
        method = str.__str__(method)
        trie_ready(method)
        leaf = leaf_of(node, <PyObject *>method) if node != NULL else NULL
        return <object>leaf.template if leaf != NULL else None

    cpdef tuple match(self, object method, object url):
        """Give the value and the path parameters in template order; see `trie.Trie.match` for the errors."""
        cdef Segment[SEGMENTS + 1] segments
        cdef Segment whole
        cdef Search search
        cdef Node *node
        cdef Leaf *leaf
        cdef list texts = None
        cdef list held = None
        cdef bint ascii
        if not PyUnicode_CheckExact(url):
            url = str.__str__(url)
        if not PyUnicode_CheckExact(method):
            method = str.__str__(method) if PyUnicode_Check(method) else None
        check(self)
        trie_ready(url)
        search.method = NULL
        if method is not None:
            trie_ready(method)
            search.method = <PyObject *>method
        whole = segment_of(<str>url)
        node = find_literal(<Node *>self._whole, &whole)
        if node != NULL and search.method != NULL:
            leaf = leaf_of(node.parameter, search.method)
            if leaf != NULL:
                return <tuple>leaf.ready
        search.count = cut(whole.data, whole.size, segments, self._depth) if whole.kind == 1 else -1
        ascii = search.count >= 0
        if not ascii:
            texts = []
            search.count = cut_wide(<str>url, segments, self._depth, self._rest, texts)
        search.segments = segments
        search.known = False
        search.held = NULL
        leaf = walk(<Node *>self._root, &search, 0)
        if search.held != NULL:
            held = take_held(&search)
        if leaf == NULL and search.known and method is not None and method.isascii():
            usual = method.strip(" ").upper()
            search.method = <PyObject *>usual
            leaf = walk(<Node *>self._root, &search, 0)
            if search.held != NULL:
                held = take_held(&search)
        if leaf == NULL:
            raise MethodNotAllowed() if search.known else NotSpecifiedHandler()
        if leaf.ready != NULL:
            return <tuple>leaf.ready
        if leaf.plain:
            return plain_result(leaf, segments, ascii)
        return mixed_result(leaf, segments, search.count, held, texts)
