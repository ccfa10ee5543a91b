"""Signed, short, expiring tokens for callback and source links and for the mixer, and the secret of
Telegram's webhook.

Each purpose has its own salt, so that a token for one endpoint is refused by the others.
"""

import hmac
import re
from dataclasses import dataclass

from itsdangerous import BadData, TimestampSigner
from itsdangerous.signer import SigningAlgorithm
from pydantic import SecretStr

from stemdrop.errors import ExpiredLink, ForgedRequest

# A callback may come long after JOB_TIMEOUT_S; stems that were paid for are then still delivered.
CALLBACK_LIFETIME_S = 14 * 24 * 3600
# The provider fetches the source within minutes; the link closes earlier if its job ends.
SOURCE_LIFETIME_S = 24 * 3600
# The mixer's page gets a new token when it is opened again.
MIXER_LIFETIME_S = 3600
# How far ahead a token may have been signed: the clocks of two machines differ, and one may be set back.
LINK_CLOCK_SKEW_S = 24 * 3600

# The characters of our tokens; base64 decoding alone ignores all others.
_TOKEN = re.compile(r"[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class CallbackToken:
    job_id: str
    chat_id: int


@dataclass(frozen=True, slots=True)
class MixerToken:
    """`version` identifies the stems of the job as they were when the mixer was opened."""

    job_id: str
    user_id: int
    version: str


class SignedLinks:
    """Signs and verifies the links of one server. `base_url` is `PUBLIC_URL`, without a slash at the end."""

    def __init__(self, secret_key: str, base_url: str) -> None:
        self._base_url = base_url
        self._secret_key = SecretStr(secret_key)
        self._callbacks: dict[str, TimestampSigner] = {}
        self._source = _signer(secret_key, "stemdrop.source")
        self._mixer = _signer(secret_key, "stemdrop.mixer")
        self._updates_secret = SecretStr(
            hmac.digest(secret_key.encode(), b"stemdrop.updates", "sha256").hex()
        )

    def callback_url(self, job_id: str, chat_id: int, provider: str = "") -> str:
        """Return the URL for the result of this job; at most 160 characters longer than the base.

        `provider` is part of the path, and the paths of other providers refuse the token.
        """
        token = self._callback(provider).sign(f"{job_id}.{chat_id}").decode()
        return "/".join([f"{self._base_url}/callback", *([provider] if provider else []), token])

    def source_url(self, job_id: str, extension: str) -> str:
        """Return the URL of this job's audio, which ends in `extension`: some providers rely on that."""
        return f"{self._base_url}/source/{self._source.sign(job_id).decode()}/audio{extension}"

    def mixer_token(self, token: MixerToken) -> str:
        """Return the token with which the mixer's page of one user plays the stems of one job."""
        return self._mixer.sign(f"{token.job_id}.{token.user_id}.{token.version}").decode()

    @property
    def updates_url(self) -> str:
        return f"{self._base_url}/telegram"

    @property
    def updates_secret(self) -> str:
        """The `secret_token` that Telegram returns with each update; the same in all processes."""
        return self._updates_secret.get_secret_value()

    def read_callback(self, token: str, provider: str = "") -> CallbackToken:
        """Verify a callback token. Raises `ForgedRequest`, or `ExpiredLink` when it is ours but too old."""
        job_id, _, chat_id = _unsign(self._callback(provider), token, CALLBACK_LIFETIME_S).partition(".")
        return CallbackToken(job_id, int(chat_id))

    def _callback(self, provider: str) -> TimestampSigner:
        if provider not in self._callbacks:
            salt = f"stemdrop.callback.{provider}" if provider else "stemdrop.callback"
            self._callbacks[provider] = _signer(self._secret_key.get_secret_value(), salt)
        return self._callbacks[provider]

    def read_source(self, token: str) -> str:
        """Return the id of the job of a source token. Raises `ForgedRequest` or `ExpiredLink`."""
        return _unsign(self._source, token, SOURCE_LIFETIME_S)

    def read_mixer(self, token: str) -> MixerToken:
        """Verify a token of the mixer. Raises `ForgedRequest` or `ExpiredLink`."""
        job_id, user_id, version = _unsign(self._mixer, token, MIXER_LIFETIME_S).split(".")
        return MixerToken(job_id, int(user_id), version)


class _HmacSha384(SigningAlgorithm):
    # no spare bits in base64, so a token has exactly one spelling (with `_TOKEN`)
    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha384")


def _signer(secret_key: str, salt: str) -> TimestampSigner:
    # The key is derived as itsdangerous does it, but once and not for each token.
    key = hmac.digest(secret_key.encode(), salt.encode(), "sha384")
    return TimestampSigner(key, key_derivation="none", algorithm=_HmacSha384())


def _unsign(signer: TimestampSigner, token: str, lifetime_s: int) -> str:
    if not _TOKEN.fullmatch(token):
        raise ForgedRequest("the link is not ours")
    try:
        text, signed_at = signer.unsign(token, return_timestamp=True)
        age_s = signer.get_timestamp() - signed_at.timestamp()
        content = text.decode()
    except (BadData, ValueError, UnicodeError) as error:
        raise ForgedRequest("the link is not ours") from error
    if age_s > lifetime_s:
        raise ExpiredLink("the link has expired")
    if age_s < -LINK_CLOCK_SKEW_S:
        raise ForgedRequest("the link was signed in the future")
    return content
