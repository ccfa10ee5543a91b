"""What each provider can do, and how it works: the table from which docs/providers.md is written.

Sources: docs.sunoapi.org, docs.kie.ai, and the public documentation and clients of StemSplit, LALAL.AI and
fal, read in 2026-11. What they leave open is in `unknown`.
"""

from dataclasses import replace
from urllib.parse import urlsplit

from stemdrop.domain.abilities import ALL, Abilities, Ability
from stemdrop.domain.jobs import Mode
from stemdrop.domain.providers import FAL, KIE, LALAL, SELFHOSTED, STEMSPLIT, SUNOAPI, Capabilities

_VOCALS = ("vocals", "instrumental")
_SIX = ("vocals", "drums", "bass", "guitar", "piano", "other")
_LALAL_STEMS = ("vocals", "drums", "bass", "piano", "electric_guitar", "acoustic_guitar", "other")
# LALAL.AI's wind instruments are no brass section
_LALAL_INSTRUMENTS = (
    *("Drum Kit", "Bass", "Piano", "Electric Guitar", "Acoustic Guitar"),
    *("Synth", "String Section"),
)

_CONTRACT = Capabilities(
    title="sunoapi.org",
    api_url="https://api.sunoapi.org",
    abilities=ALL,
    takes_url=True,
    takes_upload=True,
    has_callbacks=True,
    signature="HMAC-SHA256 of task id and time, where the operator has switched it on",
    has_balance=True,
    few_left=100,
    largest_bytes=20 * 1024 * 1024,
    links_live_s=14 * 24 * 3600,
    price_note="10, 50 or 20 credits a song",
    unknown="Whether it splits every song: its page speaks of tracks that were made there, while its clients "
    "upload others. The longest song, and the formats.",
)

CAPABILITIES: dict[str, Capabilities] = {
    SUNOAPI: _CONTRACT,
    KIE: replace(
        _CONTRACT,
        title="kie.ai",
        api_url="https://api.kie.ai",
        unknown="How long it keeps this call: its page stands under old models. The longest song, and the "
        "formats.",
    ),
    # Limits and formats: README of @stemsplit/sdk 0.1.0 (2026-06); its pages also name 50 MB and 500 MB.
    # Price: what its users report of stemsplit.io/pricing, by the size of the pack. Our default of 20 credits
    # a minute is the lower end, at $0.005 a credit.
    STEMSPLIT: Capabilities(
        title="StemSplit",
        api_url="https://stemsplit.io/api/v1",
        abilities=Abilities(
            {Mode.SEPARATE_VOCAL: Ability(stems=_VOCALS), Mode.SPLIT_STEM: Ability(stems=_SIX)}
        ),
        rates=((Mode.SEPARATE_VOCAL, 1), (Mode.SPLIT_STEM, 1)),
        takes_url=True,
        takes_upload=True,
        has_callbacks=True,
        signature="HMAC-SHA256 of the raw body",
        finds_orders=True,
        reports_progress=True,
        has_balance=True,
        balance_unit="seconds",
        few_left=600,
        formats=(".mp3", ".wav", ".flac", ".m4a", ".aac", ".ogg", ".webm", ".wma"),
        longest_s=3600,
        largest_bytes=100 * 1024 * 1024,
        links_live_s=3600,
        price_note="1 credit a second of audio, $0.10 to 0.20 a minute",
        unknown="Whether it honours `callbackUrl`, which only its Python library sends, and by which secret "
        "it signs those callbacks; how old one may be. Whether `creditsCharged` of a failed job is 0 once "
        "it is refunded. Whether its list of jobs begins with the newest.",
    ),
    LALAL: Capabilities(
        title="LALAL.AI",
        api_url="https://www.lalal.ai/api/v1",
        abilities=Abilities(
            {
                Mode.SEPARATE_VOCAL: Ability(stems=_VOCALS),
                Mode.SPLIT_STEM: Ability(stems=_LALAL_STEMS),
                Mode.SPLIT_STEM_ADVANCED: Ability(instruments=_LALAL_INSTRUMENTS),
            }
        ),
        # each stem costs the song's minutes; the rest of the song is free
        rates=((Mode.SEPARATE_VOCAL, 1), (Mode.SPLIT_STEM, 6), (Mode.SPLIT_STEM_ADVANCED, 1)),
        takes_url=False,
        takes_upload=True,
        has_callbacks=False,
        has_idempotency_key=True,
        reports_progress=True,
        polls_many=True,
        has_cancel=True,
        has_balance=True,
        balance_unit="minutes",
        few_left=60,
        largest_bytes=10 * 1024**3,
        links_live_s=24 * 3600,
        price_note="$0.060 to 0.067 a minute and stem",
        unknown="whether a failed or cancelled task is charged, so none is cancelled; the price of lead "
        "without backing vocals, so they are not offered; the longest song of a license",
    ),
    FAL: Capabilities(
        title="fal",
        api_url="https://queue.fal.run",
        abilities=Abilities({Mode.SPLIT_STEM: Ability(stems=_SIX)}),
        rates=((Mode.SPLIT_STEM, 1),),
        takes_url=True,
        takes_upload=True,
        has_callbacks=True,
        signature="ED25519, with fal's published keys",
        has_cancel=True,
        links_live_s=7 * 24 * 3600,
        price_note="$0.0007 a second of audio ($0.042 a minute), all stems; server errors are not charged",
        unknown="The formats and the longest song that the model takes; whether a song that it refuses is "
        "charged; whether a repeated callback is signed anew (if not, it is too old, and the job is polled). "
        "Uploads are known from fal's client libraries only.",
    ),
    SELFHOSTED: replace(
        _CONTRACT,
        title="own separator",
        api_url="http://separator:8001",
        signature="as sunoapi.org, where it is the API at `SEPARATION_API_URL`",
        longest_s=3600,
        largest_bytes=2_000_000_000,
        charges_failures=False,
        price_note="nothing",
        unknown="",
    ),
}


def sunoapi_name(api_url: str) -> str:
    """Return the name of the provider at a URL with sunoapi.org's contract: a paid host, or a separator."""
    host = urlsplit(api_url).hostname
    paid = (name for name in (SUNOAPI, KIE) if urlsplit(CAPABILITIES[name].api_url).hostname == host)
    return next(paid, SELFHOSTED)
