"""The configuration: one strict TOML file (DESIGN 7)."""
