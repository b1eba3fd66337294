"""Users: their directory, their passwords and who may log in how often."""
