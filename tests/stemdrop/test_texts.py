"""The catalogues say the same things in every language, and everything that the code asks for."""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from stemdrop.jobs import CREDITS, INSTRUMENTS, Failure, Mode
from stemdrop.results import STEM_FIELDS, Stem
from stemdrop.texts import EXPLAINED, FALLBACK, LOCALES, Language, can_retry, load_texts

ROOT = Path(__file__).parents[2]
CODES = sorted(path.stem for path in LOCALES.glob("*.po"))
OTHERS = [code for code in CODES if code != FALLBACK]


def catalogue(code: str) -> Catalog:
    with (LOCALES / f"{code}.po").open("rb") as file:
        return read_po(file, locale=code)


def keys(code: str) -> dict[str, set[str]]:
    """Key → its placeholders; a plural's key as `key+keys`."""
    found = {}
    for message in catalogue(code):
        if not message.id:
            continue
        sentences = message.string if isinstance(message.string, tuple) else (message.string,)
        key = "+".join(message.id) if isinstance(message.id, tuple) else message.id
        found[key] = {name for sentence in sentences for name in placeholders(sentence)}
    return found


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


@pytest.fixture(params=CODES)
def say(request: pytest.FixtureRequest) -> Language:
    return load_texts().languages[request.param]


def test_english_and_simplified_chinese_are_there() -> None:
    assert {"en", "zh_Hans"} <= set(CODES)


@pytest.mark.parametrize("code", OTHERS)
def test_every_language_has_the_same_keys_with_the_same_placeholders(code: str) -> None:
    assert keys(code) == keys(FALLBACK)


@pytest.mark.parametrize("code", CODES)
def test_no_sentence_is_empty_or_fuzzy(code: str) -> None:
    for message in catalogue(code):
        sentences = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(sentence.strip() for sentence in sentences), message.id
        if message.id:
            assert not message.fuzzy, message.id


@pytest.mark.parametrize("code", CODES)
def test_every_plural_has_all_its_forms(code: str) -> None:
    found = catalogue(code)
    for message in found:
        if isinstance(message.id, tuple):
            assert message.id[1] == message.id[0] + "s"
            assert len(message.string) == found.num_plurals, message.id


def test_no_sentence_is_said_in_another_language(say: Language) -> None:
    """A Chinese sentence has Chinese in it, an English one has none."""
    for message in catalogue(say.code):
        if not message.id or str(message.id).startswith(("mode", "stem.fx")):
            continue
        for sentence in message.string if isinstance(message.string, tuple) else (message.string,):
            has_han = bool(re.search(r"[\u4e00-\u9fff]", sentence))
            assert has_han is (say.code == "zh_Hans"), message.id


# What the code asks for

# Keys that are put together, and from what.
BUILT = {
    "failure.": {f"failure.{code}" for code in EXPLAINED} | {"failure.other"},
    "command.": {"command.start", "command.help", "command.cancel"},
    "mode.": {f"mode.{mode}" for mode in Mode},
    "stem.": {f"stem.{key}" for key in (*STEM_FIELDS.values(), "other")},
    "instrument.": {f"instrument.{name}" for name in INSTRUMENTS},
}


