"""How an operator reads of jobs on a screen: the facts of `job_facts.py` as lines. Pure functions; no I/O."""

from collections.abc import Sequence
from datetime import datetime

from stemdrop.domain.jobs import FINAL, Charge, JobState, Mode
from stemdrop.observability.printable_text import printable
from stemdrop.operator.job_data import Facts
from stemdrop.operator.text_table import shortened, table

_CHARGED = {True: "charged", False: "not charged", None: "maybe charged"}
_CREDITS = {
    Charge.NONE: "none held",
    Charge.HELD: "held",
    Charge.SETTLED: "spent",
    Charge.RETURNED: "returned",
}
_TITLE_CELLS, _NAME_CELLS = 36, 24
# Columns that may be cut where a screen is narrow, and to how many cells, in this order.
_NARROWEST = {"TASK": 9, "TITLE": 16, "FOR": 12, "WHAT": 24}
# So much of an id as nobody mistakes, unless two that are shown begin alike.
_SHORT_ID = 8


def trouble(facts: Facts) -> str:
    """What is wrong with a dead letter, in a few words."""
    failure = facts["failure"]
    parts = [f"{failure['code']}, {_CHARGED[failure['charged']]}"] if failure else []
    parts += [f"{key}: {_listed(facts[key])}" for key in ("missing", "refused") if facts[key]]
    return "; ".join(parts)


def open_table(jobs: Sequence[Facts], width: int | None = None) -> list[str]:
    """Lines of what is open, at most `width` cells wide where that can be."""
    ids = _short([job["id"] for job in jobs])
    rows = [
        {"ID": ids[job["id"]], "STATE": _state(job), "AGE": span(job["age_s"]), **_whose(job)} for job in jobs
    ]
    return table(rows, width, _NARROWEST)


def dead_table(jobs: Sequence[Facts], width: int | None = None) -> list[str]:
    """Lines of jobs that failed, or were delivered without some of their stems."""
    ids = _short([job["id"] for job in jobs])
    rows = [
        {"ID": ids[job["id"]], "WHAT": trouble(job), "AGE": span(job["age_s"]), **_whose(job)} for job in jobs
    ]
    return table(rows, width, _NARROWEST)


def letter_table(dead_letters: Sequence[Facts], width: int | None = None) -> list[str]:
    """Lines of tasks that were given up."""
    rows = [
        {"ID": letter["id"], "AGE": span(letter["age_s"]), "TASK WAS": f"{letter['what']}: {letter['why']}"}
        for letter in dead_letters
    ]
    return table(rows, width, _NARROWEST)


def page(facts: Facts, now: float) -> list[str]:
    """The lines of `whole` for a screen."""
    source = facts["source"]
    lines: list[tuple[str, str]] = [
        ("job", facts["id"]),
        ("state", _state(facts)),
        *_failed(facts),
        ("mode", _mode(facts)),
        ("for", _who(facts)),
        ("in chat", _place(facts)),
        ("song", _song(source)),
        *[
            (label, _when(facts[key], now))
            for label, key in (
                ("sent in", "created_at"),
                ("picked", "picked_at"),
                ("API asked", "create_started_at"),
                ("last polled", "polled_at"),
                ("in this state", "moved_at"),
                ("last shown", "shown_at"),
            )
        ],
        ("task", facts["task_id"]),
        ("result", _result(facts)),
        ("sent", ", ".join(f"{key} (message {number})" for key, number in facts["sent"].items())),
        *[(key.replace("_", " "), _listed(facts[key])) for key in ("missing", "refused", "silent")],
        ("too big", f"{_listed(facts['too_big'])}: as links" if facts["too_big"] else ""),
        ("besides", _listed(facts["packed"])),
        ("runs", ", ".join(f"{kind} {count}" for kind, count in facts["runs"].items())),
        ("credits", _credits(facts)),
        ("tried again as", facts["retried_as"]),
    ]
    shown = [(label, printable(text)) for label, text in lines if text]
    longest = max(len(label) for label, _ in shown)
    return [f"{label:<{longest}}  {text}" for label, text in shown]


