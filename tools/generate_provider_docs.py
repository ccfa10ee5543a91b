"""Writes the tables of docs/providers.md from what is known of each provider."""

from collections.abc import Callable, Mapping
from pathlib import Path

from stemdrop.domain.jobs import Mode
from stemdrop.domain.providers import SELFHOSTED, Capabilities
from stemdrop.provider.capabilities import CAPABILITIES
from stemdrop.settings import Settings
from stemdrop.storage.keys import DAY_S

ROOT = Path(__file__).parent.parent
_SONG_S = 240
_MODES = {
    Mode.SEPARATE_VOCAL: "Vocals + instrumental",
    Mode.SPLIT_STEM: "All stems",
    Mode.SPLIT_STEM_ADVANCED: "One instrument and the rest",
}
# The stems that sunoapi.org documents, for providers whose `Capabilities` name none.
_STEMS = {
    Mode.SEPARATE_VOCAL: "vocals, instrumental",
    Mode.SPLIT_STEM: "up to 12",
}


def providers_page() -> str:
    """Return the page with its tables renewed."""
    text = (ROOT / "docs/providers.md").read_text("utf-8")
    for name, block in (("matrix", _matrix()), ("workings", _workings()), ("rates", _rates())):
        start, mark, rest = text.partition(f"<!-- {name} -->\n")
        text = f"{start}{mark}{block}\n{rest[rest.index('<!-- end -->') :]}"
    return text


def _matrix() -> str:
    rows = {text: {name: _offer(name, mode) for name in CAPABILITIES} for mode, text in _MODES.items()}
    prices = {name: it.price_note or "–" for name, it in CAPABILITIES.items()}
    return _table({**rows, "Its own price": prices})


def _offer(name: str, mode: Mode) -> str:
    priced = CAPABILITIES[name].priced(_rate(name)).for_song(_SONG_S)
    ability = priced.modes.get(mode)
    if ability is None:
        return "–"
    if name == SELFHOSTED:
        return "free; [by its engine](separator.md)"
    count = len(ability.instruments)
    stems = f"{count} instruments" if count else ", ".join(ability.stems) or _STEMS[mode]
    return f"{stems.replace('_', ' ')}: **{ability.price}**"


def _rate(name: str) -> float:
    field = Settings.model_fields.get(f"{name}_credits_per_minute")
    return float(field.default) if field else 0


def _rates() -> str:
    names = [f"{name}_credits_per_minute" for name in CAPABILITIES]
    fields = {name: Settings.model_fields[name] for name in names if name in Settings.model_fields}
    rows = [f"| `{name.upper()}` | {field.default:g} |" for name, field in fields.items()]
    return "\n".join(["| setting | default |", "|---|---|", *rows])


def _workings() -> str:
    rows: dict[str, Callable[[Capabilities], str]] = {
        "Results come": lambda it: "by callback, or polled" if it.has_callbacks else "polled",
        "A callback is verified by": lambda it: it.signature if it.has_callbacks else "–",
        "With `PUBLIC_URL` the song is": lambda it: "fetched from there" if it.takes_url else "uploaded",
        "Without it, the song is": lambda it: "uploaded" if it.takes_upload else "not split there",
        "After a lost answer the call is": _after_lost_answer,
        "Progress in percent": lambda it: _yes(it.reports_progress),
        "Can cancel a task (which is not done: what is paid for is kept)": lambda it: _yes(it.has_cancel),
        "Tells what is left of the account": lambda it: _yes(it.has_balance),
        "Charges failures": lambda it: "unless it says otherwise" if it.charges_failures else "no",
        "Songs": lambda it: ", ".join(it.formats) or "not documented",
        "Longest song": lambda it: _minutes(it.longest_s) if it.longest_s else "not documented",
        "Largest file": lambda it: _megabytes(it.largest_bytes) if it.largest_bytes else "not documented",
        "Links to stems live": lambda it: _span(it.links_live_s) if it.links_live_s else "not documented",
    }
    found = {label: {name: told(it) for name, it in CAPABILITIES.items()} for label, told in rows.items()}
    unknown = [f"- **{it.title}**: {_sentence(it.unknown)}" for it in CAPABILITIES.values() if it.unknown]
    return "\n".join([_table(found), "", "What their documentation leaves open:", "", *unknown])


def _after_lost_answer(provider: Capabilities) -> str:
    if provider.has_idempotency_key:
        return "repeated"
    return "looked for in its list of jobs" if provider.finds_orders else "not repeated"


def _table(rows: Mapping[str, Mapping[str, str]]) -> str:
    """Return a table with a column for each provider."""
    head = "| | " + " | ".join(it.title for it in CAPABILITIES.values()) + " |"
    lines = [f"| {label} | {' | '.join(cells.values())} |" for label, cells in rows.items()]
    return "\n".join([head, "|---" * (len(CAPABILITIES) + 1) + "|", *lines])


def _yes(told: bool) -> str:
    return "yes" if told else "no"


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} minutes"


def _megabytes(size_bytes: int) -> str:
    megabytes = size_bytes // 1024**2
    return f"{megabytes} MB" if megabytes < 1024 else f"{megabytes / 1024:.2g} GB"


def _span(seconds: int) -> str:
    return f"{seconds // DAY_S} days" if seconds > DAY_S else f"{seconds // 3600} h"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."