def constants() -> Iterator[str]:
    """Every string in the code of those who talk with users."""
    for room in ("stemdrop", "bot", "webhook"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def asked_for() -> Iterator[tuple[str, str]]:
    """(file, key) of every call of a language with a literal key."""
    for room in ("stemdrop", "bot", "webhook"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                    called = ast.unparse(node.func)
                    key = node.args[0].value
                    if isinstance(key, str) and re.fullmatch(r"(say|self)(\.plural)?|.*\._reply", called):
                        yield path.name, key
                    if isinstance(key, str) and called == "SourceUnusable":
                        yield path.name, f"unusable.{key}"


def test_every_key_that_the_code_asks_for_exists() -> None:
    known = {part for key in keys(FALLBACK) for part in key.split("+")}
    asked = list(asked_for())
    assert len(asked) > 20
    assert [(name, key) for name, key in asked if key not in known] == []
    for group in BUILT.values():
        assert group <= known


def test_every_key_is_used() -> None:
    used = set(constants()) | {key for group in BUILT.values() for key in group}
    used |= {f"unusable.{text}" for text in used}
    assert [key for key in keys(FALLBACK) if key.split("+")[0] not in used] == []


def test_an_unknown_key_is_an_error(say: Language) -> None:
    for unknown in ("nothing", "stem", "failure."):
        with pytest.raises(KeyError):
            say(unknown)
        with pytest.raises(KeyError):
            say.plural(unknown, 2)


# Failures


@pytest.mark.parametrize("charged", [True, False, None])
@pytest.mark.parametrize("code", [*sorted(EXPLAINED), "599", "0", "9999"])
def test_a_failure_says_code_reason_and_charge(say: Language, code: str, charged: bool | None) -> None:
    lines = say.failure(Failure(code, charged)).split("\n")
    assert len(lines) == 3
    assert lines[0] == say("failure.head", code=code)
    assert code in lines[0]
    assert lines[1] == say(f"failure.{code}" if code in EXPLAINED else "failure.other")
    assert lines[2] == say({True: "charged.yes", False: "charged.no", None: "charged.unknown"}[charged])


def test_every_code_of_the_contract_is_explained() -> None:
    codes = (400, 401, 402, 404, 408, 409, 413, 422, 429, 451, 455, 500, 501, 505, 531)
    assert {str(code) for code in codes} <= EXPLAINED


@pytest.mark.parametrize("code", ["408", "429", "451", "455", "500", "501", "531", "599", "timeout", "lost"])
def test_trying_again_can_help(code: str) -> None:
    assert can_retry(Failure(code))


@pytest.mark.parametrize("code", ["400", "401", "402", "413", "505", "source_gone"])
def test_trying_again_cannot_help(code: str) -> None:
    assert not can_retry(Failure(code))


# Languages


@pytest.mark.parametrize(
    ("telegrams", "ours"),
    [
        *(
            ("en", "en"),
            ("en-US", "en"),
            ("EN_gb", "en"),
            (None, "en"),
            ("", "en"),
            ("-", "en"),
            ("de", "en"),
        ),
        *(("zh", "zh_Hans"), ("zh-hans", "zh_Hans"), ("zh-CN", "zh_Hans"), ("ZH_hans", "zh_Hans")),
        *(("zh-hant", "zh_Hans"), ("zhx", "en"), ("xx-zh", "en"), ("../en", "en"), ("zh_Hans", "zh_Hans")),
    ],
)
def test_telegrams_codes(telegrams: str | None, ours: str) -> None:
    assert load_texts().language(telegrams).code == ours


# Users' words


@pytest.mark.parametrize(
    "title", ["{title}", "{0}", "{", "}", "{{}}", "%s %(a)s", "<b>bold</b>", "*_`[x](y)", "\\n", "🎵 歌"]
)
def test_users_words_stay_verbatim(say: Language, title: str) -> None:
    assert title in say("choose", title=title)
    assert title in say.plural("state.delivered", 2, title=title)
    assert title in say("state.missing", names=title)
    assert say.stem(Stem("x", "https://a.b/c", title)) == title
    assert title in say.stem(Stem("x", "https://a.b/c", title, is_rest=True))


@pytest.mark.parametrize("mode", Mode)
def test_a_mode_shows_its_price(say: Language, mode: Mode) -> None:
    assert str(CREDITS[mode]) in say.mode(mode)


def test_numbers_take_their_form() -> None:
    english = load_texts().languages["en"]
    assert english.plural("credit", 1) == "1 credit"
    assert english.plural("credit", 10) == "10 credits"
    assert english.plural("credit", 0) == "0 credits"


# Stems


def test_every_known_stem_has_a_name_of_its_own(say: Language) -> None:
    names = [say.stem(Stem(key, "https://a.b/c")) for key in STEM_FIELDS.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        (Stem("vocals", "u"), "Vocals"),
        (Stem("lead_vocal", "u", "Lead Vocal"), "Lead vocal"),
        (Stem("lead_vocal_rest", "u", "Lead Vocal", is_rest=True), "Without Lead vocal"),
        (Stem("stem_rest", "u", "", is_rest=True), "Without …"),
        (Stem("hand_drums", "u", "Hand drums"), "Hand drums"),
        (Stem("stem", "u"), "stem"),
        (Stem("rest", "u", "Rest"), "Rest"),
        (Stem("other", "u", "Other"), "Other"),
    ],
)
def test_what_a_stem_is_called(stem: Stem, name: str) -> None:
    assert load_texts().languages["en"].stem(stem) == name


@pytest.mark.parametrize("key", ["rest", "other", "stem", "", "head", "x y"])
def test_no_name_from_outside_is_taken_for_a_sentence(say: Language, key: str) -> None:
    assert "{" not in say.stem(Stem(key, "u", key.capitalize()))
    assert "{" not in say.named(key)
