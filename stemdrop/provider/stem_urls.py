"""Quotes the URLs of stems, whose file names may contain the songs' titles unquoted."""

import re
from urllib.parse import quote, urlsplit, urlunsplit

MAX_URL = 2048

_SOUND = r"\.(?:mp3|wav|flac|m4a|aac|ogg|opus|aiff?|mp4|webm|zip)"
# A query begins after a file name; before that, `?` belongs to the name.
_QUERY = re.compile(rf"{_SOUND}\?", re.IGNORECASE)
_ENDS_AS_SOUND = re.compile(rf"{_SOUND}(?=$|#)", re.IGNORECASE)
# A URL that needs no quoting.
_PLAIN = re.compile(r"https?://[\w.-]+(?::\d+)?(?:/[\w.~-]+)*/?", re.ASCII)
_FIELD = re.compile(r"[\w.\-\[\]%]+=")
_IMAGE = re.compile(r"\.(?:jpe?g|png|webp|gif|svg|avif)$", re.IGNORECASE)
_SAFE = "/:@!$&'()*+,;=~%-._"


def stem_url(value: object) -> str:
    """Return a URL, quoted where needed (some have spaces, `#`, `?`); an empty text for anything else."""
    if not isinstance(value, str) or not 0 < len(url := value.strip()) <= MAX_URL:
        return ""
    return url if _PLAIN.fullmatch(url) else _quoted(url)


def _quoted(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return ""
        # no host name has these, and half a surrogate pair cannot be stored
        if not parts.netloc.isprintable() or " " in parts.netloc:
            return ""
        rest = urlunsplit(("", "", parts.path, parts.query, parts.fragment))
        path, query = _split(rest)
        path = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", path)
        path, query = quote(path, safe=_SAFE), quote(query, safe=_SAFE + "?")
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def is_image(url: object) -> bool:
    """Whether the URL names a picture."""
    return isinstance(url, str) and bool(_IMAGE.search(url.partition("?")[0]))


def _split(rest: str) -> tuple[str, str]:
    """Split path and query, without a fragment.

    `?` and `#` before a sound file's ending belong to its name. A query after the ending, or of `name=value`
    pairs, stays as it is: it may be signed.
    """
    if ending := _QUERY.search(rest):
        return rest[: ending.end() - 1], rest[ending.end() :].partition("#")[0]
    path, _, query = rest.partition("?")
    if "#" not in path and _FIELD.match(query):
        return path, query.partition("#")[0]
    if endings := [*_ENDS_AS_SOUND.finditer(rest)]:
        return rest[: endings[-1].end()], ""
    path, _, query = rest.partition("#")[0].partition("?")
    return path, query
