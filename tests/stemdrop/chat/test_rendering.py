"""How a job's message reads in each state and language, and which buttons it has."""

from dataclasses import replace
from typing import Any

import pytest
from builders import make_job, make_result
from telegram import InlineKeyboardMarkup

from stemdrop.chat.album_rendering import Song, render_album_instruments
from stemdrop.chat.callback_data import Action, Tap
from stemdrop.chat.instrument_rendering import PAGE_LENGTH, render_instruments
from stemdrop.chat.limit_rendering import render_over_limit
from stemdrop.chat.rendering import WORTH_TELLING_S, Details, render, short_title
from stemdrop.chat.translations import Language, load_translations
from stemdrop.domain.abilities import Abilities, Ability
from stemdrop.domain.allowance import Allowance
from stemdrop.domain.failures import REMEDIES, Remedy, remedies
from stemdrop.domain.jobs import CREDITS, INSTRUMENTS, CachedStem, Failure, Job, JobState, Mode
from stemdrop.storage.job_statistics import Estimate

SAY = load_translations().languages["en"]
VOCALS, ALL, ONE = Mode.SEPARATE_VOCAL, Mode.SPLIT_STEM, Mode.SPLIT_STEM_ADVANCED
PAGES = -(-len(INSTRUMENTS) // PAGE_LENGTH)


in_every_language = pytest.mark.parametrize("translate", sorted(load_translations().languages), indirect=True)


@pytest.fixture
def translate(request: pytest.FixtureRequest) -> Language:
    """English, unless the test asks for every language."""
    return load_translations().languages[getattr(request, "param", "en")]


def titled(title: str, **changes: Any) -> Job:
    job = make_job(**changes)
    return replace(job, source=replace(job.source, title=title))


def priced_taps(keyboard: InlineKeyboardMarkup | None) -> list[list[Tap]]:
    rows = keyboard.inline_keyboard if keyboard else ()
    found = [[Tap.from_data(str(button.callback_data)) for button in row] for row in rows]
    return [[tap for tap in row if tap] for row in found]


def taps(keyboard: InlineKeyboardMarkup | None) -> list[list[Tap]]:
    """Return what the buttons do, without the prices that they show."""
    return [[replace(tap, credits=None) for tap in row] for row in priced_taps(keyboard)]


def labels(keyboard: InlineKeyboardMarkup | None) -> list[str]:
    return [button.text for row in keyboard.inline_keyboard for button in row] if keyboard else []


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


# Choosing


def test_the_choice_has_the_modes_in_order_with_their_price(translate: Language) -> None:
    job = make_job()
    text, keyboard = render(job, translate)
    assert "Morning Line" in text
    assert taps(keyboard) == [
        [Tap(Action.PICK, job.id, VOCALS)],
        [Tap(Action.PICK, job.id, ALL)],
        [Tap(Action.INSTRUMENTS, job.id)],
        [Tap(Action.CANCEL, job.id)],
    ]
    for label, mode in zip(labels(keyboard), Mode, strict=False):
        assert str(CREDITS[mode]) in label


def test_a_free_mode_shows_free_instead_of_a_price(translate: Language) -> None:
    facts = Details(free=frozenset({(ALL, ""), (ONE, "Bass")}))
    _, keyboard = render(make_job(), translate, facts)
    vocals, everything, one, _ = labels(keyboard)
    assert [tap.credits for (tap,) in priced_taps(keyboard)] == [10, 0, None, None]
    assert translate("price.free") in everything
    assert translate.credits(50) not in everything
    assert (translate.credits(10) in vocals, translate.credits(20) in one) == (True, True)


def test_lost_cached_stems_are_paid_for_only_after_a_confirmation(translate: Language) -> None:
    job = make_job(mode=ONE, instrument="Bass", is_cache_lost=True)
    text, keyboard = render(job, translate)
    assert text == translate("kept_lost", title="Morning Line")
    assert taps(keyboard) == [[Tap(Action.PICK, job.id, ONE, "Bass")], [Tap(Action.CANCEL, job.id)]]
    assert translate.credits(20) in labels(keyboard)[0]


# The list of instruments


def test_each_instrument_is_on_one_page(translate: Language) -> None:
    job = make_job()
    order = tuple(reversed(INSTRUMENTS))
    seen: list[str] = []
    for page in range(PAGES):
        text, keyboard = render_instruments(job, translate, page, Details(instruments=order))
        assert "Morning Line" in text
        assert translate.credits(CREDITS[ONE]) in text
        *rows, last = taps(keyboard)
        shown = [tap for row in rows for tap in row if tap and tap.action is Action.PICK]
        assert {tap.mode for tap in shown} == {ONE}
        assert len(shown) <= PAGE_LENGTH
        assert max(len(row) for row in rows) == 2
        assert last == [Tap(Action.BACK, job.id), Tap(Action.CANCEL, job.id)]
        seen += [tap.instrument for tap in shown]
    assert seen == list(order)


def test_the_pages_have_buttons_for_the_next_and_the_last_page(translate: Language) -> None:
    job = make_job()
    for page in range(PAGES):
        account_queue = [tap for row in taps(render_instruments(job, translate, page)[1]) for tap in row]
        found = [tap.page for tap in account_queue if tap and tap.action is Action.INSTRUMENTS]
        assert found == [at for at in (page - 1, page + 1) if 0 <= at < PAGES]


@pytest.mark.parametrize("page", [PAGES, 9999])
def test_a_page_beyond_the_end_is_the_last_page(translate: Language, page: int) -> None:
    job = make_job()
    assert render_instruments(job, translate, page) == render_instruments(job, translate, PAGES - 1)


def test_a_free_instrument_is_marked(translate: Language) -> None:
    facts = Details(free=frozenset({(ONE, "Bass"), (ALL, "")}))
    shown = labels(render_instruments(make_job(), translate, 0, facts)[1])
    assert [label for label in shown if translate("price.free") in label] == [
        f"{translate.named('Bass')} · {translate('price.free')}"
    ]


def test_an_instrument_of_another_price_has_it_on_its_button() -> None:
    one = Ability(0, instruments=("Bass", "Synth"), prices={"Synth": 26})
    facts = Details(abilities=Abilities({ONE: one}), instruments=("Bass", "Synth"))
    text, keyboard = render_instruments(make_job(), SAY, 0, facts)
    assert "credit" not in text
    assert labels(keyboard)[:2] == ["Bass · free", "Synth · 26 credits"]
    songs = [Song(make_job(), facts), Song(make_job(), facts)]
    text, keyboard = render_album_instruments("a", songs, SAY, 0)
    assert "credit" not in text
    assert labels(keyboard)[:2] == ["Bass · free", "Synth · 52 credits"]


@in_every_language
def test_no_two_instruments_have_the_same_label(translate: Language) -> None:
    assert len({translate.named(name) for name in INSTRUMENTS}) == len(INSTRUMENTS)


# Under way


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.SUBMITTING, JobState.SEPARATING])
def test_a_job_under_way_can_be_cancelled(translate: Language, state: JobState) -> None:
    job = make_job(state=state)
    text, keyboard = render(job, translate)
    assert "Morning Line" in text
    assert taps(keyboard) == [[Tap(Action.CANCEL, job.id)]]


