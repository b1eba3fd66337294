"""SASL, the server's side (RFC 4422): mechanisms as pure exchanges of octets, for SMTP and POP3 alike."""
