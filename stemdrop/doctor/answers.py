"""Who answers at the public address, and what became of a source on its way."""

import re
from http import HTTPStatus

import httpx

from stemdrop.doctor.asking import Answer, shown, words_of

PASS_ON = "let the proxy pass /callback, /source, /probe and /telegram on to the webhook, as they are"  # noqa: S105 - a sentence
_REDIRECTS = (301, 302, 303, 307, 308)


def described(answer: Answer) -> str:
    """Who answers what, in their words."""
    server = words_of(answer.headers.get("server", ""), 40)
    text = answer.body[:20_000].decode("utf-8", errors="replace")
    title = re.search(r"<title[^>]*>([^<]{1,200})", text, re.I)
    is_page = "html" in answer.headers.get("content-type", "")
    parts = [f"HTTP {answer.status}"]
    parts += [f"a page “{words_of(title.group(1), 60)}”" if title else "a web page"] if is_page else []
    parts += [f"from {server}"] if server else []
    return ", ".join(parts)


def somebody_else(answer: Answer) -> tuple[str, str]:
    """Who answers in the webhook's place, and what to do."""
    status, who = answer.status, described(answer)
    if status in _REDIRECTS:
        found = f"it redirects to {_target(answer)} (HTTP {status}), and a callback's body does not follow"
        return found, "write the address that answers itself in PUBLIC_URL, or take the redirect away"
    if status in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
        return f"POST is not let through: {who}", "let the proxy pass POST on to the webhook"
    if status in (401, 403, 407):
        found = f"somebody wants a login, or lets nobody in: {who}"
        return (
            found,
            "except /callback, /source, /probe and /telegram from logins and bot filters: they are signed",
        )
    if status == 503 and "Redis" in answer.field("detail"):
        return (
            "the webhook answers that it has no Redis",
            "see why the webhook does not reach Redis: its log says so",
        )
    if status in (502, 503, 504) or 520 <= status <= 530:
        found = f"a proxy answers that nobody is behind it: {who}"
        return (
            found,
            "start the webhook; if it runs, correct where the proxy passes requests on to (LISTEN_PORT)",
        )
    if answer.field("detail") and status in (408, 413, 422):
        found = f"the webhook does not get the body as it was sent: {answer.field('detail')}"
        return found, "let the proxy pass bodies on as they are, up to 1 MiB"
    if status == HTTPStatus.NOT_FOUND:
        found = f"who answers knows no such path: {who}"
        return found, f"{PASS_ON}; or is it another server, or an older stemdrop?"
    return f"somebody else answers: {who}", "let the name and the proxy lead to this webhook"


def _target(answer: Answer) -> str:
    try:
        return words_of(shown(str(answer.url.join(answer.headers.get("location", "")))), 100)
    except (httpx.InvalidURL, ValueError):
        return "somewhere"


def damage(answer: Answer, whole: bytes, start: int, end: int) -> str:
    """What happened to a part on its way; empty if nothing did."""
    part, got = whole[start:end], answer.body
    if encoding := answer.headers.get("content-encoding", ""):
        return f"it is compressed on its way ({words_of(encoding, 20)})"
    if answer.status == 200 and got == whole:
        return "ranges are taken away on its way: it comes whole"
    if answer.status != 206:
        return f"it does not come: HTTP {answer.status}"
    if got != part:
        return "it comes changed"
    if answer.headers.get("content-length") != str(end - start):
        return "it comes without Content-Length"
    expected = f"bytes {start}-{end - 1}/{len(whole)}"
    return (
        "" if answer.headers.get("content-range") == expected else "it comes without the right Content-Range"
    )
