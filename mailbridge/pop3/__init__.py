"""POP3, the server's side, without sockets: octets in; octets, iterators and calls out (RFC 1939, RFC 2449)."""
