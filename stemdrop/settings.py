"""The settings: one frozen object, read once. Its errors name the setting that is missing or wrong.

`make docs` writes names, defaults and descriptions into `.env.example` and docs/settings.md
(`tools.generate_settings_docs`).
"""

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from redis.connection import parse_url

from stemdrop.errors import SettingsError
from stemdrop.http.signed_links import SignedLinks

# Stemdrop warns of a `SECRET_KEY` with fewer characters.
SHORT_KEY = 16
# By the API's host: where sources are uploaded when there is no public URL to fetch them from.
UPLOAD_URLS = {
    "api.sunoapi.org": "https://sunoapiorg.redpandaai.co",
    "api.kie.ai": "https://kieai.redpandaai.co",
}


class Address(str):
    """A URL whose `repr` hides user, password and query."""

    __slots__ = ()

    def __repr__(self) -> str:
        parts = urlsplit(self)
        user, _, host = parts.netloc.rpartition("@")
        shown = parts._replace(netloc=f"***@{host}" if user else host, query="***" if parts.query else "")
        return repr(shown.geturl())


def _http_url(value: str) -> str:
    problem = "must be an http:// or https:// URL without query"
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError for an invalid port
    except ValueError:  # its text may hold a password
        raise ValueError(problem) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(problem)
    return Address(value.rstrip("/"))


def _optional_http_url(value: str) -> str:
    return _http_url(value) if value else ""


def _redis_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        if parts.scheme in ("redis", "rediss", "unix"):
            _ = _redis_options(value), parts.port
            return Address(value)
    except ValueError:  # its text may hold the password
        raise ValueError("has a wrong port or an option that Redis does not know") from None
    raise ValueError("must be a redis://, rediss:// or unix:// URL")


def _redis_options(url: str) -> dict[str, Any]:
    return dict(parse_url(url))  # type: ignore[no-untyped-call]


def _ids(value: str) -> frozenset[int]:
    try:
        return frozenset(int(part) for part in re.split(r"[,\s]+", value) if part)
    except ValueError:
        raise ValueError("must be Telegram ids (numbers), separated by commas") from None


def _bot_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"\d+:[\w-]+", value.get_secret_value(), re.ASCII):
        raise ValueError("does not look like a bot token (digits, a colon, letters)")
    return value


def _header_value(value: SecretStr) -> SecretStr:
    # httpx would quote an invalid header value in its error
    if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
        raise ValueError("must consist of ASCII letters, digits and punctuation, without spaces")
    return value


def _hosts(value: str) -> frozenset[str]:
    return frozenset(host.strip().lower() for host in value.split(",") if host.strip())


Url = Annotated[str, AfterValidator(_http_url)]
OptionalUrl = Annotated[str, AfterValidator(_optional_http_url)]
Secret = Annotated[SecretStr, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0)]
Ids = Annotated[frozenset[int], BeforeValidator(_ids)]


