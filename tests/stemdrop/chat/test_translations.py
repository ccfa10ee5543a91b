"""The catalogues have the same keys in every language, and every key that the code uses."""

import ast
import re
import string
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from stemdrop.chat.translations import FALLBACK, LOCALES, Language, load_translations
from stemdrop.domain.failures import REMEDIES
from stemdrop.domain.jobs import INSTRUMENTS, UNDELIVERED, Failure, Mode
from stemdrop.domain.results import Stem
from stemdrop.domain.song_facts import KEYS, SongFacts
from stemdrop.provider.sunoapi.answers import STEM_FIELDS

ROOT = Path(__file__).parents[3]
CODES = sorted(path.stem for path in LOCALES.glob("*.po"))
OTHERS = [code for code in CODES if code != FALLBACK]


@cache
def catalogue(code: str) -> Catalog:
    with (LOCALES / f"{code}.po").open("rb") as file:
        return read_po(file, locale=code)


def sentences(message: Message) -> tuple[str, ...]:
    return message.string if isinstance(message.string, tuple) else (str(message.string),)


def keys(code: str) -> dict[str, list[set[str]]]:
    """Key → the placeholders of its forms, each kind once; a plural's key as `key+keys`."""
    found = {}
    for message in catalogue(code):
        if message.id:
            key = "+".join(message.id) if isinstance(message.id, tuple) else str(message.id)
            kinds = {frozenset(placeholders(sentence)) for sentence in sentences(message)}
            found[key] = sorted(set(kind) for kind in kinds)
    return found


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


# With this scope one process runs all tests of the file, with one set of catalogues.
@pytest.fixture(params=CODES, scope="module")
def translate(request: pytest.FixtureRequest) -> Language:
    return load_translations().languages[request.param]


def test_every_language_has_its_name() -> None:
    assert {code: load_translations().languages[code]("language.name") for code in CODES} == {
        "en": "English",
        "es": "Español",
        "pt_BR": "Português (Brasil)",
        "ru": "Русский",
        "zh_Hans": "简体中文",
        "zh_Hant": "繁體中文",
    }


@pytest.mark.parametrize(
    ("code", "expected"),
    {
        "en": "104 BPM · D♭ major · −11 LUFS",
        "es": "104 BPM · Re bemol mayor · −11 LUFS",
        "pt_BR": "104 BPM · Ré bemol maior · −11 LUFS",
        "ru": "104 BPM · ре-бемоль мажор · −11 LUFS",
        "zh_Hans": "104 BPM · 降D 大调 · −11 LUFS",
        "zh_Hant": "104 BPM · 降D 大調 · −11 LUFS",
    }.items(),
)
def test_facts_of_a_song_are_written_as_musicians_do(code: str, expected: str) -> None:
    write = load_translations().languages[code].song_facts
    assert write(SongFacts(103.6, 0.1, "D♭ major", -11.2)) == expected
    tempo, key, _ = expected.split(" · ")
    assert write(SongFacts(bpm=103.6)) == tempo
    assert write(SongFacts(key="D♭ major")) == key
    assert len({write(SongFacts(key=key)) for key in KEYS}) == len(KEYS)


@pytest.mark.parametrize("code", OTHERS)
def test_every_language_has_the_same_keys_with_the_same_placeholders(code: str) -> None:
    assert keys(code) == keys(FALLBACK)


@pytest.mark.parametrize("code", OTHERS)
def test_every_language_has_the_keys_in_the_same_order(code: str) -> None:
    """Two catalogues can then be compared line by line."""
    assert list(keys(code)) == list(keys(FALLBACK))


@pytest.mark.parametrize("code", CODES)
def test_no_sentence_is_empty_or_fuzzy(code: str) -> None:
    for message in catalogue(code):
        assert all(sentence.strip() == sentence != "" for sentence in sentences(message) if message.id)
        if message.id:
            assert not message.fuzzy, message.id


@pytest.mark.parametrize("code", CODES)
def test_every_plural_has_all_its_forms(code: str) -> None:
    found = catalogue(code)
    for message in found:
        if isinstance(message.id, tuple):
            assert message.id[1] == message.id[0] + "s"
            assert len(sentences(message)) == found.num_plurals, message.id


# Names, and words that languages share.
_SHARED = ("language.name", "quoted", "users.line", "title.video", "stem.", "instrument.", "note.")
_LETTERS = {f"note.{letter}" for letter in "CDEFGAB"}  # in Chinese, too
_SCRIPTS = {"zh": r"[\u4e00-\u9fff]", "ru": r"[а-яё]"}


