"""A handler → the `Plan` of its requests, or what is wrong with it."""
