"""The picture of a song: a lane for each stem, drawn where the stem plays."""

from pathlib import Path

import av
import numpy as np
import pytest

from stemdrop.chat.song_picture import SQUARES, draw_lanes, square_of
from stemdrop.domain.peaks import FLOOR_DB, PEAKS, decode_peaks, encode_peaks

LOUD, SILENT = bytes([FLOOR_DB]), bytes(1)
HALF = LOUD * (PEAKS // 2) + SILENT * (PEAKS // 2)
LANE, GAP, MARGIN = 64, 12, 24


def pixels(path: Path, lanes: list[bytes]) -> np.ndarray:
    path.write_bytes(draw_lanes(lanes))
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_each_lane_has_the_colour_of_its_square_where_its_stem_plays(tmp_path: Path) -> None:
    lanes = [HALF, HALF[::-1], bytes([FLOOR_DB - 20]) * PEAKS]
    image = pixels(tmp_path / "song.png", lanes)
    assert image.shape == (2 * MARGIN + 3 * LANE + 2 * GAP, PEAKS + 2 * MARGIN, 3)
    background = tuple(image[0, 0])
    middle = [MARGIN + number * (LANE + GAP) + LANE // 2 for number in range(3)]
    left, right = MARGIN + PEAKS // 4, MARGIN + PEAKS * 3 // 4
    shown = [[tuple(image[y, x]) for x in (left, right)] for y in middle]
    red, orange, yellow = list(SQUARES.values())[:3]
    assert shown == [[red, background], [background, orange], [yellow, yellow]]
    # a peak of 0 dBFS fills its lane, one of -20 dBFS a third of it
    filled = [np.count_nonzero((image[:, left] == colour).all(axis=1)) for colour in (red, yellow)]
    assert filled == [LANE, pytest.approx(LANE * 10**-0.5, abs=2)]


def test_telegram_takes_the_picture_of_the_most_stems_there_are() -> None:
    picture = draw_lanes([HALF] * 64)
    width, height = (int.from_bytes(picture[at : at + 4]) for at in (16, 20))
    assert width + height <= 10_000
    assert max(width, height) <= 20 * min(width, height)
    assert square_of(0) == square_of(len(SQUARES)) != square_of(1)


@pytest.mark.parametrize("encoded", ["", "?", "\ud800", encode_peaks(b"short"), encode_peaks(b"z" * PEAKS)])
def test_what_are_no_peaks_draws_nothing(encoded: str) -> None:
    assert decode_peaks(encoded) is None
    assert decode_peaks(encode_peaks(HALF)) == HALF
