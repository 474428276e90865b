"""Names with a meaning of their own in templates."""

NEVER_READ = frozenset(
    [
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "elif",
        "else",
        "for",
        "set",
        "true",
        "false",
        "none",
        "loop",
        "self",
    ]
)
"""A variable of such a name could never be read."""

TAGS = frozenset(
    [
        "endif",
        "endfor",
        "super",
        "caller",
        "block",
        "macro",
        "call",
        "filter",
        "include",
        "import",
        "from",
        "extends",
        "with",
        "without",
        "raw",
        "do",
        "break",
        "continue",
        "recursive",
        "as",
    ]
)
"""Keywords in a tag, otherwise ordinary variable names."""
