"""The settings: one frozen object, read once, that names what is missing or wrong.

Names, defaults and what each is for are the operator's interface: `make docs` writes them into
`.env.example` and docs/settings.md (`tools.generate_settings_docs`).
"""

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from redis.connection import parse_url

from stemdrop.errors import SettingsError
from stemdrop.http.signed_links import SignedLinks

# A `SECRET_KEY` of fewer characters is warned of.
SHORT_KEY = 16
# By documented host: where a source is uploaded when there is no public URL to fetch it from.
UPLOAD_URLS = {
    "api.sunoapi.org": "https://sunoapiorg.redpandaai.co",
    "api.kie.ai": "https://kieai.redpandaai.co",
}


class Address(str):
    """A URL; its `repr` hides the password that it may hold."""

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
        _ = parts.port  # read for its ValueError: a port that is none would be found much later
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
        raise ValueError("has a port or an option that Redis does not know") from None
    raise ValueError("must be a redis://, rediss:// or unix:// URL")


def _redis_options(url: str) -> dict[str, Any]:
    return dict(parse_url(url))  # type: ignore[no-untyped-call]


def _ids_text(value: str) -> str:
    _ids(value)
    return value


def _ids(value: str) -> frozenset[int]:
    try:
        return frozenset(int(part) for part in re.split(r"[,\s]+", value) if part)
    except ValueError:
        raise ValueError("must be Telegram ids (numbers), with commas between them") from None


def _bot_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"\d+:[\w-]+", value.get_secret_value(), re.ASCII):
        raise ValueError("does not look like a bot token (digits, a colon, letters)")
    return value


def _header_value(value: SecretStr) -> SecretStr:
    # the HTTP library's refusal would quote it, after the job was thought to be asked for
    if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
        raise ValueError("must be of ASCII letters, digits and signs, without spaces")
    return value