def test_every_text_is_in_its_own_script(translate: Language) -> None:
    """Chinese texts contain Chinese characters, Russian ones Cyrillic, and the others neither."""
    for message in catalogue(translate.code):
        if not message.id or message.id in ("language.name", "quoted", "users.line", "stem.fx"):
            continue
        if translate.code.startswith("zh") and message.id in _LETTERS:
            continue
        for sentence in sentences(message):
            for code, script in _SCRIPTS.items():
                assert bool(re.search(script, sentence, re.I)) is translate.code.startswith(code), message.id


@pytest.mark.parametrize(("code", "encoding"), [("zh_Hans", "gb2312"), ("zh_Hant", "big5")])
def test_each_chinese_has_only_its_own_characters(code: str, encoding: str) -> None:
    for message in catalogue(code):
        for sentence in sentences(message) if message.id else ():
            assert "".join(re.findall(r"[\u4e00-\u9fff]", sentence)).encode(encoding) is not None


@pytest.mark.parametrize("code", CODES)
def test_a_sentence_ends_after_its_brackets(code: str) -> None:
    for message in catalogue(code):
        assert not [text for text in sentences(message) if re.search(r"[.。][ ]?[(（]", text)], message.id


@pytest.mark.parametrize("code", OTHERS)
def test_no_text_was_left_in_english(code: str) -> None:
    english = {message.id: sentences(message) for message in catalogue(FALLBACK)}
    for message in catalogue(code):
        key = message.id[0] if isinstance(message.id, tuple) else message.id
        if key and not key.startswith(_SHARED):
            assert not set(sentences(message)) & set(english[message.id]), key


@pytest.mark.parametrize("code", CODES)
def test_every_text_keeps_commands_settings_and_symbols(code: str) -> None:
    """Commands, settings and the symbols that lines begin with are the same in every language."""
    cached = re.compile(r"/[a-z]+\b|\b[A-Z]+_[A-Z_]+\b|^[^\w\s{“«《¿¡‹•/]+", re.M)
    english = {message.id: sentences(message) for message in catalogue(FALLBACK)}
    for message in catalogue(code):
        if message.id:
            wanted = sorted(cached.findall(english[message.id][0]))
            for sentence in sentences(message):
                assert sorted(cached.findall(sentence)) == wanted, message.id


# What the code asks for

# Keys that are put together, and from what.
BUILT = {
    "failure.": {f"failure.{code}" for code in REMEDIES} | {"failure.other"},
    "mode.": {f"mode.{mode}" for mode in Mode},
    "mode_name.": {f"mode_name.{mode}" for mode in Mode},
    "stem.": {f"stem.{key}" for key in (*STEM_FIELDS.values(), "other")},
    "instrument.": {f"instrument.{name}" for name in INSTRUMENTS},
    "key.": {"key.major", "key.minor"},
    "note.": {f"note.{key.split()[0]}" for key in KEYS},
}


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """(file, node) of the calls and strings in all code that sends texts to users."""
    paths = [
        path
        for package in ("stemdrop", "bot", "webhook", "worker")
        for path in (ROOT / package).rglob("*.py")
    ]
    kinds = (ast.Call, ast.Constant, ast.JoinedStr)
    trees = [(path.name, ast.parse(path.read_text("utf-8"))) for path in paths]
    return [(name, node) for name, tree in trees for node in ast.walk(tree) if isinstance(node, kinds)]


def constants() -> Iterator[tuple[str, str]]:
    """(file, string) of every string in the code."""
    for name, node in nodes():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield name, node.value


SELF = (["self"], ["plural", "self"])


def names_of(called: ast.AST) -> list[str]:
    """The dotted names of what is called, the last one first."""
    names = []
    while isinstance(called, ast.Attribute):
        names.append(called.attr)
        called = called.value
    return [*names, called.id] if isinstance(called, ast.Name) else names


def beginnings() -> set[str]:
    """The beginnings of keys that the code composes, as in `f"command.{name}"`."""
    joined = [node for _, node in nodes() if isinstance(node, ast.JoinedStr) and node.values]
    first = [node.values[0].value for node in joined if isinstance(node.values[0], ast.Constant)]
    return {text for text in first if re.fullmatch(r"[a-z_]+\.", str(text))}


def known_keys() -> set[str]:
    return {key.split("+")[0] for key in keys(FALLBACK)}


