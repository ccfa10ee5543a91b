"""The names of stems for songs of any title."""

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from stemdrop.domain.titles import archive_name, cut, file_name, in_sentence, title


@pytest.mark.parametrize(
    ("song", "titled", "named"),
    [
        ("Morning Line", "Morning Line (Vocals)", "Morning Line (Vocals).mp3"),
        ("🎵 夜曲 👩‍👩‍👧", "🎵 夜曲 👩‍👩‍👧 (Vocals)", "🎵 夜曲 👩‍👩‍👧 (Vocals).mp3"),
        ("שיר אהבה", "שיר אהבה (Vocals)", "שיר אהבה (Vocals).mp3"),
        ("AC/DC", "AC/DC (Vocals)", "AC_DC (Vocals).mp3"),
        ("../../etc/passwd", "../../etc/passwd (Vocals)", "_.._etc_passwd (Vocals).mp3"),
        ('C:\\a|b?*<>"', 'C:\\a|b?*<>" (Vocals)', "C__a_b_____ (Vocals).mp3"),
        ("...hidden", "...hidden (Vocals)", "hidden (Vocals).mp3"),
        ("two\nlines\r\tand  more", "two lines and more (Vocals)", "two lines and more (Vocals).mp3"),
        ("nul\x00bell\x07del\x7f", "nul bell del (Vocals)", "nul bell del (Vocals).mp3"),
        ("", "Song (Vocals)", "Song (Vocals).mp3"),
        (" \n ", "Song (Vocals)", "Song (Vocals).mp3"),
        ("???", "??? (Vocals)", "Song (Vocals).mp3"),
        ("...", "... (Vocals)", "Song (Vocals).mp3"),
        ("/ \\ : .", "/ \\ : . (Vocals)", "Song (Vocals).mp3"),
        ("?!", "?! (Vocals)", "_! (Vocals).mp3"),
        ("\u202egnos\u202c", "gnos (Vocals)", "gnos (Vocals).mp3"),
        ("\u202e\u2066gn\u200bos", "gnos (Vocals)", "gnos (Vocals).mp3"),
        ("\u200b\u2060 \ufeff", "Song (Vocals)", "Song (Vocals).mp3"),
        ("CON", "CON (Vocals)", "_CON (Vocals).mp3"),
        ("con.mp3", "con.mp3 (Vocals)", "_con.mp3 (Vocals).mp3"),
        (" . .x", ". .x (Vocals)", "x (Vocals).mp3"),
        ("100% {0} %s", "100% {0} %s (Vocals)", "100% {0} %s (Vocals).mp3"),
    ],
)
def test_names(song: str, titled: str, named: str) -> None:
    assert title(song, "Vocals", "Song") == titled
    assert file_name(song, "Vocals", ".mp3", "Song") == named


@pytest.mark.parametrize(
    ("song", "named"),
    [
        *((song, f"_{song}.zip") for song in ("CON", "nul", "Aux", "com1", "LPT9", "con.a", "prn .b")),
        *((song, f"{song}.zip") for song in ("Conga", "com", "com10", "console", "nullify.a")),
    ],
)
def test_an_archive_is_never_named_like_a_windows_device(song: str, named: str) -> None:
    assert archive_name(song, "Song") == named


@pytest.mark.parametrize("stem", ["../../x", "a\nb\x00c", "\u202ebass", 'a"b', "C:\\x"])
def test_a_stem_name_contains_no_path(stem: str) -> None:
    found = file_name("Blue", stem, ".mp3", "Song")
    assert PurePosixPath(found).name == PureWindowsPath(found).name == found
    assert found.isprintable()
    assert '"' not in found


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("ask @somebody", "ask @\u2060somebody"),
        ("<@somebody>", "<@\u2060somebody>"),
        ("(/start)", "(/\u2060start)"),
        ("#tag ²#tag", "#\u2060tag ²#\u2060tag"),
        ("me@host AC/DC </b> 1/2 @ # /", "me@host AC/DC </b> 1/2 @ # /"),
        ("\u202eevil\u2066 a\u200b@somebody", "evil a@somebody"),
        ("\u200b@somebody", "@\u2060somebody"),
    ],
)
def test_words_in_a_sentence_contain_no_links(words: str, told: str) -> None:
    """By Telegram's own rules for links."""
    assert in_sentence(words, 100) == told


@pytest.mark.parametrize("song", ["x" * 1000, "word " * 300, "🎵" * 500])
def test_a_long_title_is_cut_but_not_the_stem(song: str) -> None:
    found = title(song, "Backing vocals", "Song")
    assert len(found) <= 120
    assert found.endswith("… (Backing vocals)")
    assert " …" not in found


def test_a_title_that_just_fits_is_whole() -> None:
    song = "x" * (120 - len(" (Vocals)"))
    assert title(song, "Vocals", "Song") == f"{song} (Vocals)"


FAMILY = "👩‍👩‍👧‍👦"
ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
SIGNS = [FAMILY, ENGLAND, "👍🏽", "🇧🇷", unicodedata.normalize("NFD", "é"), "❤️", "नि"]


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("before", range(3))
def test_composed_characters_are_not_cut_apart(sign: str, before: int) -> None:
    text = "x" * before + sign * 20
    for length in range(before + len(sign) + 2, len(text)):
        found = cut(text, length)
        assert len(found) <= length
        cached = found.removesuffix("…")
        assert found != cached
        assert cached
        assert len(cached[before:]) % len(sign) == 0


def test_an_endless_character_is_cut() -> None:
    assert cut("a" + "\u0301" * 500, 100) == "a" + "\u0301" * 98 + "…"


@pytest.mark.parametrize("song", ["x" * 1000, "夜曲" * 100, "🎵" * 500, FAMILY * 50, "a" + "\u0301" * 500])
@pytest.mark.parametrize("stem", ["Backing vocals", "Без " + "ж" * 60])
def test_file_names_fit_into_every_file_system(song: str, stem: str) -> None:
    found = file_name(song, stem, ".flac", "Song")
    assert len(found) <= 120
    assert len(found.encode()) <= 240
    assert found.endswith(f"… ({stem}).flac")
