"""The queue: when each delivery is tried, what a failure means, and who is told (DESIGN 4)."""
