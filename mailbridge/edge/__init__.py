"""Where the wire meets the bridge: protocols, factories and listeners under twisted.mail's interfaces."""
