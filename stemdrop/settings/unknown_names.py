"""Finds names in the environment and in `.env` that look like mistyped settings."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

PROFILES = ("https", "tunnel", "port", "selfhosted", "bigfiles", "sandbox")
# Other names that docker-compose.yml, docker compose and the other commands read.
OTHER_NAMES = (
    *("COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "COMPOSE_FILE", "STEMDROP_VERSION", "ENV_FILE"),
    *("TUNNEL_TOKEN", "TELEGRAM_API_ID", "TELEGRAM_API_HASH", "SEPARATOR_RUNS", "PRIVATE_PORT"),
    *("SANDBOX_KEY", "SANDBOX_PORT", "ENGINE", "SEPARATOR_EXTRAS", "TMPDIR", "TZ"),
    *("STEMDROP_HEALTH_FILE", "STEMDROP_SHORTEST_RUN_S"),
)
# The least similarity by `difflib`: ADMIN has 0.91 to ADMINS, TELEGRAM_TOKEN 0.88 to TELEGRAM_BOT_TOKEN.
_SIMILAR = 0.8
# It is higher in the environment, which holds many names that are not meant for us.
_SIMILAR_IN_ENVIRONMENT = 0.9


def unknown_names(
    from_file: Mapping[str, str | None], environ: Mapping[str, str], settings: Iterable[str]
) -> list[str]:
    """Return one line for each name or profile that is unknown and similar to a known one."""
    known = [*settings, *OTHER_NAMES]
    lines = []
    for names, similar in ((from_file, _SIMILAR), (environ, _SIMILAR_IN_ENVIRONMENT)):
        for name in names:
            if name.upper() not in known and (meant := get_close_matches(name.upper(), known, 1, similar)):
                lines.append(f"{name} is no setting and has no effect: is {meant[0]} meant?")
    profiles = environ.get("COMPOSE_PROFILES") or from_file.get("COMPOSE_PROFILES") or ""
    return [*dict.fromkeys(lines), *_unknown_profiles(profiles)]


def _unknown_profiles(value: str) -> Iterator[str]:
    for profile in value.split(","):
        if profile.strip() and profile.strip() not in PROFILES:
            meant = get_close_matches(profile.strip().lower(), PROFILES, 1, _SIMILAR)
            is_meant = f"is {meant[0]} meant?" if meant else f"there are {', '.join(PROFILES)}"
            yield f"COMPOSE_PROFILES: there is no profile {profile.strip()}: {is_meant}"
