"""Shared by the benchmarks: sinks that accept emails, and an installation to send from."""
