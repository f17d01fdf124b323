"""Path templates, the types of their parameters, urls made of them, and what to say where none fits."""
