"""Message text: header fields, addresses, encoded words, MIME parts; read and written on octets, without I/O."""
