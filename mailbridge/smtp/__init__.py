"""SMTP on the wire, without I/O (RFC 5321)."""