def letter_page(facts: Facts, now: float) -> list[str]:
    """The lines of a task that was given up."""
    return [
        f"task      {printable(facts['id'])}",
        f"was       {printable(facts['what'])}",
        f"given up  {_when(facts['at'], now)}",
        f"because   {printable(facts['why'])}",
    ]


def span(seconds: float) -> str:
    """`45s`, `12m`, `3h05m`, `2d04h`."""
    minutes = int(seconds) // 60
    hours, days = minutes // 60, minutes // (24 * 60)
    if minutes < 1:
        return f"{int(seconds)}s"
    if hours < 1:
        return f"{minutes}m"
    return f"{hours}h{minutes % 60:02}m" if days < 1 else f"{days}d{hours % 24:02}h"


def _state(facts: Facts) -> str:
    state = facts["state"]
    return f"{state}, not shown yet" if JobState(state) in FINAL and not facts["is_closed"] else str(state)


def _whose(facts: Facts) -> dict[str, str]:
    return {
        "MODE": _mode(facts).replace(Mode.SPLIT_STEM_ADVANCED, "advanced"),
        "FOR": shortened(_who(facts), _NAME_CELLS),
        "CHAT": "private" if facts["chat_id"] == facts["account"] else str(facts["chat_id"]),
        "TITLE": shortened(printable(facts["title"]), _TITLE_CELLS),
        "TASK": facts["task_id"],
    }


def _mode(facts: Facts) -> str:
    return ": ".join(part for part in (facts["mode"], facts["instrument"]) if part)


def _who(facts: Facts) -> str:
    name = printable(facts["name"])
    return f"{facts['account']} {name}" if name else str(facts["account"])


def _failed(facts: Facts) -> list[tuple[str, str]]:
    failure = facts["failure"]
    if not failure:
        return []
    return [("failure", f"{failure['code']}: {facts['meaning']}"), ("this try", _CHARGED[failure["charged"]])]


def _place(facts: Facts) -> str:
    parts = [str(facts["chat_id"])]
    parts += [f"topic {facts['topic_id']}"] if facts["topic_id"] else []
    parts += [f"song in message {facts['source_message_id']}"]
    parts += [f"told in message {facts['message_id']}"] if facts["message_id"] else []
    return ", ".join([*parts, f"language {facts['language']}"])


def _song(source: Facts) -> str:
    parts = [" – ".join(part for part in (source["performer"], source["title"]) if part)]
    parts += [f"{source['kind']} {source['extension']}"]
    parts += [f"{source['duration_s'] // 60}:{source['duration_s'] % 60:02}"] if source["duration_s"] else []
    parts += [f"{source['size_bytes'] / 1024 / 1024:.1f} MB"] if source["size_bytes"] else []
    return ", ".join(part for part in [*parts, f"content {source['file_unique_id']}"] if part)


def _result(facts: Facts) -> str:
    result = facts["result"]
    if not result:
        return ""
    origin = ", kept by Telegram" if facts["is_from_kept"] else ""
    return f"code {result['code']}{origin}: {_listed(result['stems']) or 'no stems'}"


def _credits(facts: Facts) -> str:
    held = _CREDITS[Charge(facts["charge"])]
    return f"{facts['price']} {held} on {facts['account_day']} (UTC)" if facts["price"] else held


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _when(utc: str | None, now: float) -> str:
    """As the clock on the wall says it, and how long ago."""
    if utc is None:
        return ""
    at = datetime.fromisoformat(utc)
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z} ({span(max(0.0, now - at.timestamp()))} ago)"


def _short(ids: Sequence[str]) -> dict[str, str]:
    """Each id as short as it can be said among these."""
    length = _SHORT_ID
    while len({job_id[:length] for job_id in ids}) < len(set(ids)):
        length += 1
    return {job_id: job_id[:length] for job_id in ids}
