"""What the measurements share: sinks that take letters, and an installation to send them from."""