def test_the_place_in_the_queue_is_shown(translate: Language) -> None:
    job = make_job(state=JobState.QUEUED)
    assert "7" in render(job, translate, Details(place=7))[0]
    assert render(job, translate, Details(place=0)) == render(
        job, translate, Details(place=1)
    )  # its turn comes this moment


def test_the_usual_mode_is_green_and_cancel_is_red(translate: Language) -> None:
    _, keyboard = render(make_job(state=JobState.CHOOSING), translate)
    assert keyboard is not None
    styles = [button.style for row in keyboard.inline_keyboard for button in row]
    assert styles == ["success", None, None, "danger"]


USUAL = Estimate(60, 150)


@pytest.mark.parametrize(
    ("elapsed_s", "estimate", "key"),
    [
        (0, None, "progress.first"),
        (9, None, "progress.first"),
        (0, USUAL, "progress.soon"),
        (9, USUAL, "progress.soon"),
        (10, None, "progress.unknown"),
        (3000, None, "progress.unknown"),
        (10, USUAL, "progress.usual"),
        (150, USUAL, "progress.usual"),
        (151, USUAL, "progress.late"),
    ],
)
def test_the_elapsed_time_and_the_estimate_are_shown(
    translate: Language, elapsed_s: float, estimate: Estimate | None, key: str
) -> None:
    job = make_job(state=JobState.SEPARATING)
    times = {
        "gone": translate.duration(elapsed_s),
        "low": translate.duration(60),
        "high": translate.duration(150),
    }
    lines = render(job, translate, Details(elapsed_s=elapsed_s, estimate=estimate))[0].split("\n")
    assert lines == [translate("state.separating", title="Morning Line"), translate(key, **times)]


