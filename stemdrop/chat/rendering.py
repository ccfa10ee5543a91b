"""The text and the buttons of a job's message in each state. Pure functions; no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.constants import KeyboardButtonStyle, MessageLimit

from stemdrop.chat.callback_data import Action, Tap
from stemdrop.chat.remix_buttons import remix_row
from stemdrop.chat.translations import Language
from stemdrop.domain.abilities import ALL, Abilities
from stemdrop.domain.failures import Remedy, remedies
from stemdrop.domain.jobs import INSTRUMENTS, Charge, Choice, Job, JobState, Mode, Obstacle
from stemdrop.domain.results import Stem
from stemdrop.domain.titles import cut, in_sentence
from stemdrop.storage.job_statistics import Estimate

# The longest title in a sentence, in characters.
TITLE_LENGTH = 64
# The longest line of stems' names, in characters: three lines of emoji and a link fit into one message.
NAMES_LENGTH = 600
# A song that costs credits waits so long before it starts by itself.
UNDO_S = 10.0
# The elapsed time is shown once it is so long.
WORTH_TELLING_S = 10

_STYLES = {
    Action.CANCEL: KeyboardButtonStyle.DANGER,
    Action.UNDO: KeyboardButtonStyle.DANGER,
    Action.START: KeyboardButtonStyle.SUCCESS,
}

Rendered = tuple[str, InlineKeyboardMarkup | None]


@dataclass(frozen=True, slots=True)
class Details:
    """The facts that a message shows beside the job itself.

    `delivered` counts the stems in the chat, and `mp3` holds the keys of those that are MP3 in place of a
    lossless file; `place` is the job's place in its queue, from 1; `elapsed_s` runs since its turn came;
    `can_ask_again`: another create call is offered; `free` holds the choices that cost nothing for this song;
    `instruments` are in the order to be shown; `abilities` are those of the providers; the button of the mode
    `usual` is marked; `mixer_url` opens the job's mixer, and is empty if no mixer can be opened.
    """

    delivered: int = 0
    mp3: frozenset[str] = frozenset()
    place: int = 0
    elapsed_s: float = 0
    estimate: Estimate | None = None
    can_ask_again: bool = False
    free: frozenset[Choice] = frozenset()
    instruments: tuple[str, ...] = INSTRUMENTS
    abilities: Abilities = ALL
    usual: Mode = Mode.SEPARATE_VOCAL
    mixer_url: str = ""

    def price(self, translate: Language, mode: Mode | None, instrument: str = "") -> str:
        """Return the price to show; empty if the host is free of charge."""
        if mode is None or self.abilities.is_free:
            return ""
        credits = self.credits(mode, instrument)
        return translate.credits(credits) if credits else translate("price.free")

    def credits(self, mode: Mode | None, instrument: str = "") -> int:
        """Return the price in credits; 0 for a choice that is free."""
        return (
            0 if mode is None or (mode, instrument) in self.free else self.abilities.price(mode, instrument)
        )

    def instrument_price(self, translate: Language) -> str:
        """Return the usual price of an instrument, which its button does not repeat; empty if that is 0."""
        credits = self.abilities.price(Mode.SPLIT_STEM_ADVANCED)
        return translate.credits(credits) if credits else ""


NO_DETAILS = Details()


def short_title(job: Job, translate: Language) -> str:
    return in_sentence(job.source.title, TITLE_LENGTH) or translate("title.song")


def render(job: Job, translate: Language, details: Details = NO_DETAILS) -> Rendered:
    title, translate = short_title(job, translate), translate.where(is_free=details.abilities.is_free)
    match job.state:
        case JobState.CHOOSING if job.is_cache_lost and job.mode:
            name = translate.mode_name(job.mode, job.instrument)
            price = details.price(translate, job.mode, job.instrument)
            label = f"{name} · {price}" if price else name
            credits = details.credits(job.mode, job.instrument)
            again = job_button(label, Tap(Action.PICK, job.id, job.mode, job.instrument, credits=credits))
            return translate("links_lost" if job.paid_by else "kept_lost", title=title), _keyboard(
                [[again], cancel_row(job, translate)]
            )
        case JobState.CHOOSING if job.starts_at:
            return _starting(job, translate, title, details)
        case JobState.CHOOSING:
            text = "\n".join([translate("choose", title=title), *_stem_names(translate, details)])
            return text, _keyboard(_mode_rows(job, translate, details))
        case JobState.QUEUED:
            if job.waits_for:
                return translate("state.waiting", title=title), _keyboard([cancel_row(job, translate)])
            place = max(1, details.place)
            return translate("state.queued", title=title, place=place), _keyboard(
                [cancel_row(job, translate)]
            )
        case JobState.SUBMITTING if job.answer_lost_at or details.elapsed_s >= WORTH_TELLING_S:
            return _submitting(job, translate, title, details)
        # most create calls take less than a second, so that showing their acceptance needs no further edit
        case JobState.SUBMITTING | JobState.SEPARATING:
            text = translate("state.separating", title=title)
            text = f"{text}\n{_progress(job, translate, details)}".rstrip()
            return text, _keyboard([cancel_row(job, translate)])
        case JobState.DELIVERING if job.result and not job.result.stems:
            return translate("state.separating", title=title), None
        case JobState.DELIVERING:
            key = "state.delivering_kept" if job.cached else "state.delivering"
            return translate(key, title=title), None
        case JobState.DELIVERED:
            return _closing(job, translate, title, details)
        case JobState.FAILED:
            return _failure(job, translate, details)
        case JobState.CANCELLED:
            is_charged = job.create_started_at and job.charge is not Charge.RETURNED
            is_charged = is_charged and not details.abilities.is_free
            key = "state.cancelled_late" if is_charged else "state.cancelled"
            back = "button.resume" if job.is_paid_and_cancelled else "button.choose_again"
            return translate(key, title=title), _keyboard(
                [[job_button(translate(back), Tap(Action.RESUME, job.id))]]
            )


def _starting(job: Job, translate: Language, title: str, details: Details) -> Rendered:
    name = translate.mode_name(job.mode, job.instrument) if job.mode else ""
    price = details.price(translate, job.mode, job.instrument)
    text = translate("start.soon", title=title, mode=name, price=price, time=translate.duration(UNDO_S))
    start = Tap(Action.START, job.id, credits=details.credits(job.mode, job.instrument))
    buttons = (("button.undo", Tap(Action.UNDO, job.id)), ("button.start_now", start))
    return text, _keyboard([[job_button(translate(key), tap) for key, tap in buttons]])


def _submitting(job: Job, translate: Language, title: str, details: Details) -> Rendered:
    rows = [cancel_row(job, translate)]
    if not job.answer_lost_at:
        return translate("state.submitting", title=title), _keyboard(rows)
    if details.can_ask_again:
        label = translate.priced("button.ask_again", details.price(translate, job.mode, job.instrument))
        tap = Tap(Action.ASK_AGAIN, job.id, credits=details.credits(job.mode, job.instrument))
        rows.insert(0, [job_button(label, tap)])
        known = "lost.not_fetched"
    else:
        known = "lost.fetched" if job.source_fetched_at else "lost.waiting"
    return f"{translate('lost', title=title)}\n{translate(known)}", _keyboard(rows)


def _progress(job: Job, translate: Language, details: Details) -> str:
    """Return the elapsed time, with the percentage if the provider reports one, or else an estimate."""
    estimate, gone = details.estimate, translate.duration(details.elapsed_s)
    if job.progress:
        return translate("progress.percent", percent=translate.percent(job.progress / 100), gone=gone)
    if details.elapsed_s < WORTH_TELLING_S:
        return (
            translate("progress.soon", high=translate.duration(estimate.high_s))
            if estimate
            else translate("progress.first")
        )
    if estimate is None:
        return translate("progress.unknown", gone=gone)
    low, high = translate.duration(estimate.low_s), translate.duration(estimate.high_s)
    if details.elapsed_s > estimate.high_s:
        return translate("progress.late", gone=gone, high=high)
    return translate("progress.usual", gone=gone, low=low, high=high)


def _mode_rows(job: Job, translate: Language, details: Details) -> list[list[InlineKeyboardButton]]:
    modes = (Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM)
    rows = [[_pick(job, translate, mode, details)] for mode in modes if details.abilities.can(mode)]
    return [*rows, *_one_instrument(job, translate, details), cancel_row(job, translate)]


def _one_instrument(job: Job, translate: Language, details: Details) -> list[list[InlineKeyboardButton]]:
    mode = Mode.SPLIT_STEM_ADVANCED
    if not details.abilities.can(mode):
        return []
    label = translate.priced(f"mode.{mode}", details.instrument_price(translate))
    return [[job_button(label, Tap(Action.INSTRUMENTS, job.id))]]


def _stem_names(translate: Language, details: Details) -> list[str]:
    """Return the line that names and counts the stems of *All stems*; none if they are not known."""
    stems = details.abilities.stems(Mode.SPLIT_STEM)
    named = [translate.stem(Stem(key, "", key.replace("_", " ").title())) for key in stems]
    head = f"{translate.mode_name(Mode.SPLIT_STEM)} ({translate.number(len(stems))})"
    return [cut(f"{head}: {', '.join(named)}", NAMES_LENGTH)] if stems else []


def _pick(
    job: Job, translate: Language, mode: Mode, details: Details, action: Action = Action.PICK
) -> InlineKeyboardButton:
    label = translate.priced(f"mode.{mode}", details.price(translate, mode))
    return job_button(label, Tap(action, job.id, mode, credits=details.credits(mode)), details.usual)


def _other_modes(job: Job, translate: Language, details: Details) -> list[list[InlineKeyboardButton]]:
    others = [mode for mode in (Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM) if mode is not job.mode]
    can = details.abilities.can
    rows = [[_pick(job, translate, mode, details, Action.OTHER_MODE)] for mode in others if can(mode)]
    return [*rows, *_one_instrument(job, translate, details)]


def _closing(job: Job, translate: Language, title: str, details: Details) -> Rendered:
    if details.delivered:
        key = "state.delivered_kept" if job.cached else "state.delivered"
        lines = [translate.plural(key, details.delivered, title=title)]
        if job.facts:
            lines.append(translate.song_facts(job.facts))
    elif _is_all_silent(job):
        return translate("state.all_silent", title=title), _keyboard(_closing_rows(job, translate, details))
    else:
        lines = [translate("state.only_links" if job.links else "state.none_delivered", title=title)]
    mp3 = [
        translate.stem(stem) for stem in (job.result.stems if job.result else ()) if stem.key in details.mp3
    ]
    named = (("state.silent", job.silent), ("state.missing", job.missing), ("state.refused", job.refused))
    for name, names in (*named, ("state.mp3", mp3)):
        if names:
            shown = ", ".join(in_sentence(stem, TITLE_LENGTH) for stem in names)
            lines.append(cut(translate(name, names=shown), NAMES_LENGTH))
    links = [
        translate("state.link", name=in_sentence(name, TITLE_LENGTH), url=url) for name, url in job.links
    ]
    return _fitting(lines, links), _keyboard(_closing_rows(job, translate, details))


def _is_all_silent(job: Job) -> bool:
    return bool(job.silent) and not (job.missing or job.refused or job.links)


def _closing_rows(job: Job, translate: Language, details: Details) -> list[list[InlineKeyboardButton]]:
    rows = []
    if job.missing:
        rows.append([job_button(translate("button.fetch_again"), Tap(Action.FETCH_AGAIN, job.id))])
    rows += _other_modes(job, translate, details)
    if details.delivered > 1:
        rows.append(remix_row(job.id, details.mixer_url, translate))
    if details.delivered:
        packed = ((Action.ZIP, "button.zip"), (Action.SMALL, "button.small"))
        rows.append([job_button(translate(key), Tap(action, job.id)) for action, key in packed])
    return rows


def _fitting(lines: list[str], links: list[str]) -> str:
    """Return one text that Telegram accepts, with as many whole links as fit."""
    text = "\n".join(lines)
    for line in links:
        longer = f"{text}\n{line}"
        # Telegram counts UTF-16 units
        if len(longer.encode("utf-16-le")) // 2 <= MessageLimit.MAX_TEXT_LENGTH:
            text = longer
    return text


def _failure(job: Job, translate: Language, details: Details) -> Rendered:
    if job.failure is None:
        raise ValueError(f"job {job.id} has failed without a reason")
    rows = []
    if job.is_undelivered:
        label = "button.send_now" if job.failure.code in set(Obstacle) else "button.fetch_again"
        rows.append([job_button(translate(label), Tap(Action.FETCH_AGAIN, job.id))])
    else:
        offered = remedies(job.failure)
        if Remedy.RETRY in offered:
            price = details.price(translate, job.mode, job.instrument)
            tap = Tap(Action.RETRY, job.id, credits=details.credits(job.mode, job.instrument))
            rows.append([job_button(translate.priced("button.retry", price), tap)])
        if Remedy.OTHER_MODE in offered:
            rows += _other_modes(job, translate, details)
    failure = translate.failure(job.failure)
    return f"{failure}\n🎵 {short_title(job, translate)}", _keyboard(rows)


def cancel_row(job: Job, translate: Language) -> list[InlineKeyboardButton]:
    return [job_button(translate("button.cancel"), Tap(Action.CANCEL, job.id))]


def job_button(text: str, tap: Tap, usual: Mode = Mode.SEPARATE_VOCAL) -> InlineKeyboardButton:
    is_usual = tap.action is Action.PICK and tap.mode is usual
    style = KeyboardButtonStyle.SUCCESS if is_usual else _STYLES.get(tap.action)
    return InlineKeyboardButton(text, callback_data=tap.to_data(), style=style)


def _keyboard(rows: Sequence[Sequence[InlineKeyboardButton]]) -> InlineKeyboardMarkup | None:
    return InlineKeyboardMarkup(rows) if rows else None