def test_every_key_that_the_code_asks_for_exists() -> None:
    known = known_keys()
    group_settings = {key.partition(".")[0] for key in known if "." in key}
    asked = [(name, text) for name, text in constants() if re.fullmatch(r"[a-z_]+\.[a-z_]+", text)]
    asked = [(name, text) for name, text in asked if text.partition(".")[0] in group_settings]
    for name, node in nodes():
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called, first = names_of(node.func), str(node.args[0].value)
            if called[:1] == ["translate"] or called[:2] == ["plural", "translate"] or called in SELF:
                asked.append((name, first))
            if called == ["SourceUnusable"]:
                asked.append((name, f"unusable.{first}"))
    assert len(asked) > 100
    assert [(name, key) for name, key in asked if key not in known] == []
    for group in BUILT.values():
        assert group <= known


def test_every_key_is_used() -> None:
    used = {text for _, text in constants()}
    used |= {f"unusable.{text}" for text in used} | {key for group in BUILT.values() for key in group}
    free = tuple(beginning for beginning in beginnings() if beginning not in BUILT)
    assert [key for key in known_keys() if key not in used and not key.startswith(free)] == []


def test_every_answer_to_a_tap_is_checked_for_its_length() -> None:
    """A new answer to a tap must be added to `TAPS`."""
    answered = set()
    for _, node in nodes():
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id == "answer_tap":
            inner = [item for arg in node.args for item in ast.walk(arg) if isinstance(item, ast.Constant)]
            answered |= {item.value for item in inner if item.value in known_keys()}
        if node.func.id == "Ordered":
            answered |= {item.value for item in node.args[1:] if isinstance(item, ast.Constant)}
    assert {key for key in answered if key} <= TAPS.keys()
    assert len(answered) > 3


def test_an_unknown_key_is_an_error(translate: Language) -> None:
    for unknown in ("nothing", "stem", "failure."):
        with pytest.raises(KeyError):
            translate(unknown)
        with pytest.raises(KeyError):
            translate.plural(unknown, 2)


# Failures


def test_where_nothing_costs_credits_a_failure_names_none(translate: Language) -> None:
    for code in REMEDIES:
        text = translate.where(is_free=True).failure(Failure(code, charged=True))
        assert text.startswith(
            translate("failure.unsent" if code in UNDELIVERED else "failure.head", code=code)
        )
        assert len(text.split("\n")) == 2
        assert not any(translate(f"charged.{known}") in text for known in ("yes", "no", "unknown"))


# Texts that speak of charges and that a host which charges nothing never shows, or only to its admins.
ABOUT_CHARGES = re.compile(
    r"help\.prices|(album\.over|price\.free|credit|state\.cancelled_late|jobs\.today|settings\.undo|privacy\.credits)"
    r"|(limit|users|admin|alert|alert_at|charged)\..*|failure\.(402|531|over_limit|dearer)"
)


def test_a_host_that_charges_nothing_says_nothing_of_charges() -> None:
    texts = [message for message in catalogue(FALLBACK) if message.id]
    english = {
        text.id if isinstance(text.id, str) else text.id[0]: " ".join(sentences(text)) for text in texts
    }
    for key, text in english.items():
        if re.search(r"credit|charg|\bcost|\bfree\b|\bpa(id|y)", text, re.I):
            assert f"free.{key}" in english or ABOUT_CHARGES.fullmatch(key), key
            assert not key.startswith("free."), key
    for key in english:
        assert key.removeprefix("free.") in english


def test_a_free_text_is_said_where_there_is_one(translate: Language) -> None:
    free = translate.where(is_free=True)
    values = {"title": "A"}
    for key in ("state.delivered_kept", "state.delivered"):
        has_own = key == "state.delivered_kept"
        assert (free.plural(key, 1, **values) != translate.plural(key, 1, **values)) is has_own
    assert free("came_late") == translate("free.came_late") != translate("came_late")
    assert free("lost", **values) == translate("lost", **values)


def test_a_label_ends_with_its_price_or_has_none(translate: Language) -> None:
    for key in (
        "mode.separate_vocal",
        "mode.split_stem",
        "mode.split_stem_advanced",
        "button.retry",
        "button.ask_again",
    ):
        bare = translate.priced(key, "")
        assert translate.priced(key, "7 x") == f"{bare} · 7 x"
        assert "·" not in bare


