"""The headers of every answer of the mixer."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Telegram's web clients show Web Apps in frames.
_TELEGRAM = "https://web.telegram.org https://*.telegram.org"


class SecurityHeaders:
    """Adds the headers: the page loads nothing from outside, and only Telegram's pages may frame it.

    `sandbox_origin` is the origin of the sandbox's page, which may frame it, too; empty outside the sandbox.
    """

    def __init__(self, app: ASGIApp, sandbox_origin: str) -> None:
        self._app = app
        ancestors = f"{_TELEGRAM} {sandbox_origin}".strip()
        self._headers = {
            "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
            "connect-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; "
            f"frame-ancestors {ancestors}; require-trusted-types-for 'script'; trusted-types 'none'",
            "Permissions-Policy": "microphone=(), camera=(), geolocation=()",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)
