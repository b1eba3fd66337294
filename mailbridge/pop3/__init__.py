"""POP3, both sides, without sockets: octets in; octets, events and calls out (RFC 1939, RFC 2449)."""
