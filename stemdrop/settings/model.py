"""The settings: one frozen object, read once.

`make docs` writes names, defaults and descriptions into `.env.example` and docs/settings.md
(`tools.generate_settings_docs`).
"""

import base64
import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import Field, PrivateAttr

from stemdrop.http.proxies import Proxies
from stemdrop.http.signed_links import SignedLinks
from stemdrop.settings.providers import ProviderSettings
from stemdrop.settings.values import (
    Access,
    BotToken,
    Hosts,
    Ids,
    LogFormat,
    LogLevel,
    Networks,
    ProxyUrl,
    PublicUrl,
    RedisUrl,
    Seconds,
    Secret,
    Updates,
    Url,
    redis_options,
)

# Stemdrop warns of a `SECRET_KEY` with fewer characters.
SHORT_KEY = 16


class Settings(ProviderSettings):
    """The operator's settings; secrets do not show in `repr`. Times are in seconds."""

    telegram_bot_token: BotToken
    """The bot's token, from @BotFather."""

    secret_key: Secret
    """Signs links. Use a long random text, for example from `openssl rand -hex 32`, and the same for all
    processes."""

    public_url: PublicUrl = ""
    """The webhook's address on the internet, for example https://stems.example.org. Empty: nothing needs to
    reach this machine; songs are uploaded to the API and results polled."""

    listen_host: str = "0.0.0.0"  # noqa: S104 - the webhook is meant to be reached
    """The address on which the webhook listens."""

    listen_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port on which the webhook listens."""

    telegram_api_url: Url = "https://api.telegram.org"
    """The Bot API server: Telegram's, or your own (http://telegram:8081 with the profile bigfiles)."""

    telegram_local_mode: bool = False
    """Set it to true for your own Bot API server with --local: files up to 2,000 MB. Mount its folder under
    the same path for bot, webhook and worker."""

    telegram_updates: Updates = "polling"
    """How updates arrive. With polling, exactly one bot may run. With webhook, which needs PUBLIC_URL,
    several bots can share the work."""

    poll_after_s: Seconds = 120
    """After so many seconds without a callback, stemdrop polls the API for the job's result. Without
    PUBLIC_URL, and with a provider that sends none, only POLL_INTERVAL_S counts."""

    poll_interval_s: Seconds = 30
    """Seconds between two polls for the same job."""

    job_timeout_s: Seconds = 1800
    """After so many seconds without a result, a job ends and its user is told why."""

    stem_hosts: Hosts = frozenset()
    """Private hosts from which stems may be downloaded: host or host:port, separated by commas. All others
    must be public, with HTTPS on port 443; the origins of the providers are always
    allowed."""

    stem_networks: Networks = frozenset()
    """Address ranges from which stems may be downloaded although they are not public, separated by commas:
    198.18.0.0/15 where the resolver of a transparent proxy answers with made-up ("fake-IP") addresses."""

    access: Access = "invite"
    """Who may use the bot. With invite: admins, ALLOWED_USERS and users whom an admin admits in the chat,
    since every split spends your credits. With open: everyone."""

    admins: Ids = frozenset()
    """Telegram user ids of the admins, separated by commas. With ACCESS=invite and no admin yet, the bot
    prints a one-time link at start; the first user to open it becomes admin."""

    allowed_users: Ids = frozenset()
    """Telegram user or chat ids that may use the bot, separated by commas. Admins admit more in the chat with
    /users."""

    daily_credits: Annotated[int, Field(ge=0)] = 0
    """Credits that each user may spend per day; a song costs what its button says. 0: no limit. Admins can
    change it per user in the chat."""

    https_proxy: ProxyUrl = ""
    """The proxy for all HTTPS requests to the outside, stems included: http://host:port, https://, socks5://
    or socks5h://, with user:password@ if needed. The proxy then resolves the names. Private addresses, names
    without a dot and names such as nas.local are always reached directly."""

    http_proxy: ProxyUrl = ""
    """The same for requests without TLS."""

    all_proxy: ProxyUrl = ""
    """The proxy where HTTPS_PROXY or HTTP_PROXY is empty."""

    no_proxy: str = ""
    """Servers that are reached without a proxy, separated by commas: names with their subdomains, addresses,
    ranges, each with :port if needed; * for all."""

    redis_url: RedisUrl = "redis://localhost:6379/0"
    """Redis stores all jobs and tasks. Keep it private, with appendonly yes and maxmemory-policy noeviction.
    Use rediss:// for TLS and unix:// for a socket; in a password write # as %23, / as %2F, ? as %3F and @ as
    %40."""

    log_level: LogLevel = "INFO"
    """The lowest level that is logged."""

    log_format: LogFormat = "console"
    """Log lines as text, or as JSON for machines."""

    _warnings: tuple[str, ...] = PrivateAttr(())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return one line for each name that looks like a mistyped setting."""
        return self._warnings

    @property
    def proxies(self) -> Proxies:
        """Return the choice of the proxy for each server; `stem_hosts` are private and need none."""
        no_proxy = ",".join([self.no_proxy, *sorted(self.stem_hosts)])
        return Proxies(self.http_proxy or self.all_proxy, self.https_proxy or self.all_proxy, no_proxy)

    @property
    def max_source_bytes(self) -> int:
        """Return the size of a file that the bot may download (Bot API, getFile)."""
        return 2_000_000_000 if self.telegram_local_mode else 20 * 1024 * 1024

    @property
    def max_upload_bytes(self) -> int:
        """Return the size of a file that the bot may send (Bot API)."""
        return 2_000_000_000 if self.telegram_local_mode else 50 * 1024 * 1024

    @property
    def mixer_url(self) -> str:
        """Return the address of the mixer's page; empty where Telegram would refuse a button that opens it.

        Telegram takes HTTPS only, and a host with a dot (TDLib, `LinkManager`). The local Telegram takes HTTP
        on loopback, too.
        """
        parts = urlsplit(self.public_url)
        is_public = parts.scheme == "https" and any(sign in (parts.hostname or "") for sign in ".:")
        return f"{self.public_url}/mixer/" if is_public or self.sandbox_origin else ""

    @property
    def sandbox_origin(self) -> str:
        """Return the origin of the sandbox's page, which its local Telegram serves; empty outside of it."""
        is_local = _is_loopback(self.public_url) and _is_loopback(self.telegram_api_url)
        parts = urlsplit(self.telegram_api_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if is_local else ""

    @property
    def redis_address(self) -> str:
        """Return host and port, or the socket path, of Redis, without its password."""
        parts = urlsplit(self.redis_url)
        return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return all values that the log must hide."""
        token, key = self.telegram_bot_token.get_secret_value(), self.secret_key.get_secret_value()
        values = [
            token,
            token.partition(":")[2],  # the secret half; the other is the bot's public id
            *(key.get_secret_value() for key in self.provider_secrets),
            key,
            SignedLinks(key, "").updates_secret,
        ]
        servers = (self.telegram_api_url, self.separation_upload_url, self.redis_url, *self.provider_urls)
        for url in (*servers, self.https_proxy, self.http_proxy, self.all_proxy):
            values += _passwords(url)
        values += [str(value) for name, value in redis_options(self.redis_url).items() if "password" in name]
        # hiding a very short one would hide parts of ordinary words
        return tuple(dict.fromkeys(value for value in values if len(value) >= 6))


def _is_loopback(url: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
    return False


def _passwords(url: str) -> Iterator[str]:
    """Yield the password in a URL: percent-encoded, decoded, and as HTTP sends it (RFC 7617)."""
    parts = urlsplit(url)
    if parts.password:
        user, password = unquote(parts.username or ""), unquote(parts.password)
        yield parts.password
        yield password
        yield base64.b64encode(f"{user}:{password}".encode()).decode()
