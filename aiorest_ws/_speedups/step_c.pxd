cpdef object copy_context()
cpdef tuple first_step(object coroutine, object context, object loop, object task)
