"""Who gets a message: the routing table, access lists, and the intake that every edge hands mail to."""
