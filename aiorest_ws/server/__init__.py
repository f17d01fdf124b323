"""Options → sockets that listen, connections that are served, and one end."""
