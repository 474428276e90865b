"""What the measurements share: sinks that take emails, and an installation to send them from."""
