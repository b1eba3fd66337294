"""What an operator can ask of the bridge, and the control socket it is asked through."""
