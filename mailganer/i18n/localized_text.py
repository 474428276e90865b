"""A text of the operator's that has versions in several languages, such as a plan's title."""

from collections.abc import Mapping


class LocalizedText(str):
    """A string for every language without a version of its own, with the versions of the others.

    Pages and sentences show the version in their language.
    """

    __slots__ = ("_versions",)

    _versions: Mapping[str, str]

    def __new__(cls, text: str, versions: Mapping[str, str] | None = None) -> "LocalizedText":
        self = super().__new__(cls, text)
        self._versions = dict(versions or {})
        return self

    def in_language(self, code: str) -> str:
        """Return the version for the code of a language."""
        return self._versions.get(code) or str(self)
