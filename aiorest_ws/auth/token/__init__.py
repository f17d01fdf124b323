"""JSON Web Tokens (RFC 7519) on top of PyJWT: the extra `jwt`."""