@pytest.mark.parametrize("elapsed_s", [0, 200])
@in_every_language
def test_a_percentage_takes_the_place_of_the_estimate(translate: Language, elapsed_s: float) -> None:
    job, details = make_job(state=JobState.SEPARATING, progress=42), Details(elapsed_s=elapsed_s)
    line = render(job, translate, replace(details, estimate=USUAL))[0].split("\n")[1]
    assert translate.percent(0.42) in line
    assert translate.duration(elapsed_s) in line
    assert line != render(replace(job, progress=43), translate, details)[0].split("\n")[1]


@pytest.mark.parametrize("changes", [{}, {"source_fetched_at": 2.0}])
@in_every_language
def test_a_lost_answer_is_told_with_what_is_known(translate: Language, changes: dict[str, Any]) -> None:
    job = make_job(state=JobState.SUBMITTING, answer_lost_at=1.0, **changes)
    text, keyboard = render(job, translate)
    assert text.startswith(translate("lost", title="Morning Line"))
    assert taps(keyboard) == [[Tap(Action.CANCEL, job.id)]]
    again, keyboard = render(job, translate, Details(can_ask_again=True))
    assert taps(keyboard) == [[Tap(Action.ASK_AGAIN, job.id)], [Tap(Action.CANCEL, job.id)]]
    assert again != text


@in_every_language
def test_a_job_in_delivery_has_no_buttons(translate: Language) -> None:
    text, keyboard = render(make_job(state=JobState.DELIVERING), translate)
    assert "Morning Line" in text
    assert keyboard is None


@in_every_language
def test_every_state_has_its_own_text(translate: Language) -> None:
    facts = Details(delivered=2, elapsed_s=WORTH_TELLING_S)
    texts = {render(make_job(state=state, failure=Failure("500")), translate, facts)[0] for state in JobState}
    assert len(texts) == len(JobState)


def test_an_acceptance_within_seconds_changes_nothing_in_the_message() -> None:
    job = make_job(state=JobState.SUBMITTING)
    shown = [render(it, SAY) for it in (job, replace(job, state=JobState.SEPARATING))]
    assert shown[0] == shown[1]


@in_every_language
def test_cached_stems_are_announced_as_free(translate: Language) -> None:
    cached = (CachedStem("vocals", "audio", "file"),)
    for state in (JobState.DELIVERING, JobState.DELIVERED):
        bought, free = (
            render(make_job(state=state, cached=stems), translate, Details(delivered=1))[0]
            for stems in ((), cached)
        )
        assert bought != free
    assert (
        "cost nothing"
        in render(make_job(state=JobState.DELIVERED, cached=cached), SAY, Details(delivered=1))[0]
    )


def test_a_late_cancel_says_that_it_may_be_charged() -> None:
    early, late = (render(make_job(state=JobState.CANCELLED, create_started_at=at), SAY)[0] for at in (0, 1))
    assert "charged" not in early
    assert "may have been charged" in late


# Failures


def other_modes(job: Job) -> list[list[Tap]]:
    modes = [mode for mode in (VOCALS, ALL) if mode is not job.mode]
    return [
        *([Tap(Action.OTHER_MODE, job.id, mode)] for mode in modes),
        [Tap(Action.INSTRUMENTS, job.id)],
    ]


@pytest.mark.parametrize("mode", Mode)
def test_a_failure_offers_its_remedies(translate: Language, mode: Mode) -> None:
    for code in (*REMEDIES, "599"):
        failure = Failure(code, None)
        job = make_job(state=JobState.FAILED, mode=mode, failure=failure)
        text, keyboard = render(job, translate)
        assert text.startswith(translate.failure(failure))
        assert "Morning Line" in text
        retry = [[Tap(Action.RETRY, job.id)]] if Remedy.RETRY in remedies(failure) else []
        others = other_modes(job) if Remedy.OTHER_MODE in remedies(failure) else []
        assert taps(keyboard) == [*retry, *others]
        if retry:
            assert translate.credits(CREDITS[mode]) in labels(keyboard)[0]


def test_a_free_retry_is_labelled_free(translate: Language) -> None:
    job = make_job(state=JobState.FAILED, failure=Failure("500"))
    (label,) = labels(render(job, translate, Details(free=frozenset({(VOCALS, "")})))[1])
    assert translate("price.free") in label


