"""A small OCE of our own: members, applications, queues, and other tribes, over HTTP/JSON."""
