"""What goes into a log: one line a request, and no more than a log can bear."""
