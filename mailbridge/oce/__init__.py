"""The bridge to an Online Communication Engine: USDS messages and calls over HTTP/JSON."""
