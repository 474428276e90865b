"""Read ini files with the loader for PasteDeploy files.

Plaster finds the loader of a file by reading the metadata of every installed package, which takes a third of
the time of a small command. Mailganer has files of one format.
"""

from pathlib import Path

from plaster import parse_uri
from plaster_pastedeploy import Loader


def open_ini(path: str | Path) -> Loader:
    """Return the loader of an ini file: its settings, its logging, and the application it describes."""
    return Loader(parse_uri(str(path)))
