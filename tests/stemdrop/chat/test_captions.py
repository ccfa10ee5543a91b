"""Captions that choose a mode: whole phrases of six languages, and nothing that may mean something else."""

import re

import pytest

from stemdrop.chat.captions import _normalize, choice_of, choices
from stemdrop.chat.translations import load_translations
from stemdrop.domain.jobs import INSTRUMENTS, Mode

VOCALS, ALL_STEMS = (Mode.SEPARATE_VOCAL, ""), (Mode.SPLIT_STEM, "")
ONE = Mode.SPLIT_STEM_ADVANCED


@pytest.mark.parametrize(
    ("caption", "choice"),
    [
        *((caption, VOCALS) for caption in ("vocals", " Vocals! ", "INSTRUMENTAL", "karaokê", "минусовка")),
        *(
            (caption, VOCALS)
            for caption in ("🎤 Vocals + instrumental", "/stems vocals", "vocals /stems@a_bot")
        ),
        *((caption, VOCALS) for caption in ("Voz", "sin voz", "人声+伴奏", "卡拉OK", "去人聲")),
        *((caption, ALL_STEMS) for caption in ("all stems", "Stems", "Todas las pistas", "全部分軌")),
        *(
            (caption, (ONE, "Drum Kit"))
            for caption in ("drums", "minus drums", "sin bateria", "ударные", "鼓")
        ),
        *((caption, (ONE, "Bass")) for caption in ("minus bass", "только бас", "去掉贝斯", "Só baixo")),
        ("isolate backing-vocals", (ONE, "Backing Vocals")),
    ],
)
def test_a_phrase_chooses(caption: str, choice: tuple[Mode, str]) -> None:
    assert choice_of(caption, ["Morning Line"]) == choice


@pytest.mark.parametrize(
    "caption",
    [
        *("", " ", "/stems", "/stems@a_bot", "!", "🎵", "-", "minus", "only", "without", "минус", "去掉"),
        *("bass", "piano", "organ", "kick", "snare", "synth", "brass", "strings", "voice", "no vocals"),
        *("#vocals", "@vocals", "vocals please", "great vocals", "vocals https://a.example", "the vocals of"),
        *("One instrument", "/stems2 vocals", "drums and bass", "Lead vocal"),
    ],
)
def test_other_captions_choose_nothing(caption: str) -> None:
    assert choice_of(caption, ["Morning Line"]) is None


def test_a_song_that_is_called_like_a_phrase_is_not_chosen_by_its_name() -> None:
    assert choice_of("Karaoke", ["KARAOKE!", ""]) is None
    assert choice_of("drums", ["Morning Line", "Drums"]) is None


def test_a_phrase_means_the_same_in_every_language() -> None:
    known = choices()
    for translate in load_translations().languages.values():
        for mode in (Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM):
            for phrase in translate(f"caption.{mode}").split("|"):
                assert known[_normalize(phrase)] == (mode, ""), phrase
        for name in INSTRUMENTS:
            for phrase in translate("caption.instrument", name=translate.named(name)).split("|"):
                assert known[_normalize(phrase)] == (ONE, name), phrase


def test_no_phrase_is_empty_and_none_is_the_name_of_an_instrument_but_drums() -> None:
    names = {
        translate.named(name) for translate in load_translations().languages.values() for name in INSTRUMENTS
    }
    chosen = {name for name in map(_normalize, names) if name in choices()}
    drums = {translate.named("Drum Kit") for translate in load_translations().languages.values()}
    assert chosen == set(map(_normalize, drums))
    assert "" not in choices()


def test_the_examples_in_the_help_are_phrases() -> None:
    for translate in load_translations().languages.values():
        *_, line, _, _ = translate("help.commands", bot="a").splitlines()
        examples = re.split("[:：]", line)[-1]
        chosen = [choice_of(example, []) for example in re.split(",|、", examples)]
        assert chosen == [VOCALS, ALL_STEMS, (ONE, "Drum Kit"), (ONE, "Bass")], line
