"""The operator's command `mailbridge`."""