def test_a_failure_says_code_reason_and_charge(translate: Language) -> None:
    for code, charged in product((*REMEDIES, "599", "0", "9999"), (True, False, None)):
        lines = translate.failure(Failure(code, charged)).split("\n")
        assert len(lines) == 3
        assert lines[0] == translate("failure.unsent" if code in UNDELIVERED else "failure.head", code=code)
        assert code in lines[0]
        assert lines[1] == translate(f"failure.{code}" if code in REMEDIES else "failure.other")
        assert lines[2] == translate(
            {True: "charged.yes", False: "charged.no", None: "charged.unknown"}[charged]
        )


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
        *(("zh-hant", "zh_Hant"), ("zh-TW", "zh_Hant"), ("zh_HK", "zh_Hant"), ("zh-Hant-TW", "zh_Hant")),
        *(("zh-hans-hk", "zh_Hans"), ("zh-SG", "zh_Hans"), ("zh_Hant", "zh_Hant"), ("yue", "zh_Hant")),
        *(("zhx", "en"), ("xx-zh", "en"), ("../en", "en"), ("zh_Hans", "zh_Hans")),
        *(("ru", "ru"), ("ru-RU", "ru"), ("es", "es"), ("es-419", "es"), ("es-MX", "es"), ("uk", "en")),
        *(("pt", "pt_BR"), ("pt-br", "pt_BR"), ("pt-PT", "pt_BR"), ("pt_BR", "pt_BR"), ("en_pt", "en")),
    ],
)
def test_telegrams_language_codes_are_mapped(telegrams: str | None, ours: str) -> None:
    assert load_translations().language(telegrams).code == ours


# Users' words


TITLES = ("{title}", "{0}", "{", "}", "{{}}", "%s %(a)s", "<b>bold</b>", "*_`[x](y)", "\\n", "🎵 歌")


def test_titles_of_users_are_not_interpreted(translate: Language) -> None:
    for title in TITLES:
        assert title in translate("choose", title=title)
        assert title in translate.plural("state.delivered", 2, title=title)
        assert title in translate("state.missing", names=title)
        assert translate.stem(Stem("x", "https://a.b/c", title)) == title
        assert title in translate.stem(Stem("x", "https://a.b/c", title, is_rest=True))


def test_no_two_modes_have_the_same_label(translate: Language) -> None:
    assert (
        len({translate.priced(f"mode.{mode}", "") for mode in Mode})
        == len({translate.mode_name(mode) for mode in Mode})
        == 3
    )
    assert translate.mode_name(Mode.SPLIT_STEM_ADVANCED, "Bass") == translate.named("Bass")


# Numbers, sizes and times


@pytest.mark.parametrize(
    ("code", "written"),
    [
        (
            "en",
            {0: "0 credits", 1: "1 credit", 2: "2 credits", 11: "11 credits", 1234567: "1,234,567 credits"},
        ),
        ("es", {0: "0 créditos", 1: "1 crédito", 2: "2 créditos", 21: "21 créditos", 101: "101 créditos"}),
        (
            "pt_BR",
            {0: "0 crédito", 1: "1 crédito", 2: "2 créditos", 11: "11 créditos", 12345: "12.345 créditos"},
        ),
        ("zh_Hans", {0: "0 点", 1: "1 点", 2: "2 点", 101: "101 点"}),
        ("zh_Hant", {0: "0 點", 1: "1 點", 2: "2 點", 101: "101 點"}),
        ("ru", {0: "0 кредитов", 1: "1 кредит", 2: "2 кредита", 4: "4 кредита", 5: "5 кредитов"}),
        (
            "ru",
            {10: "10 кредитов", 11: "11 кредитов", 12: "12 кредитов", 14: "14 кредитов", 20: "20 кредитов"},
        ),
        (
            "ru",
            {21: "21 кредит", 22: "22 кредита", 25: "25 кредитов", 100: "100 кредитов", 101: "101 кредит"},
        ),
        ("ru", {111: "111 кредитов", 112: "112 кредитов", 121: "121 кредит", 1002: "1\xa0002 кредита"}),
    ],
)
def test_credits_are_written_in_the_right_plural_form(code: str, written: dict[int, str]) -> None:
    translate = load_translations().languages[code]
    assert {count: translate.credits(count) for count in written} == written


def test_every_plural_has_a_form_for_every_number(translate: Language) -> None:
    for message in catalogue(translate.code):
        for count in (0, 1, 2, 5, 11, 21, 101, 1000):
            if isinstance(message.id, tuple):
                assert "{" not in translate.plural(message.id[0], count, title="x", mode="x")


def test_stems_are_counted_in_the_right_plural_form() -> None:
    russian = load_translations().languages["ru"]
    counted = [russian.plural("jobs.delivered", count) for count in (1, 2, 5, 11, 12)]
    assert counted == ["1 дорожка", "2 дорожки", "5 дорожек", "11 дорожек", "12 дорожек"]


