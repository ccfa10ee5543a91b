"""Types of settings: each parses the text of one value and says what is valid. No error repeats a value."""

import ipaddress
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from redis.connection import parse_url

from stemdrop.http.host_names import is_host_name
from stemdrop.http.proxies import UNQUOTED, check_quoting, read_proxy
from stemdrop.http.public_addresses import Network

# `PROVIDERS` may list these; the first is the API at SEPARATION_API_URL.
PROVIDER_CHOICES = ("sunoapi", "stemsplit", "lalal", "fal", "selfhosted")
LONGEST_S = 14 * 24 * 3600  # a callback link expires then
_NO_HOST = "names a host that cannot exist"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s/:@?#\[\]]+)(:\d{1,5})?")


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
    if not is_host_name(parts.hostname):
        raise ValueError(_NO_HOST)
    return Address(value.rstrip("/"))


def _optional_http_url(value: str) -> str:
    return _http_url(value) if value else ""


def _public_url(value: str) -> str:
    url = _optional_http_url(value)
    if "@" in urlsplit(url).netloc:
        raise ValueError("must not contain a user or password: links are signed, and the provider sends none")
    return url


def _redis_url(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must be a redis://, rediss:// or unix:// URL")
    check_quoting(rest)
    try:
        parts = urlsplit(value)
        _ = redis_options(value), parts.port
    except ValueError:  # its text may hold the password
        problem = "has a wrong port or an option that Redis does not know"
        raise ValueError(f"{problem}; {UNQUOTED}" if "@" in rest else problem) from None
    if not (parts.path if scheme == "unix" else parts.hostname):
        raise ValueError(f"names no {'socket' if scheme == 'unix' else 'host'}: {_EXAMPLES[scheme]}")
    if not is_host_name(parts.hostname or ""):
        raise ValueError(_NO_HOST)
    return Address(value)


_EXAMPLES = {
    "redis": "redis://localhost:6379/0",
    "rediss": "rediss://redis.example.org:6379/0",
    "unix": "unix:///run/redis.sock",
}


def redis_options(url: str) -> dict[str, Any]:
    return dict(parse_url(url))  # type: ignore[no-untyped-call]


def _proxy_url(value: str) -> str:
    return Address(read_proxy(value)) if value else ""


def split_list(value: str) -> list[str]:
    """Split a list at commas, semicolons and white space."""
    return [part for part in re.split(r"[,;\s]+", value) if part]


def _ids(value: str) -> frozenset[int]:
    try:
        return frozenset(map(int, split_list(value)))
    except ValueError:
        raise ValueError("must be Telegram ids (numbers), separated by commas") from None


def _providers(value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.lower() for name in split_list(value)))
    if not set(names) <= set(PROVIDER_CHOICES):
        raise ValueError(f"must be of {', '.join(PROVIDER_CHOICES)}, separated by commas")
    return names


def _hosts(value: str) -> frozenset[str]:
    hosts = frozenset(host.lower() for host in split_list(value))
    if not all(map(_HOST.fullmatch, hosts)):
        raise ValueError(
            "must be host or host:port, separated by commas, without https:// and without a path"
        )
    return hosts


def _networks(value: str) -> frozenset[Network]:
    try:
        return frozenset(ipaddress.ip_network(part, strict=False) for part in split_list(value))
    except ValueError:
        raise ValueError("must be ranges such as 198.18.0.0/15, separated by commas") from None


def _bot_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"\d+:[\w-]+", value.get_secret_value(), re.ASCII):
        raise ValueError("does not look like a bot token (digits, a colon, letters)")
    return value


def _optional_header_value(value: SecretStr) -> SecretStr:
    return _header_value(value) if value.get_secret_value() else value


def _header_value(value: SecretStr) -> SecretStr:
    # httpx would quote an invalid header value in its error
    if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
        raise ValueError("must consist of ASCII letters, digits and punctuation, without spaces")
    return value


Url = Annotated[str, AfterValidator(_http_url)]
OptionalUrl = Annotated[str, AfterValidator(_optional_http_url)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]
Secret = Annotated[SecretStr, Field(min_length=1)]
BotToken = Annotated[Secret, AfterValidator(_bot_token)]
ApiKey = Annotated[SecretStr, AfterValidator(_optional_header_value)]
ProviderNames = Annotated[tuple[str, ...], BeforeValidator(_providers)]
Rate = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False)]
Ids = Annotated[frozenset[int], BeforeValidator(_ids)]
Hosts = Annotated[frozenset[str], BeforeValidator(_hosts)]
Networks = Annotated[frozenset[Network], BeforeValidator(_networks)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)]
LogFormat = Annotated[Literal["console", "json"], BeforeValidator(str.lower)]
Updates = Annotated[Literal["polling", "webhook"], BeforeValidator(str.lower)]
Access = Annotated[Literal["invite", "open"], BeforeValidator(str.lower)]
