cdef class Trie:
    cdef void *_root        # Node: where the walk begins
    cdef void *_whole       # Node: its literals are the urls of the templates without parameters
    cdef void *_nodes       # Node: the newest of all, a list through `older`, for the release of memory
    cdef list _kept         # every Python object that a node or leaf points to
    cdef Py_ssize_t _depth  # segments of the deepest template, at most MAX_SEGMENTS
    cdef readonly dict templates, verbs  # all that were inserted, as keys
    cdef bint _rest         # some template takes all the rest of a url: longer ones are searched for, too

    cpdef tuple match(self, object method, object url)
