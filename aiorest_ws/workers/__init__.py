"""One program → several processes that serve: a supervisor, its workers, and the channels between them."""
