"""What stands at the head of a connection: who is there, from where, and whether it may."""