def test_undelivered_stems_are_fetched_again_and_not_bought_again(translate: Language) -> None:
    job = make_job(state=JobState.FAILED, failure=Failure("undeliverable"), result=make_result())
    text, keyboard = render(job, translate)
    assert text.startswith(translate.failure(Failure("undeliverable")))
    assert taps(keyboard) == [[Tap(Action.FETCH_AGAIN, job.id)]]
    for other in (replace(job, result=None), replace(job, failure=Failure("500"))):
        assert taps(render(other, translate)[1]) == [[Tap(Action.RETRY, job.id)]]


def test_a_failed_job_without_a_failure_raises() -> None:
    with pytest.raises(ValueError, match="without a reason"):
        render(make_job(state=JobState.FAILED), SAY)


@pytest.mark.parametrize("mode", Mode)
@in_every_language
def test_why_a_mode_cannot_be_picked_fits_an_answer_to_a_tap(translate: Language, mode: Mode) -> None:
    for spent, limit, renews_in_s in ((0, 50, 86_399), (10**9, 10**9, 23 * 3600 + 59 * 60)):
        text = render_over_limit(translate, Allowance(spent, limit, renews_in_s, CREDITS[mode]))
        assert utf16_length(text) <= 200
        for part in (translate.credits(CREDITS[mode]), translate.duration(renews_in_s)):
            assert part in text
    # what a day never allows does not come back tomorrow
    text = render_over_limit(translate, Allowance(0, 5, 86_399, CREDITS[mode]))
    assert utf16_length(text) <= 200
    assert translate.credits(CREDITS[mode]) in text
    assert translate.duration(86_399) not in text


# The end


@pytest.mark.parametrize(("delivered", "words"), [(1, "1 stem is here"), (2, "2 stems"), (12, "12 stems")])
def test_the_result_counts_the_stems(delivered: int, words: str) -> None:
    assert words in render(make_job(state=JobState.DELIVERED), SAY, Details(delivered=delivered))[0]


@pytest.mark.parametrize("mode", Mode)
def test_the_result_offers_other_modes_and_formats(translate: Language, mode: Mode) -> None:
    job = make_job(state=JobState.DELIVERED, mode=mode)
    facts = Details(delivered=2, free=frozenset({(ALL, "")}))
    _, keyboard = render(job, translate, facts)
    packed = [Tap(Action.ZIP, job.id), Tap(Action.SMALL, job.id)]
    assert taps(keyboard) == [*other_modes(job), [], packed]
    assert any(translate("price.free") in label for label in labels(keyboard)[:-3]) is (mode is not ALL)


def remix_row(keyboard: InlineKeyboardMarkup | None) -> list[tuple[str, str]]:
    """Return the labels of the buttons for remixes, with what they send or open."""
    buttons = [button for row in keyboard.inline_keyboard for button in row] if keyboard else []
    opened = [
        (button.text, button.web_app.url if button.web_app else button.callback_data) for button in buttons
    ]
    return [(text, str(data)) for text, data in opened if str(data).startswith(("M:", "https://"))]


def test_two_stems_can_be_remixed_for_free() -> None:
    job, url = make_job(state=JobState.DELIVERED), "https://stems.example/mixer/?job=1"
    desk = ("🎚 Remix · free", f"M:d:{job.id}")
    assert remix_row(render(job, SAY, Details(delivered=2))[1]) == [desk]
    assert remix_row(render(job, SAY, Details(delivered=2, mixer_url=url))[1]) == [desk, ("🎛 Mixer", url)]
    assert remix_row(render(job, SAY, Details(delivered=1, mixer_url=url))[1]) == []
    free = Details(delivered=2, abilities=Abilities({}))
    assert remix_row(render(job, SAY, free)[1]) == [("🎚 Remix", f"M:d:{job.id}")]


def test_without_stems_no_archive_is_offered(translate: Language) -> None:
    job = make_job(state=JobState.DELIVERED, links=(("Drums", "https://a.b/c"),))
    assert taps(render(job, translate)[1]) == other_modes(job)


def test_missing_stems_are_named_and_can_be_fetched() -> None:
    job = make_job(state=JobState.DELIVERED, missing=("Drums", "Hand {drums}"))
    text, keyboard = render(job, SAY, Details(delivered=3))
    assert "Drums, Hand {drums}" in text
    assert taps(keyboard)[0] == [Tap(Action.FETCH_AGAIN, job.id)]


