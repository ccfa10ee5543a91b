"""The text and the buttons of the menu that all songs of an album share. Pure functions; no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from telegram import InlineKeyboardButton, InlineKeyboardMarkup

from stemdrop.chat.callback_data import AlbumAction, Screen, choice_word, credits_word
from stemdrop.chat.instrument_rendering import instrument_label, instrument_rows
from stemdrop.chat.rendering import TITLE_LENGTH, Details, Rendered, short_title
from stemdrop.chat.screen_buttons import button
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Choice, Job, Mode
from stemdrop.domain.titles import in_sentence
from stemdrop.storage.albums import Album

# The modes in which all songs of an album can be split by one tap.
ALBUM_MODES = (Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM)
# The choice of one instrument before the user has named the instrument.
_ONE: Choice = (Mode.SPLIT_STEM_ADVANCED, "")


@dataclass(frozen=True, slots=True)
class Song:
    """A song of the album that waits for a choice."""

    job: Job
    details: Details

    def price(self, choice: Choice) -> int:
        return 0 if choice in self.details.free else self.details.abilities.price(*choice)


def render_album(
    group: str,
    songs: Sequence[Song],
    refusals: Sequence[str],
    translate: Language,
    affordable: tuple[Choice, int] | None = None,
) -> Rendered:
    """Return the menu for all songs.

    `affordable` is a choice that is too dear today, and for how many of the songs the account can pay.
    """
    lines = [translate.plural("album.choose", len(songs))]
    lines += [f"{number}. {short_title(song.job, translate)}" for number, song in enumerate(songs, 1)]
    lines += refusals
    can = songs[0].details.abilities.can
    rows = [[_all(group, songs, (mode, ""), translate)] for mode in ALBUM_MODES if can(mode)]
    if can(Mode.SPLIT_STEM_ADVANCED):
        rows.append(
            [button(_label(songs, _ONE, translate), Screen.ALBUM, group, AlbumAction.INSTRUMENTS, "0")]
        )
    if affordable:
        choice, count = affordable
        lines += [
            "",
            translate(
                "album.over", price=translate.credits(price_of(songs, choice)), count=translate.number(count)
            ),
        ]
        if count:
            rows.insert(0, [_all(group, songs[:count], choice, translate, "album.first")])
    rows.append([button(translate("button.one_by_one"), Screen.ALBUM, group, AlbumAction.SINGLY)])
    rows.append([button(translate("button.cancel"), Screen.ALBUM, group, AlbumAction.CANCEL)])
    return "\n".join(lines), InlineKeyboardMarkup(rows)


def render_album_instruments(group: str, songs: Sequence[Song], translate: Language, page: int) -> Rendered:
    """Return a page of the list of instruments, of which one can be isolated in all songs."""
    text = f"{translate.plural('album.instrument', len(songs))}\n{_label(songs, _ONE, translate)}"
    one, usual_price = Mode.SPLIT_STEM_ADVANCED, _price(songs, _ONE, translate)

    def pick(name: str) -> InlineKeyboardButton:
        price = _price(songs, (one, name), translate)
        label = instrument_label(name, price, usual_price, translate)
        return _pick(label, group, songs, (one, name))

    rows = instrument_rows(
        page,
        songs[0].details,
        pick,
        lambda sign, other: button(sign, Screen.ALBUM, group, AlbumAction.INSTRUMENTS, str(other)),
    )
    back = button(translate("button.back"), Screen.ALBUM, group, AlbumAction.BACK)
    cancel = button(translate("button.cancel"), Screen.ALBUM, group, AlbumAction.CANCEL)
    return text, InlineKeyboardMarkup([*rows, [back, cancel]])


def price_of(songs: Sequence[Song], choice: Choice) -> int:
    return sum(song.price(choice) for song in songs)


def digest(songs: Sequence[Job]) -> str:
    """Return a digest that names these songs in a button, so that a tap is only for songs that were shown."""
    return sha256(" ".join(song.id for song in songs).encode()).hexdigest()[:8]


def _all(
    group: str, songs: Sequence[Song], choice: Choice, translate: Language, key: str = "album.all"
) -> InlineKeyboardButton:
    label = _label(songs, choice, translate, key)
    return _pick(label, group, songs, choice)


def _pick(label: str, group: str, songs: Sequence[Song], choice: Choice) -> InlineKeyboardButton:
    seen, credits = digest([song.job for song in songs]), price_of(songs, choice)
    return button(label, Screen.ALBUM, group, choice_word(*choice), seen, credits_word(credits))


def _label(songs: Sequence[Song], choice: Choice, translate: Language, key: str = "album.all") -> str:
    price = _price(songs, choice, translate)
    if len(songs) == 1 and key == "album.all":
        return translate.priced(f"mode.{choice[0]}", price)
    name, count = translate.mode_name(*choice), translate.number(len(songs))
    if choice == _ONE:
        name += "…"
    return translate(key, count=count, mode=name, price=price).removesuffix(" · ")


def _price(songs: Sequence[Song], choice: Choice, translate: Language) -> str:
    """Return the price to show, as `Details.price` and `Details.instrument_price` do for one song."""
    credits = price_of(songs, choice)
    if credits:
        return translate.credits(credits)
    return "" if choice == _ONE or songs[0].details.abilities.is_free else translate("price.free")


def refusals_of(album: Album, translate: Language) -> list[str]:
    """Return a line for each file that was refused."""
    return [
        translate("album.refused", name=in_sentence(file.song.source.title, TITLE_LENGTH), why=file.refusal)
        for file in album.files
        if file.refusal
    ]
