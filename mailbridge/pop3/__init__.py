"""POP3 on the wire, without I/O (RFC 1939, RFC 2449)."""