def test_a_result_with_only_links_is_no_failure(translate: Language) -> None:
    url = "https://files.example.com/a%20{b}.mp3?x=1&y=2"
    text, _ = render(make_job(state=JobState.DELIVERED, links=(("Drums", url),)), translate)
    assert text == "\n".join(
        (translate("state.only_links", title="Morning Line"), translate("state.link", name="Drums", url=url))
    )
    assert text.startswith("✅")


def test_stems_that_were_not_sent_are_named_with_the_reason(translate: Language) -> None:
    """Fetching again helps only where fetching failed."""
    job = make_job(state=JobState.DELIVERED, refused=("Drums", "Hand {drums}"), silent=("FX", "鼓"))
    text, keyboard = render(job, translate, Details(delivered=3))
    assert text.split("\n")[1:] == [
        translate("state.silent", names="FX, 鼓"),
        translate("state.refused", names="Drums, Hand {drums}"),
    ]
    assert [Tap(Action.FETCH_AGAIN, job.id)] not in taps(keyboard)
    text, keyboard = render(replace(job, missing=("Bass",)), translate, Details(delivered=3))
    assert translate("state.missing", names="Bass") in text.split("\n")
    assert taps(keyboard)[0] == [Tap(Action.FETCH_AGAIN, job.id)]


def test_a_result_without_any_stem_says_so() -> None:
    assert render(make_job(state=JobState.DELIVERED, missing=("Drums",)), SAY)[0].startswith("⚠️")


# Telegram's limits


@pytest.mark.parametrize("url_length", [100, 1000, 5000])
@in_every_language
def test_a_long_result_fits_and_cuts_no_link(translate: Language, url_length: int) -> None:
    links = tuple(
        (f"Stem {number}", f"https://files.example.com/{number}/".ljust(url_length, "x"))
        for number in range(20)
    )
    job = titled("🎵" * 500, state=JobState.DELIVERED, links=links, missing=("Drums", "🥁" * 40))
    text, keyboard = render(job, translate, Details(delivered=1))
    assert utf16_length(text) <= 4096
    assert "Drums" in text
    assert taps(keyboard)[0] == [Tap(Action.FETCH_AGAIN, job.id)]
    shown = [line for line in text.split("\n") if "https://" in line]
    assert all(any(url in line for _, url in links) for line in shown)
    assert len(shown) >= min(20, 3500 // (url_length + 100))


@in_every_language
def test_the_names_of_64_unsent_stems_fit(translate: Language) -> None:
    job = titled(
        "🎵" * 500,
        state=JobState.DELIVERED,
        missing=("🥁" * 40,) * 64,
        refused=("🎸" * 40,) * 64,
        silent=("🎹" * 40,) * 64,
        links=(("Drums", "https://a.b/c"),),
    )
    text, _ = render(job, translate, Details(delivered=1))
    assert utf16_length(text) <= 4096
    for part in ("🥁", "🎸", "🎹", "https://a.b/c"):
        assert part in text


@pytest.mark.parametrize("state", JobState)
@in_every_language
def test_every_button_fits_its_row(translate: Language, state: JobState) -> None:
    """A phone shows about 34 characters in a row; a wide script's count double."""
    job = make_job(state=state, failure=Failure("501"), missing=("Bass",))
    keyboards = [render(job, translate, Details(delivered=2))[1], render_instruments(job, translate)[1]]
    for keyboard in keyboards:
        for row in keyboard.inline_keyboard if keyboard else ():
            for button in row:
                width = sum(2 if letter > "\u2e80" else 1 for letter in button.text)
                assert width <= 40 // len(row) + 4, button.text


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Morning Line", "Morning Line"),
        ("  a\n\t b  ", "a b"),
        ("", "Song"),
        (" \n", "Song"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 63 + "…"),
        ("{title}", "{title}"),
        ("<b>", "<b>"),
    ],
)
def test_titles_are_shortened_for_sentences(title: str, shown: str) -> None:
    assert short_title(titled(title), SAY) == shown
    assert shown in render(titled(title), SAY)[0]


@in_every_language
def test_large_limits_are_formatted_as_numbers(translate: Language) -> None:
    text = render_over_limit(translate, Allowance(12_345, 12_360, 3600, 50))
    assert translate.number(12_345) in text
    assert translate.number(12_360) in text
