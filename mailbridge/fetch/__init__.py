"""The fetcher: collects remote POP accounts on a timer and feeds local mail, as POPFetch did."""
