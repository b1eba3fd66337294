"""Logs beside the process's own: lines by level into dated files, the console and syslog."""
