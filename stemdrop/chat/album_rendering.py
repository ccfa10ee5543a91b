"""The text and the buttons of the one menu of an album. Pure functions; no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from telegram import InlineKeyboardButton, InlineKeyboardMarkup

from stemdrop.chat.callback_data import MODE_LETTERS, AlbumAction, Screen, ScreenTap
from stemdrop.chat.rendering import TITLE_LENGTH, Details, Rendered, short_title
from stemdrop.chat.translations import Language
from stemdrop.domain.jobs import Job, Mode
from stemdrop.domain.titles import in_sentence
from stemdrop.storage.albums import Album

# The modes in which all songs of an album can be split by one tap.
ALBUM_MODES = (Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM)


@dataclass(frozen=True, slots=True)
class Song:
    """A song of the album that waits for a choice."""

    job: Job
    details: Details

    def price(self, mode: Mode) -> int:
        return 0 if (mode, "") in self.details.free else self.details.abilities.price(mode)


def render_album(
    group: str,
    songs: Sequence[Song],
    refusals: Sequence[str],
    say: Language,
    affordable: tuple[Mode, int] | None = None,
) -> Rendered:
    """The menu for all songs. `affordable`: of a mode that is too dear today, how many songs can be paid."""
    lines = [say.plural("album.choose", len(songs))]
    lines += [f"{number}. {short_title(song.job, say)}" for number, song in enumerate(songs, 1)]
    lines += refusals
    modes = [mode for mode in ALBUM_MODES if all(song.details.abilities.can(mode) for song in songs)]
    rows = [[_all(group, songs, mode, say)] for mode in modes]
    if affordable:
        mode, count = affordable
        lines += ["", say("album.over", price=say.credits(price_of(songs, mode)), count=say.number(count))]
        if count:
            rows.insert(0, [_all(group, songs[:count], mode, say, "album.first")])
    rows.append([_button(say("button.one_by_one"), group, AlbumAction.SINGLY)])
    rows.append([_button(say("button.cancel"), group, AlbumAction.CANCEL)])
    return "\n".join(lines), InlineKeyboardMarkup(rows)


def price_of(songs: Sequence[Song], mode: Mode) -> int:
    return sum(song.price(mode) for song in songs)


def digest(songs: Sequence[Job]) -> str:
    """Name these songs in a button: a tap is for the songs that its user has seen, and for no others."""
    return sha256(" ".join(song.id for song in songs).encode()).hexdigest()[:8]


def _all(
    group: str, songs: Sequence[Song], mode: Mode, say: Language, key: str = "album.all"
) -> InlineKeyboardButton:
    credits = price_of(songs, mode)
    price = say.credits(credits) if credits else say("price.free")
    if songs[0].details.abilities.is_free:
        price = ""
    if len(songs) == 1 and key == "album.all":
        label = say.priced(f"mode.{mode}", price)
    else:
        name, count = say.mode_name(mode), say.number(len(songs))
        label = say(key, count=count, mode=name, price=price).removesuffix(" · ")
    return _button(label, group, MODE_LETTERS[mode], digest([song.job for song in songs]))


def _button(label: str, group: str, *words: str) -> InlineKeyboardButton:
    return InlineKeyboardButton(label, callback_data=ScreenTap(Screen.ALBUM, (group, *words)).to_data())


def refusals_of(album: Album, say: Language) -> list[str]:
    """Return a line for each file that was refused."""
    return [
        say("album.refused", name=in_sentence(file.song.source.title, TITLE_LENGTH), why=file.refusal)
        for file in album.files
        if file.refusal
    ]
