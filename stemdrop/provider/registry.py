"""`Providers`: the separation providers that the settings name, and the provider of each task.

A task id is stored with its provider's name as prefix (`lalal:1234`), so that the tasks of two providers are
not mistaken for each other. The API at SEPARATION_API_URL has no such prefix.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import httpx
from redis.asyncio import Redis

from stemdrop.domain.providers import FAL, LALAL, SELFHOSTED, STEMSPLIT, SUNOAPI, Capabilities
from stemdrop.domain.results import Result
from stemdrop.errors import BadContract, Unreachable
from stemdrop.provider.capabilities import CAPABILITIES, sunoapi_name
from stemdrop.provider.fal.client import FalClient
from stemdrop.provider.interface import Provider, Report
from stemdrop.provider.lalal.client import LalalClient
from stemdrop.provider.stemsplit.client import StemSplitClient
from stemdrop.provider.sunoapi.client import SeparationClient
from stemdrop.settings import Settings
from stemdrop.storage.abilities import AbilitiesCache
from stemdrop.storage.counters import Counters

_PREFIXES = tuple(f"{name}:" for name in (STEMSPLIT, LALAL, FAL, SELFHOSTED))


class Providers:
    """The providers by name; `order` names those that get orders, in order of preference.

    A provider that has a key but is not in the order is only asked for the results of its tasks.
    `first` is the name of the API at SEPARATION_API_URL.
    """

    def __init__(self, known: Mapping[str, Provider], order: Sequence[str], first: str) -> None:
        self._known = known
        self.order = tuple(order)
        self._first = first

    def __getitem__(self, name: str) -> Provider:
        return self._known[name]

    def get(self, name: str) -> Provider | None:
        return self._known.get(name)

    @property
    def asked(self) -> list[Provider]:
        """Return the providers that are asked, in order of preference."""
        return [self._known[name] for name in self.order]

    def path(self, name: str) -> str:
        """Return the part of a callback's path that names the provider; empty for the first API."""
        return "" if name == self._first else name

    def named_by(self, path: str) -> str | None:
        """Return the name of the provider with this `path`; `None` if there is none."""
        return self._first if not path else path if path in self._known and path != self._first else None

    def qualified(self, name: str, task_id: str) -> str:
        """Return the task id as it is stored. Raises `BadContract` if it has another provider's prefix."""
        if name != self._first:
            return f"{name}:{task_id}"
        if task_id.startswith(_PREFIXES):
            raise BadContract("the task id looks like one of another provider")
        return task_id

    def name_of(self, task_id: str) -> str:
        """Return the name of the provider of a stored task id."""
        return task_id.partition(":")[0] if task_id.startswith(_PREFIXES) else self._first

    def capabilities(self, task_id: str) -> Capabilities | None:
        """Return how the provider of a stored task id works; `None`: it is no longer in the settings."""
        provider = self._known.get(self.name_of(task_id))
        return provider.capabilities if provider else None

    def calls_back(self, task_id: str) -> bool:
        """Whether the provider of a stored task id sends callbacks (True if unknown), given a public URL."""
        works = self.capabilities(task_id)
        return works is None or works.has_callbacks

    @property
    def all_call_back(self) -> bool:
        """Whether each provider that is asked sends callbacks if we have a public URL."""
        return all(provider.capabilities.has_callbacks for provider in self.asked)

    async def fetch(self, task_id: str) -> Report:
        """Poll a task by its stored id. Raises as `Provider.fetch`."""
        name = self.name_of(task_id)
        if (provider := self._known.get(name)) is None:
            raise Unreachable(f"{name} is no longer in the settings")
        is_prefixed = task_id.startswith(_PREFIXES)
        return await provider.fetch(task_id.partition(":")[2] if is_prefixed else task_id)

    async def read_callback(self, name: str, headers: Mapping[str, str], body: bytes) -> tuple[str, Result]:
        """Verify a callback of a provider; returns the stored task id. Raises as `Provider.read_callback`."""
        task_id, result = await self._known[name].read_callback(headers, body)
        return self.qualified(name, task_id), result


