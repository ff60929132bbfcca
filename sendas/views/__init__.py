"""A person's own settings: the addresses to send from. Every page works without JavaScript."""
