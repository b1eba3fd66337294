"""What programs that use mailbridge may test against: a network in memory and hostile servers."""