def build_providers(settings: Settings, http: httpx.AsyncClient, counters: Counters) -> Providers:
    """Build the client of each provider that has a key."""
    first = first_name(settings)
    known: dict[str, Provider] = {
        first: SeparationClient(
            http,
            settings.separation_api_url,
            settings.upload_url,
            settings.separation_api_key.get_secret_value(),
            counters,
            hmac_key=settings.callback_hmac_key.get_secret_value(),
            name=first,
        )
    }
    if settings.has_second_separator and first != SELFHOSTED:
        url, key = settings.selfhosted_api_url, settings.selfhosted_api_key or settings.separation_api_key
        known[SELFHOSTED] = SeparationClient(
            http, url, url, key.get_secret_value(), counters, name=SELFHOSTED, is_first=False
        )
    if fal_key := settings.fal_api_key.get_secret_value():
        known[FAL] = FalClient(http, settings.fal_api_url, fal_key, counters)
    if lalal_key := settings.lalal_api_key.get_secret_value():
        known[LALAL] = LalalClient(http, settings.lalal_api_url, lalal_key, counters)
    if stemsplit_key := settings.stemsplit_api_key.get_secret_value():
        known[STEMSPLIT] = StemSplitClient(
            http,
            settings.stemsplit_api_url,
            stemsplit_key,
            counters,
            webhook_secret=settings.stemsplit_webhook_secret.get_secret_value(),
        )
    return Providers(known, [name for name in provider_order(settings) if name in known], first)


def first_name(settings: Settings) -> str:
    """Return the name of the API at SEPARATION_API_URL."""
    name = sunoapi_name(settings.separation_api_url)
    # then `selfhosted` is the name of the separator at SELFHOSTED_API_URL
    return SUNOAPI if SELFHOSTED in settings.providers and name == SELFHOSTED else name


def provider_order(settings: Settings) -> list[str]:
    """Return the names of the providers that are asked, in order of preference."""
    first = first_name(settings)
    return [first if name == SUNOAPI else name for name in settings.providers] or [first]


def provider_labels(settings: Settings) -> dict[str, str]:
    """Return the label of each provider that is asked, as in the metrics of API calls.

    The label is empty for the API at SEPARATION_API_URL (`metric_definitions.API`).
    """
    first = first_name(settings)
    return {name: "" if name == first else name for name in provider_order(settings)}


def provider_titles(settings: Settings) -> dict[str, str]:
    """Return the title of each provider that is asked; empty if only that at SEPARATION_API_URL is asked."""
    labels = provider_labels(settings)
    return {name: CAPABILITIES[name].title for name in labels} if any(labels.values()) else {}


async def is_free(name: str, abilities: AbilitiesCache) -> bool:
    """Whether a provider charges the operator nothing; what users pay for it does not count."""
    return not CAPABILITIES[name].rates and (await abilities.of(name)).is_free


def build_abilities_cache(settings: Settings, redis: Redis) -> AbilitiesCache:
    """Build the cache of what the providers can do, at the operator's prices."""
    rates = {
        STEMSPLIT: settings.stemsplit_credits_per_minute,
        LALAL: settings.lalal_credits_per_minute,
        FAL: settings.fal_credits_per_minute,
    }
    # the servers that report their own abilities
    urls = {first_name(settings): settings.separation_api_url}
    if SELFHOSTED in settings.providers:
        urls[SELFHOSTED] = settings.selfhosted_api_url
    hosts = {name: urlsplit(url).netloc.rpartition("@")[2] for name, url in urls.items()}
    known = {name: CAPABILITIES[name].priced(rate) for name, rate in rates.items()}
    return AbilitiesCache(redis, provider_order(settings), hosts, known)
