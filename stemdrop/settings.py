"""The settings: one frozen object, read once, that names what is missing or wrong.

Names and defaults are the operator's interface; `.env.example` explains each.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NoReturn
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from redis.connection import parse_url

from stemdrop.errors import SettingsError

# By documented host: where a source is uploaded when there is no public URL to fetch it from.
UPLOAD_URLS = {
    "api.sunoapi.org": "https://sunoapiorg.redpandaai.co",
    "api.kie.ai": "https://kieai.redpandaai.co",
}


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an http:// or https:// URL without query")
    _ = parts.port  # read for its ValueError: a port that is none would be found much later
    return value.rstrip("/")


def _optional_http_url(value: str) -> str:
    return _http_url(value) if value else ""


def _redis_url(value: str) -> str:
    if urlsplit(value).scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must be a redis://, rediss:// or unix:// URL")
    try:
        _ = parse_url(value), urlsplit(value).port  # type: ignore[no-untyped-call]
    except ValueError:  # its text may hold the password
        raise ValueError("has a port or an option that Redis does not know") from None
    return value


def _bot_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"\d+:[\w-]+", value.get_secret_value(), re.ASCII):
        raise ValueError("does not look like a bot token (digits, a colon, letters)")
    return value


Url = Annotated[str, AfterValidator(_http_url)]
OptionalUrl = Annotated[str, AfterValidator(_optional_http_url)]
Secret = Annotated[SecretStr, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """What an operator can set; secrets do not show in `repr`. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    telegram_bot_token: Annotated[Secret, AfterValidator(_bot_token)]
    telegram_api_url: Url = "https://api.telegram.org"
    telegram_local_mode: bool = False
    telegram_updates: Literal["polling", "webhook"] = "polling"
    separation_api_url: Url = "https://api.sunoapi.org"
    separation_api_key: Secret
    separation_upload_url: OptionalUrl = ""
    public_url: OptionalUrl = ""
    secret_key: Secret
    callback_hmac_key: SecretStr = SecretStr("")
    redis_url: Annotated[str, AfterValidator(_redis_url)] = "redis://localhost:6379/0"
    listen_host: str = "0.0.0.0"  # noqa: S104 - the webhook is meant to be reached
    listen_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    poll_after_s: Seconds = 120
    poll_interval_s: Seconds = 30
    job_timeout_s: Seconds = 1800
    stem_hosts: str = ""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    @property
    def upload_url(self) -> str:
        """Where sources are uploaded when `public_url` is empty; by the API's host unless set."""
        host = urlsplit(self.separation_api_url).hostname or ""
        return self.separation_upload_url or UPLOAD_URLS.get(host, self.separation_api_url)

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """`host` or `host:port` that stems may be fetched from although private (`STEM_HOSTS`)."""
        return frozenset(host.strip().lower() for host in self.stem_hosts.split(",") if host.strip())

    @property
    def max_source_bytes(self) -> int:
        """What a bot may download: 20 MB, or 2,000 MB through a server of one's own (Bot API, getFile)."""
        return 2_000_000_000 if self.telegram_local_mode else 20 * 1024 * 1024

    @property
    def max_upload_bytes(self) -> int:
        """What a bot may send: 50 MB, or 2,000 MB through a server of one's own (Bot API)."""
        return 2_000_000_000 if self.telegram_local_mode else 50 * 1024 * 1024

    @property
    def secrets(self) -> tuple[str, ...]:
        """All values that must never be written anywhere, for the log's last line of defence."""
        redis_password = urlsplit(self.redis_url).password
        values = [
            self.telegram_bot_token.get_secret_value(),
            self.separation_api_key.get_secret_value(),
            self.secret_key.get_secret_value(),
            self.callback_hmac_key.get_secret_value(),
            redis_password or "",
        ]
        # hiding a very short one would hide half of every line, and protect nothing
        return tuple(value for value in values if len(value) >= 6)


def load_settings(environ: Mapping[str, str], env_file: Path | None = None) -> Settings:
    """Read the settings from `environ`, then `env_file` if given and there.

    An empty value counts as not set, as `docker compose` passes unset variables as empty ones.
    Raises `SettingsError` that names the first missing or wrong setting.
    """
    try:
        from_file = dotenv_values(env_file) if env_file else {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{env_file} cannot be read: {type(error).__name__}") from error
    merged = {**from_file, **{key: value for key, value in environ.items() if value}}
    known = {
        name: (merged.get(name.upper()) or "").strip()
        for name in Settings.model_fields
        if (merged.get(name.upper()) or "").strip()
    }
    try:
        settings = Settings.model_validate(known)
    except ValidationError as error:
        _name_the_first(error)
    if settings.telegram_updates == "webhook" and not settings.public_url:
        raise SettingsError("PUBLIC_URL is missing: TELEGRAM_UPDATES=webhook needs it")
    return settings


def _name_the_first(error: ValidationError) -> NoReturn:
    first = error.errors(include_input=False, include_url=False)[0]
    name = str(first["loc"][0]).upper()
    if first["type"] == "missing":
        raise SettingsError(f"{name} is missing: set it in the environment or in .env") from None
    problem = first["msg"].removeprefix("Value error, ")
    raise SettingsError(f"{name} is wrong: {problem}") from None