Url = Annotated[str, AfterValidator(_http_url)]
OptionalUrl = Annotated[str, AfterValidator(_optional_http_url)]
Secret = Annotated[SecretStr, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """What an operator can set; secrets do not show in `repr`. Times are in seconds."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    telegram_bot_token: Annotated[Secret, AfterValidator(_bot_token)]
    """The bot's token, from @BotFather."""

    separation_api_key: Annotated[Secret, AfterValidator(_header_value)]
    """The key of the separation API; with a separator of your own any word, which you choose here."""

    secret_key: Secret
    """Signs links: any long random text, as `openssl rand -hex 32` makes it; the same for all processes."""

    public_url: OptionalUrl = ""
    """Where the internet reaches the webhook, for example https://stems.example.org. Empty: nothing needs to
    reach you; songs are uploaded to the API and their results polled."""

    listen_host: str = "0.0.0.0"  # noqa: S104 - the webhook is meant to be reached
    """The address at which the webhook listens."""

    listen_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port at which the webhook listens."""

    telegram_api_url: Url = "https://api.telegram.org"
    """The Bot API server: Telegram's, or your own (http://telegram:8081 with the profile bigfiles)."""

    telegram_local_mode: bool = False
    """true with a Bot API server of your own that runs with --local: files up to 2,000 MB. Its folder must be
    there under the same path for bot, webhook and worker."""

    telegram_updates: Literal["polling", "webhook"] = "polling"
    """How updates come. With polling exactly one bot may run; webhook needs PUBLIC_URL, and any number of
    bots share the work."""

    separation_api_url: Url = "https://api.sunoapi.org"
    """https://api.sunoapi.org, https://api.kie.ai, or a separator of your own (http://separator:8001 with the
    profile selfhosted)."""

    separation_upload_url: OptionalUrl = ""
    """Where songs are uploaded when PUBLIC_URL is empty. Empty: known from the API's host."""

    callback_hmac_key: SecretStr = SecretStr("")
    """The provider's webhook signature key, if you switched signatures on there. When set, a callback without
    a valid, fresh signature is refused."""

    poll_after_s: Seconds = 120
    """A job whose callback has not come after so many seconds is polled. Without PUBLIC_URL no callback
    comes, and POLL_INTERVAL_S alone counts."""

    poll_interval_s: Seconds = 30
    """A job that is polled is asked for again after so many seconds."""

    job_timeout_s: Seconds = 1800
    """A job without a result after so many seconds ends with an explanation to its user."""

    stem_hosts: str = ""
    """Hosts (host or host:port, with commas) from which stems may be fetched although they are private. Else
    it is HTTPS, port 443 and public addresses alone; the origin of SEPARATION_API_URL always may."""

    access: Literal["invite", "open"] = "invite"
    """Who may use the bot. With invite only admins, ALLOWED_USERS and those whom an admin lets in from the
    chat, since every split spends your credits; with open everyone."""

    admins: Annotated[str, AfterValidator(_ids_text)] = ""
    """Telegram user ids of those who run the bot, with commas. With ACCESS=invite and no admin yet, start-up
    prints a one-time link that makes whoever opens it the admin."""

    allowed_users: Annotated[str, AfterValidator(_ids_text)] = ""
    """Telegram user or chat ids that may use the bot, with commas. Admins let in more from the chat:
    /users."""

    daily_credits: Annotated[int, Field(ge=0)] = 0
    """Credits that one user may spend a day (10, 20 and 50 by mode); 0: no limit. Admins set it per user from
    the chat."""

    redis_url: Annotated[str, AfterValidator(_redis_url)] = "redis://localhost:6379/0"
    """Redis holds all jobs and tasks: keep it private, with appendonly on and maxmemory-policy noeviction.
    rediss:// is for TLS, unix:// for a socket."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is written to the log."""

    log_format: Literal["console", "json"] = "console"
    """Lines of text for people, or of JSON for machines."""

    @property
    def upload_url(self) -> str:
        """Where sources are uploaded when `public_url` is empty; by the API's host unless set."""
        host = urlsplit(self.separation_api_url).hostname or ""
        return self.separation_upload_url or UPLOAD_URLS.get(host, self.separation_api_url)

    @property
    def admin_ids(self) -> frozenset[int]:
        """Users who run the bot, by setting."""
        return _ids(self.admins)

    @property
    def allowed_ids(self) -> frozenset[int]:
        """Users and chats that may use the bot, by setting."""
        return _ids(self.allowed_users)

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
    def redis_address(self) -> str:
        """Host and port, or socket path, of Redis, without its password."""
        parts = urlsplit(self.redis_url)
        return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path

    @property
    def secrets(self) -> tuple[str, ...]:
        """All values that must never be written anywhere, for the log's last line of defence."""
        token, key = self.telegram_bot_token.get_secret_value(), self.secret_key.get_secret_value()
        values = [
            token,
            token.partition(":")[2],  # this half alone opens the bot: the other is its public number
            self.separation_api_key.get_secret_value(),
            key,
            SignedLinks(key, "").updates_secret,
            self.callback_hmac_key.get_secret_value(),
        ]
        for url in (self.telegram_api_url, self.separation_api_url, self.separation_upload_url):
            values += _passwords(url)
        values += [*_passwords(self.public_url), *_passwords(self.redis_url)]
        values += [str(value) for name, value in _redis_options(self.redis_url).items() if "password" in name]
        # hiding a very short one would hide half of every line, and protect nothing
        return tuple(dict.fromkeys(value for value in values if len(value) >= 6))


def _passwords(url: str) -> Iterator[str]:
    """The password in a URL: as it stands there, as it is meant, and as HTTP sends it (RFC 7617)."""
    parts = urlsplit(url)
    if parts.password:
        user, password = unquote(parts.username or ""), unquote(parts.password)
        yield parts.password
        yield password
        yield base64.b64encode(f"{user}:{password}".encode()).decode()


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
