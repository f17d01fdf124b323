cpdef tuple first_step(object coroutine, object context, object loop, object task)