MB = 1024 * 1024


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("en", ["0 MB", "1 MB", "1.5 MB", "20.5 MB", "2,000 MB"]),
        ("es", ["0 MB", "1 MB", "1,5 MB", "20,5 MB", "2.000 MB"]),
        ("pt_BR", ["0 MB", "1 MB", "1,5 MB", "20,5 MB", "2.000 MB"]),
        ("ru", ["0 МБ", "1 МБ", "1,5 МБ", "20,5 МБ", "2\xa0000 МБ"]),
        ("zh_Hans", ["0 MB", "1 MB", "1.5 MB", "20.5 MB", "2,000 MB"]),
        ("zh_Hant", ["0 MB", "1 MB", "1.5 MB", "20.5 MB", "2,000 MB"]),
    ],
)
def test_sizes_are_formatted_by_language(code: str, written: list[str]) -> None:
    translate = load_translations().languages[code]
    assert [translate.size(round(size * MB)) for size in (0, 1, 1.5, 20.5, 2000)] == written


def test_a_size_above_the_limit_is_never_written_as_the_limit() -> None:
    translate = load_translations().languages["en"]
    over = [translate.size(size, limit_bytes=20 * MB) for size in (20 * MB + 1, 21 * MB, 0)]
    assert over == ["20.1 MB", "21 MB", "20.1 MB"]


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("en", ["0 sec", "45 sec", "1 min", "1 min 20 sec", "1 hr", "2 hr 5 min", "23 hr 59 min"]),
        ("es", ["0 s", "45 s", "1 min", "1 min 20 s", "1 h", "2 h 5 min", "23 h 59 min"]),
        ("pt_BR", ["0 s", "45 s", "1 min", "1 min 20 s", "1 h", "2 h 5 min", "23 h 59 min"]),
        ("ru", ["0 с", "45 с", "1 мин", "1 мин 20 с", "1 ч", "2 ч 5 мин", "23 ч 59 мин"]),
        ("zh_Hans", ["0秒", "45秒", "1分钟", "1分钟20秒", "1小时", "2小时5分钟", "23小时59分钟"]),
        (
            "zh_Hant",
            ["0 秒", "45 秒", "1 分鐘", "1 分鐘 20 秒", "1 小時", "2 小時 5 分鐘", "23 小時 59 分鐘"],
        ),
    ],
)
def test_durations_are_formatted_by_language(code: str, written: list[str]) -> None:
    translate = load_translations().languages[code]
    times = (-3, 45.4, 59.6, 80, 3600, 2 * 3600 + 5 * 60 + 29, 86_399)
    assert [translate.duration(seconds) for seconds in times] == written


# Telegram's limits

# Answers to taps, each with the longest that can be filled in.
TAPS = {
    **dict.fromkeys(("ordered", "came_late", "pack.working", "retried", "admin.only", "group.admins_only")),
    **dict.fromkeys(("tap.stale", "tap.stale_screen", "tap.not_yours", "tap.not_asked", "tap.too_late")),
    **dict.fromkeys(("desk.deleted", "desk.unheard", "desk.no_picture", "desk.unchanged")),
    "desk.too_many": {"count": 10**6},
    "admin.cleared": {"count": 10**6},
    "access.closed": {"id": 10**13},
}


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def test_an_answer_to_a_tap_fits(translate: Language) -> None:
    for key, values in TAPS.items():
        assert utf16_length(translate(key, **(values or {}))) <= 200, key


def test_the_registered_descriptions_fit(translate: Language) -> None:
    assert utf16_length(translate("bot.description")) <= 512
    assert utf16_length(translate("bot.short_description")) <= 120
    for key in known_keys():
        if key.startswith("command."):
            assert utf16_length(translate(key)) <= 256


def test_every_text_leaves_room_for_its_values(translate: Language) -> None:
    for message in catalogue(translate.code):
        assert all(utf16_length(sentence) <= 1024 for sentence in sentences(message) if message.id), (
            message.id
        )


# Stems


def test_every_known_stem_has_a_name_of_its_own(translate: Language) -> None:
    names = [translate.stem(Stem(key, "https://a.b/c")) for key in STEM_FIELDS.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        *(("drums", "Drum Kit"), ("bass", "Bass"), ("piano", "Piano"), ("synth", "Synth")),
        *(("strings", "String Section"), ("brass", "Brass Section"), ("backing_vocals", "Backing Vocals")),
    ],
)
def test_an_instrument_has_one_name_in_all_modes(translate: Language, key: str, name: str) -> None:
    assert translate.named(name) == translate(f"stem.{key}")


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
def test_stems_have_these_names(stem: Stem, name: str) -> None:
    assert load_translations().languages["en"].stem(stem) == name


def test_no_name_from_outside_is_taken_for_a_key(translate: Language) -> None:
    for key in ("rest", "other", "stem", "", "head", "x y"):
        assert "{" not in translate.stem(Stem(key, "u", key.capitalize()))
        assert "{" not in translate.named(key)