class Settings(BaseModel):
    """The operator's settings; secrets do not show in `repr`. Times are in seconds."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    telegram_bot_token: Annotated[Secret, AfterValidator(_bot_token)]
    """The bot's token, from @BotFather."""

    separation_api_key: Annotated[Secret, AfterValidator(_header_value)]
    """The key of the separation API. For your own separator, choose any word."""

    secret_key: Secret
    """Signs links. Use a long random text, for example from `openssl rand -hex 32`, and the same for all
    processes."""

    public_url: OptionalUrl = ""
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

    telegram_updates: Literal["polling", "webhook"] = "polling"
    """How updates arrive. With polling, exactly one bot may run. With webhook, which needs PUBLIC_URL,
    several bots can share the work."""

    separation_api_url: Url = "https://api.sunoapi.org"
    """The separation API: https://api.sunoapi.org, https://api.kie.ai, or your own separator
    (http://separator:8001 with the profile selfhosted)."""

    separation_upload_url: OptionalUrl = ""
    """Where songs are uploaded when PUBLIC_URL is empty. Empty: chosen by the API's host."""

    callback_hmac_key: SecretStr = SecretStr("")
    """The provider's key for webhook signatures, if you enabled them there. When set, a callback without a
    valid and recent signature is refused."""

    poll_after_s: Seconds = 120
    """After so many seconds without a callback, stemdrop polls the API for the job's result. Without
    PUBLIC_URL there are no callbacks, and only POLL_INTERVAL_S counts."""

    poll_interval_s: Seconds = 30
    """Seconds between two polls for the same job."""

    job_timeout_s: Seconds = 1800
    """After so many seconds without a result, a job ends and its user is told why."""

    stem_hosts: Annotated[frozenset[str], BeforeValidator(_hosts)] = frozenset()
    """Private hosts from which stems may be downloaded: host or host:port, separated by commas. All others
    must be public, with HTTPS on port 443; the origin of SEPARATION_API_URL is always allowed."""

    access: Literal["invite", "open"] = "invite"
    """Who may use the bot. With invite: admins, ALLOWED_USERS and users whom an admin admits in the chat,
    since every split spends your credits. With open: everyone."""

    admins: Ids = frozenset()
    """Telegram user ids of the admins, separated by commas. With ACCESS=invite and no admin yet, the bot
    prints a one-time link at start; the first user to open it becomes admin."""

    allowed_users: Ids = frozenset()
    """Telegram user or chat ids that may use the bot, separated by commas. Admins admit more in the chat with
    /users."""

    daily_credits: Annotated[int, Field(ge=0)] = 0
    """Credits that each user may spend per day; a song costs 10, 20 or 50 by mode. 0: no limit. Admins can
    change it per user in the chat."""

    redis_url: Annotated[str, AfterValidator(_redis_url)] = "redis://localhost:6379/0"
    """Redis stores all jobs and tasks. Keep it private, with appendonly yes and maxmemory-policy noeviction.
    Use rediss:// for TLS and unix:// for a socket."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level that is logged."""

    log_format: Literal["console", "json"] = "console"
    """Log lines as text, or as JSON for machines."""

    @property
    def upload_url(self) -> str:
        """Return where sources are uploaded when `public_url` is empty."""
        host = urlsplit(self.separation_api_url).hostname or ""
        return self.separation_upload_url or UPLOAD_URLS.get(host, self.separation_api_url)

    @property
    def max_source_bytes(self) -> int:
        """Return the size of a file that the bot may download (Bot API, getFile)."""
        return 2_000_000_000 if self.telegram_local_mode else 20 * 1024 * 1024

    @property
    def max_upload_bytes(self) -> int:
        """Return the size of a file that the bot may send (Bot API)."""
        return 2_000_000_000 if self.telegram_local_mode else 50 * 1024 * 1024

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
            self.separation_api_key.get_secret_value(),
            key,
            SignedLinks(key, "").updates_secret,
            self.callback_hmac_key.get_secret_value(),
        ]
        for url in (self.telegram_api_url, self.separation_api_url, self.separation_upload_url):
            values += _passwords(url)
        values += [*_passwords(self.public_url), *_passwords(self.redis_url)]
        values += [str(value) for name, value in _redis_options(self.redis_url).items() if "password" in name]
        # hiding a very short one would hide parts of ordinary words
        return tuple(dict.fromkeys(value for value in values if len(value) >= 6))


def _passwords(url: str) -> Iterator[str]:
    """Yield the password in a URL: percent-encoded, decoded, and as HTTP sends it (RFC 7617)."""
    parts = urlsplit(url)
    if parts.password:
        user, password = unquote(parts.username or ""), unquote(parts.password)
        yield parts.password
        yield password
        yield base64.b64encode(f"{user}:{password}".encode()).decode()


def load_settings(environ: Mapping[str, str], env_file: Path | None = None) -> Settings:
    """Read the settings from `environ`, and those that it does not set from `env_file`, if that exists.

    An empty value counts as not set: `docker compose` passes unset variables as empty ones. Raises
    `SettingsError`, which names the first missing or wrong setting.
    """
    try:
        from_file = dotenv_values(env_file) if env_file else {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{env_file} cannot be read: {type(error).__name__}") from error
    merged = {**from_file, **{key: value for key, value in environ.items() if value}}
    values = {name: (merged.get(name.upper()) or "").strip() for name in Settings.model_fields}
    try:
        settings = Settings.model_validate({name: value for name, value in values.items() if value})
    except ValidationError as error:
        _raise_the_first(error)
    if settings.telegram_updates == "webhook" and not settings.public_url:
        raise SettingsError("PUBLIC_URL is missing: TELEGRAM_UPDATES=webhook needs it")
    return settings


def _raise_the_first(error: ValidationError) -> NoReturn:
    first = error.errors(include_input=False, include_url=False)[0]
    name = str(first["loc"][0]).upper()
    if first["type"] == "missing":
        raise SettingsError(f"{name} is missing: set it in the environment or in .env") from None
    problem = first["msg"].removeprefix("Value error, ")
    raise SettingsError(f"{name} is wrong: {problem}") from None
