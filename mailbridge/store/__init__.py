"""The store: one transactional place for everything durable (DESIGN 4; the state table is in INTERNALS.rst)."""
