"""The settings of the separation providers, a part of `Settings`."""

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr

from stemdrop.settings.values import ApiKey, OptionalUrl, ProviderNames, Rate, Url

# Host of the API → where sources are uploaded if there is no public URL from which they can be fetched.
UPLOAD_URLS = {
    "api.sunoapi.org": "https://sunoapiorg.redpandaai.co",
    "api.kie.ai": "https://kieai.redpandaai.co",
}
# Host of the API → host of its stems, in the examples of docs.kie.ai ("Get Vocal Separation Details").
KNOWN_STEM_HOSTS = dict.fromkeys(UPLOAD_URLS, "file.aiquickdraw.com")

# Name of the provider → the setting of its key.
KEY_SETTINGS = {
    **{"sunoapi": "separation_api_key", "stemsplit": "stemsplit_api_key", "lalal": "lalal_api_key"},
    **{"fal": "fal_api_key", "selfhosted": "selfhosted_api_key"},
}


class ProviderSettings(BaseModel):
    """Who splits the songs, with each provider's key, address and prices."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    separation_api_key: ApiKey = SecretStr("")
    """The key of the separation API. For your own separator, choose any word. Required unless PROVIDERS
    names other providers only."""

    separation_api_url: Url = "https://api.sunoapi.org"
    """The separation API: https://api.sunoapi.org, https://api.kie.ai, or your own separator
    (http://separator:8001 with the profile selfhosted)."""

    separation_upload_url: OptionalUrl = ""
    """Where songs are uploaded when PUBLIC_URL is empty. Empty: chosen by the API's host."""

    callback_hmac_key: SecretStr = SecretStr("")
    """The key of the API at SEPARATION_API_URL for webhook signatures, if you enabled them there. When set,
    its callbacks without a valid and recent signature are refused."""

    providers: ProviderNames = ()
    """Who splits the songs, in the order in which they are asked: sunoapi (the API at SEPARATION_API_URL),
    stemsplit, lalal, fal, selfhosted, separated by commas; each needs its key (docs/providers.md). Empty:
    the API at SEPARATION_API_URL alone."""

    stemsplit_api_key: ApiKey = SecretStr("")
    """The API key of StemSplit."""

    stemsplit_webhook_secret: SecretStr = SecretStr("")
    """The secret by which StemSplit signs its callbacks. Empty: they are not used, and jobs are polled."""

    stemsplit_credits_per_minute: Rate = 20
    """The credits that a minute of a song costs its user with StemSplit."""

    stemsplit_api_url: Url = "https://stemsplit.io/api/v1"
    """The API of StemSplit."""

    lalal_api_key: ApiKey = SecretStr("")
    """The license key of LALAL.AI."""

    lalal_credits_per_minute: Rate = 13
    """The credits that a minute of a song costs its user with LALAL.AI, for each stem."""

    lalal_api_url: Url = "https://www.lalal.ai/api/v1"
    """The API of LALAL.AI."""

    fal_api_key: ApiKey = SecretStr("")
    """The API key of fal."""

    fal_credits_per_minute: Rate = 8
    """The credits that a minute of a song costs its user with fal, all its stems included."""

    fal_api_url: Url = "https://queue.fal.run"
    """The queue of fal. At another address, its uploads and the keys of its callbacks are there, too."""

    selfhosted_api_key: ApiKey = SecretStr("")
    """The key of your own separator, where PROVIDERS names it. Empty: SEPARATION_API_KEY."""

    selfhosted_api_url: Url = "http://separator:8001"
    """Your own separator, where PROVIDERS names it."""

    @property
    def known_stem_host(self) -> str:
        """Return a host of the stems of SEPARATION_API_URL; empty if none is known, or it is not asked."""
        if self.providers and "sunoapi" not in self.providers:
            return ""
        return KNOWN_STEM_HOSTS.get(urlsplit(self.separation_api_url).hostname or "", "")

    @property
    def upload_url(self) -> str:
        """Return where sources are uploaded when `public_url` is empty."""
        host = urlsplit(self.separation_api_url).hostname or ""
        return self.separation_upload_url or UPLOAD_URLS.get(host, self.separation_api_url)

    @property
    def provider_secrets(self) -> tuple[SecretStr, ...]:
        """Return the keys of all providers, and of their callbacks."""
        keys = (self.separation_api_key, self.stemsplit_api_key, self.lalal_api_key, self.fal_api_key)
        return (*keys, self.selfhosted_api_key, self.stemsplit_webhook_secret, self.callback_hmac_key)

    @property
    def provider_urls(self) -> tuple[str, ...]:
        """Return the URLs of the providers' APIs; stems at these origins may be private."""
        urls = (self.separation_api_url, self.stemsplit_api_url, self.lalal_api_url, self.fal_api_url)
        return (*urls, self.selfhosted_api_url) if self.has_second_separator else urls

    @property
    def has_second_separator(self) -> bool:
        """Whether the separator at SELFHOSTED_API_URL is asked, or may still have tasks."""
        return "selfhosted" in self.providers or bool(self.selfhosted_api_key.get_secret_value())
