"""No-break spaces in texts of pages: a short Russian word does not end a line, and a variable stays whole."""

import re
from functools import lru_cache

NO_BREAK = "\N{NO-BREAK SPACE}"
_SHORT_WORD = re.compile(r"(?<![^\s«„“(>])(?!(?:же|бы|ли|ж|б)\b)([а-яё]{1,2})[ \n](?=\S)", re.IGNORECASE)
_VARIABLE = re.compile(r"\{\{ ([^{}\s]+) \}\}")


@lru_cache(maxsize=4096)  # as many as there are texts in two languages
def unbroken_text(text: str) -> str:
    """Join short Russian words to the next word, and a variable's name to its braces."""
    return unbroken_variables(_SHORT_WORD.sub(rf"\1{NO_BREAK}", text))


def unbroken_variables(text: str) -> str:
    """Join the braces of variables to their names: templates accept these spaces as well."""
    return _VARIABLE.sub(rf"{{{{{NO_BREAK}\1{NO_BREAK}}}}}", text) if "{{" in text else text
