"""Explains responses that do not come from the webhook, and sources that were changed on their way."""

import re
from http import HTTPStatus

import httpx

from stemdrop.doctor.server_requests import Response, origin, quoted

PASS_ON = "let the proxy forward /callback, /source, /probe, /mixer and /telegram to the webhook unchanged"  # noqa: S105 - a sentence
_REDIRECTS = (301, 302, 303, 307, 308)


def described(response: Response) -> str:
    """Return the status of a response, its page's title and its server, as the end of a sentence."""
    server = quoted(response.headers.get("server", ""), 40)
    text = response.body[:20_000].decode("utf-8", errors="replace")
    title = re.search(r"<title[^>]*>([^<]{1,200})", text, re.I)
    is_page = "html" in response.headers.get("content-type", "")
    parts = [f"HTTP {response.status}"]
    parts += [f"a page “{quoted(title.group(1), 60)}”" if title else "a web page"] if is_page else []
    parts += [f"from {server}"] if server else []
    return ", ".join(parts)


def foreign_response(response: Response) -> tuple[str, str]:
    """Explain a response that is not the webhook's; returns what was found, and the advice."""
    status, who, detail = response.status, described(response), response.field("detail")
    if status in _REDIRECTS:
        found = f"it redirects to {_target(response)} (HTTP {status}), and a redirect drops a callback's body"
        return found, "write the final address in PUBLIC_URL, or remove the redirect"
    if status in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
        return f"POST is not allowed: {who}", "let the proxy forward POST to the webhook"
    if status in (401, 403, 407):
        found = f"a login or a filter blocks requests: {who}"
        return found, "exempt /callback, /source, /probe, /mixer and /telegram, which are signed, from it"
    if status == 503 and "Redis" in detail:
        return "the webhook answers that it cannot reach Redis", "look at the webhook's log for the reason"
    if status in (502, 503, 504) or 520 <= status <= 530:
        found = f"a proxy answers that it cannot reach the webhook: {who}"
        return found, "start the webhook; if it runs, correct the proxy's target (LISTEN_PORT)"
    if detail and status in (408, 413, 422):
        found = f"the webhook does not receive the body as it was sent: {detail}"
        return found, "let the proxy forward bodies unchanged, up to 1 MiB"
    if status == HTTPStatus.NOT_FOUND:
        found = f"the server does not know this path: {who}"
        return found, f"{PASS_ON}; or is it another server, or an older stemdrop?"
    return f"another server answers: {who}", "point the name and the proxy to this webhook"


def _target(response: Response) -> str:
    try:
        return quoted(origin(str(response.url.join(response.headers.get("location", "")))), 100)
    except (httpx.InvalidURL, ValueError):
        return "an unreadable address"


def damage(response: Response, whole: bytes, start: int, end: int) -> str:
    """Return how the range `start` to `end` (exclusive) of `whole` was changed on its way; empty if not."""
    part, got = whole[start:end], response.body
    if encoding := response.headers.get("content-encoding", ""):
        return f"the proxy compresses it ({quoted(encoding, 20)})"
    if response.status == 200 and got == whole:
        return "the proxy ignores the Range header: the whole file arrives"
    if response.status != 206:
        return f"it does not arrive: HTTP {response.status}"
    if got != part:
        return "its content is changed"
    expected = {"content-length": str(end - start), "content-range": f"bytes {start}-{end - 1}/{len(whole)}"}
    wrong = [name for name, value in expected.items() if response.headers.get(name) != value]
    return f"it arrives without the right {' and '.join(wrong)}" if wrong else ""
