"""What `request.user` is unless the application has its own."""
