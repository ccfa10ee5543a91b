"""Checks the URL for an upload that a provider's answer names: a signed URL of its storage."""

import ipaddress

import httpx

# Longer than any signed URL, with the tokens that some storages put into it.
MAX_UPLOAD_URL = 8192


def upload_url(value: object, api_url: str) -> str:
    """Return the URL unchanged, since it is signed, if it is public with HTTPS or at the API's own origin.

    Returns an empty text for anything else.
    """
    try:
        url = httpx.URL(value) if isinstance(value, str) and len(value) <= MAX_UPLOAD_URL else httpx.URL("")
    except (httpx.InvalidURL, ValueError):
        return ""
    is_public = url.scheme == "https" and _is_public(url.host)
    return str(value) if is_public or _origin(url) == _origin(httpx.URL(api_url)) else ""


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:  # a name
        return "." in host


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
