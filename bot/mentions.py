"""Whether a text asks this bot for something."""

import re


def names_bot(text: str, username: str) -> bool:
    """Whether `/stems`, `/stems@bot` or `@bot` stands in the text as a word of its own."""
    name = re.escape(username)
    return re.search(rf"(?<![\w@/])(/stems(@{name})?|@{name})(?![\w@])", text, re.IGNORECASE) is not None
