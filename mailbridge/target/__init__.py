"""Ways out of the bridge. A target tries a delivery and returns an outcome for each recipient."""
