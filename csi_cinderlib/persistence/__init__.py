"""Where the records live: a protocol, and plugins that keep it."""
