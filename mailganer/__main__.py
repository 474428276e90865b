"""``python -m mailganer``: the same as the ``mailganer`` command."""

from .cli import main

main()
