"""The mixing desk of a job in the chat: its text and its buttons. Pure functions; no I/O.

`translate` has the texts for a host that charges, or for one that does not (`Language.where`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.constants import KeyboardButtonStyle

from stemdrop.chat.callback_data import RemixAction
from stemdrop.chat.remix_buttons import remix_button
from stemdrop.chat.remix_titles import remix_words, signed
from stemdrop.chat.rendering import NAMES_LENGTH, Rendered, short_title
from stemdrop.chat.screen_buttons import in_pairs, page_of
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Job
from stemdrop.domain.mixing_desk import (
    PRACTICE_SPEEDS,
    Draft,
    Level,
    Preset,
    PresetKind,
    presets,
    stem_word,
    stepped,
)
from stemdrop.domain.recipes import HIGHEST, LOWEST, OFF_DB, Recipe
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import SongFacts
from stemdrop.domain.titles import in_sentence

# Stems on one page of the levels, two in a row: six rows fit on a phone.
PAGE_LENGTH = 12
# The longest name of a stem on a button, in characters: half the width of a phone.
_LABEL_LENGTH = 20
_ICONS = {Level.NORMAL: "🔊", Level.QUIET: "🔉", Level.OFF: "🔇", Level.SOLO: "⭐"}
ALBUM, ZIP = "a", "z"


@dataclass(frozen=True, slots=True)
class Desk:
    """What a desk shows: the audible stems of its job, and the draft that its user has set."""

    job: Job
    stems: tuple[Stem, ...]
    draft: Draft
    my_instrument: str = ""

    @property
    def has_tempo(self) -> bool:
        return bool(self.job.facts and self.job.facts.bpm)

    @property
    def recipe(self) -> Recipe:
        """The recipe that is set for all stems of the job, also for silent ones."""
        stems = self.job.result.stems if self.job.result else self.stems
        return self.draft.played([stem.key for stem in stems], has_tempo=self.has_tempo)

    @property
    def is_heard(self) -> bool:
        return bool(self.recipe.heard(stem.key for stem in self.stems))


def render_presets(desk: Desk, translate: Language) -> Rendered:
    """Return the first page of a desk."""
    offered = presets(desk.stems, desk.my_instrument)
    buttons = [
        remix_button(_preset_name(preset, desk, translate), RemixAction.PRESET, desk.job.id, preset.word)
        for preset in offered
    ]
    mine = sum(preset.is_mine for preset in offered)  # in a row of its own, above the others
    rows = [
        *([buttons[:mine]] if mine else []),
        *in_pairs(buttons[mine:]),
        [
            remix_button(translate("button.levels"), RemixAction.LEVELS, desk.job.id),
            remix_button(translate("button.tempo"), RemixAction.TEMPO, desk.job.id),
        ],
        [
            remix_button(translate("button.practice"), RemixAction.PACK, desk.job.id),
            _make(desk, translate),
        ],
        [
            remix_button(translate("button.picture"), RemixAction.PICTURE, desk.job.id),
            remix_button(translate("button.reset"), RemixAction.RESET, desk.job.id, RemixAction.HOME),
            remix_button(translate("button.close"), RemixAction.CLOSE, desk.job.id),
        ],
    ]
    return _text(desk, translate, translate("desk.how")), InlineKeyboardMarkup(rows)


def render_levels(desk: Desk, translate: Language, page: int = 0) -> Rendered:
    """Return a page with a button for each of some stems, which shows its level and sets the next one."""
    shown = page_of(desk.stems, page, PAGE_LENGTH)
    levels = [
        remix_button(
            f"{_icon(desk, stem.key)} {_name(stem, translate)}",
            RemixAction.LEVEL,
            desk.job.id,
            stem_word(stem.key),
            desk.draft.next_level(stem.key),
            shown.number,
        )
        for stem in shown.items
    ]
    turns = shown.turn_buttons(
        lambda label, other: remix_button(label, RemixAction.LEVELS, desk.job.id, other)
    )
    rows = [*in_pairs(levels), *in_pairs(turns), *_last_rows(desk, translate, RemixAction.LEVELS)]
    return _text(desk, translate, translate("desk.levels")), InlineKeyboardMarkup(rows)


def render_tempo(desk: Desk, translate: Language) -> Rendered:
    """Return the page with speed and key, and with clicks if the tempo is known."""
    job_id, recipe = desk.job.id, desk.recipe
    slower, faster = stepped(recipe.speed, -1), stepped(recipe.speed, 1)
    semitones = signed(recipe.semitones) if recipe.semitones else "0"
    lower, higher = max(LOWEST, recipe.semitones - 1), min(HIGHEST, recipe.semitones + 1)
    rows = [
        [
            remix_button("−", RemixAction.SPEED, job_id, slower),
            remix_button(f"⏱ {translate.percent(recipe.speed / 100)}", RemixAction.SPEED, job_id, 100),
            remix_button("+", RemixAction.SPEED, job_id, faster),
        ],
        [
            remix_button("−", RemixAction.SEMITONES, job_id, lower),
            remix_button(f"🎼 {semitones}", RemixAction.SEMITONES, job_id, 0),
            remix_button("+", RemixAction.SEMITONES, job_id, higher),
        ],
    ]
    if desk.has_tempo:
        clicks = (
            (RemixAction.COUNT_IN, "button.count_in", recipe.has_count_in),
            (RemixAction.METRONOME, "button.metronome", recipe.has_metronome),
        )
        rows.append(
            [
                remix_button(
                    f"✓ {translate(key)}" if is_on else translate(key), action, job_id, int(not is_on)
                )
                for action, key, is_on in clicks
            ]
        )
    rows += _last_rows(desk, translate, RemixAction.TEMPO)
    hint = translate("desk.tempo" if desk.has_tempo else "desk.no_tempo")
    return _text(desk, translate, hint), InlineKeyboardMarkup(rows)


def render_pack(desk: Desk, translate: Language) -> Rendered:
    """Return the page that asks how the practice pack is to come."""
    rows = [
        [
            remix_button(translate("button.as_songs"), RemixAction.PACK, desk.job.id, ALBUM),
            remix_button(translate("button.zip"), RemixAction.PACK, desk.job.id, ZIP),
        ],
        [remix_button(translate("button.back"), RemixAction.HOME, desk.job.id)],
    ]
    *slower, full = map(str, PRACTICE_SPEEDS)
    key = "desk.pack_clicks" if desk.has_tempo else "desk.pack"
    hint = translate(key, speeds=", ".join(slower), full=full)
    return _text(desk, translate, hint), InlineKeyboardMarkup(rows)


def _last_rows(desk: Desk, translate: Language, page: RemixAction) -> list[list[InlineKeyboardButton]]:
    back = remix_button(translate("button.back"), RemixAction.HOME, desk.job.id)
    reset = remix_button(translate("button.reset"), RemixAction.RESET, desk.job.id, page)
    return [[back, reset], [_make(desk, translate)]]


def _make(desk: Desk, translate: Language) -> InlineKeyboardButton:
    style = KeyboardButtonStyle.SUCCESS
    return remix_button(translate("button.make"), RemixAction.MAKE, desk.job.id, style=style)


def _text(desk: Desk, translate: Language, hint: str) -> str:
    title = short_title(desk.job, translate)
    now = translate("desk.now", recipe=describe(desk, translate))
    return f"{translate('desk.head', title=title)}\n{now}\n\n{hint}"


def describe(desk: Desk, translate: Language) -> str:
    """Return what is set, and the tempo and key that result, as in "without bass, 80% (83 BPM)"."""
    recipe, facts = desk.recipe, desk.job.facts or SongFacts()
    if not desk.is_heard:
        return translate("desk.silence")
    if recipe.is_plain:
        return translate("desk.as_it_is")
    words = in_sentence(remix_words(recipe, desk.stems, translate), NAMES_LENGTH)
    new = facts.changed(recipe.speed, recipe.semitones)
    told = SongFacts(new.bpm if recipe.speed != 100 else 0, key=new.key if recipe.semitones else "")
    known = translate.song_facts(told)
    return f"{words} ({known})" if known else words


def _icon(desk: Desk, key: str) -> str:
    """Return the sign of a stem's level; a stem that is silent because of another's solo is shown as off."""
    level = desk.draft.level(key)
    is_silenced = level is not Level.SOLO and desk.recipe.gain(key) == OFF_DB
    return _ICONS[Level.OFF if is_silenced else level]


def _preset_name(preset: Preset, desk: Desk, translate: Language) -> str:
    if preset.kind is PresetKind.QUIET:
        return translate("preset.quiet_vocals")
    if preset.stem is None:
        return translate("preset.rhythm")
    words = in_sentence(remix_words(preset.draft.recipe, desk.stems, translate), NAMES_LENGTH)
    name = words[:1].upper() + words[1:]
    return f"⭐ {name}" if preset.is_mine else name


def _name(stem: Stem, translate: Language) -> str:
    return in_sentence(translate.stem(stem), _LABEL_LENGTH) or "…"


PAGES: dict[str, Callable[[Desk, Language], Rendered]] = {
    RemixAction.HOME: render_presets,
    RemixAction.LEVELS: render_levels,
    RemixAction.TEMPO: render_tempo,
}
