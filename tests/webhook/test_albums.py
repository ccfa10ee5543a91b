"""How stems are named and put into albums."""

import pytest

from webhook.albums import MAX_ALBUM, album_sizes, file_name, title


@pytest.mark.parametrize("count", range(1, 31))
def test_albums_take_what_telegram_takes(count: int) -> None:
    sizes = album_sizes(count)
    assert sum(sizes) == count
    assert max(sizes) <= MAX_ALBUM
    assert min(sizes) >= 2 or count == 1
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-count // MAX_ALBUM)


def test_albums_of_the_usual_results() -> None:
    assert [album_sizes(count) for count in (1, 2, 10, 11, 12, 21)] == [
        [1],
        [2],
        [10],
        [6, 5],
        [6, 6],
        [7, 7, 7],
    ]


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
        ("nul\x00bell\x07del\x7f", "nul\x00bell\x07del\x7f (Vocals)", "nul_bell_del_ (Vocals).mp3"),
        ("", "(Vocals)", "(Vocals).mp3"),
        (" \n ", "(Vocals)", "(Vocals).mp3"),
        ("100% {0} %s", "100% {0} %s (Vocals)", "100% {0} %s (Vocals).mp3"),
    ],
)
def test_names(song: str, titled: str, named: str) -> None:
    assert title(song, "Vocals") == titled
    assert file_name(song, "Vocals", ".mp3") == named


@pytest.mark.parametrize("song", ["x" * 1000, "word " * 300, "🎵" * 500])
def test_a_long_title_is_cut_and_the_stem_never(song: str) -> None:
    found = title(song, "Backing vocals")
    assert len(found) <= 120
    assert found.endswith("… (Backing vocals)")
    assert " …" not in found


def test_a_title_that_just_fits_is_whole() -> None:
    song = "x" * (120 - len(" (Vocals)"))
    assert title(song, "Vocals") == f"{song} (Vocals)"
