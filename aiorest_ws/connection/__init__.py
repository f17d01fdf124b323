"""One connection: its opening, its frames, its protocol."""
