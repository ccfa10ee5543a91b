"""`stemdrop jobs`: its lists and pages, its idempotent actions, and its errors."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from builders import make_call
from product import NOBODY, Product, new_job, one_authority, result_of
from provider import Provider

from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.cli import run
from stemdrop.domain.abilities import Abilities, Ability
from stemdrop.domain.jobs import CachedStem, Charge, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Run, Sent
from stemdrop.domain.results import Result
from stemdrop.operator import job_actions, jobs_command
from stemdrop.storage.dead_letters import DeadLetters
from stemdrop.storage.keys import JOB
from stemdrop.storage.stem_cache import CachedStems

URL = "https://cdn.example/secret-address.mp3"
STEMS = result_of({"vocals": URL, "instrumental": URL})
FAULT = Failure("500", charged=True)


@dataclass(frozen=True, slots=True)
class Ended:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Awaitable[Ended]]


@pytest.fixture(scope="module", autouse=True)
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(one_authority(tmp_path_factory.mktemp("tls"))))
        yield


@pytest.fixture
def environ(product: Product) -> dict[str, str]:
    settings = product.settings
    return {
        "TELEGRAM_BOT_TOKEN": settings.telegram_bot_token.get_secret_value(),
        "TELEGRAM_API_URL": settings.telegram_api_url,
        "SEPARATION_API_KEY": settings.separation_api_key.get_secret_value(),
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "REDIS_URL": settings.redis_url,
        "ACCESS": "open",
    }


@pytest.fixture
def jobs(
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    _own_logging: None,
) -> Command:
    """Run `stemdrop jobs …` in a thread, beside the product."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job_actions, "TELEGRAM_WAIT_S", 60)

    async def command(*words: str, **settings: str) -> Ended:
        capsys.readouterr()
        code = await asyncio.to_thread(run, ["jobs", *words], {**environ, **settings})
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ended(code, out, err)

    return command


@pytest.fixture
def alice(telegram: Telegram) -> User:
    return telegram.add_user("Alice")


@pytest.fixture
async def sent(telegram: Telegram, alice: User, song: Path) -> Message:
    return await telegram.send_file(alice.id, song)


async def picked(product: Product, sent: Message, mode: Mode = Mode.SPLIT_STEM, **changes: Any) -> Job:
    """Add a job whose mode was picked and whose credits are held."""
    job = replace(new_job(sent), **changes)
    job = replace(job, source=replace(job.source, file_unique_id=job.id))
    await product.store.add(job, once=job.id)
    await product.store.pick(job, mode, "", 0)
    return await product.job(job.id)


async def came_back(product: Product, sent: Message, result: Result = STEMS, **changes: Any) -> Job:
    """Add a job whose result is stored."""
    job = await picked(product, sent, **changes)
    await product.store.begin_create(job.id)
    await product.store.accept(job.id, f"task-{job.id}")
    await product.store.receive(job.id, job.chat_id, f"task-{job.id}", result)
    return await product.job(job.id)


async def failed(product: Product, sent: Message, failure: Failure = FAULT, **changes: Any) -> Job:
    job = await picked(product, sent, **changes)
    await product.fail(job.id, failure)
    return await product.job(job.id)


async def delivered(product: Product, sent: Message, **changes: Any) -> Job:
    """Add a delivered job with vocals in the chat; `changes` may name missing stems."""
    job = await came_back(product, sent)
    await product.store.tick(job.id, {"vocals": Sent(41, "file-vocals", "unique", title="Vocals")})
    await product.store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED, **changes)
    return await product.job(job.id)


def bot_texts(product: Product, user: User) -> list[str]:
    return [message.text for message in product.telegram.bot_messages(user.id)]


async def spent(product: Product, user: User) -> int:
    return (await product.store.allowance(user.id, 0)).spent


# Lists


async def test_empty_lists_are_named(jobs: Command) -> None:
    ended = await jobs()
    assert (ended.code, ended.out, ended.err) == (0, "Nothing is open.\n\nNothing has failed.\n", "")
    assert (await jobs("list", "--json")).json == {"open": [], "failed": [], "incomplete": [], "given_up": []}


async def test_open_jobs_and_dead_letters_are_listed_separately(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    await product.users.set_name(alice.id, "Alice A.")
    waiting = await picked(product, sent, mode=Mode.SEPARATE_VOCAL)
    await product.store.begin_create(waiting.id)
    await product.store.accept(waiting.id, "task-of-waiting")
    bad = await failed(product, sent)
    lacking = await delivered(product, sent, missing=("Drums",), refused=("Bass",))
    whole = await delivered(product, sent)
    for job in (lacking, whole):
        await product.store.close(job.id)
    await product.store.set(bad.id, moved_at=product.clock() - 3 * 3600 - 120)
    ended = await jobs()
    assert ended.code == 0
    opened, dead, incomplete = ended.out.split("\n\n")
    head, columns, line = opened.split("\n")
    assert head == "Open (1)"
    assert columns.split() == ["ID", "STATE", "AGE", "MODE", "FOR", "CHAT", "TITLE", "TASK"]
    assert line.split()[0] == waiting.id[:8]
    for word in ("separating", "separate_vocal", f"{alice.id} Alice A.", "private", "Morning Line"):
        assert word in line
    assert line.endswith("task-of-waiting")
    assert dead.startswith("Failed (1)\n")
    assert f"{bad.id[:8]}  500, charged  3h02m  split_stem" in dead
    assert incomplete.startswith("Delivered with stems missing (1)\n")
    assert f"{lacking.id[:8]}  missing: Drums; refused: Bass" in incomplete
    assert whole.id[:8] not in ended.out
    whole_list = (await jobs("--delivered")).out
    assert whole_list.startswith("Delivered (2)\n")
    assert whole.id[:8] in whole_list
    assert lacking.id[:8] in whole_list


async def test_each_list_can_be_shown_alone(product: Product, jobs: Command, sent: Message) -> None:
    await picked(product, sent)
    await failed(product, sent)
    assert list((await jobs("--open", "--json")).json) == ["open"]
    assert list((await jobs("list", "--failed", "--json")).json) == ["failed", "incomplete", "given_up"]
    assert list((await jobs("--json", "list", "--open")).json) == ["open"]
    assert list((await jobs("list", "--delivered", "--json")).json) == ["delivered"]
    assert list((await jobs("--open", "--delivered", "--json")).json) == ["open", "delivered"]
    assert "Failed" not in (await jobs("--open")).out
    assert "Open" not in (await jobs("--failed")).out


async def test_entries_beyond_the_limit_are_counted(
    product: Product, jobs: Command, sent: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_command, "_SHOWN", 1)
    ids = [(await failed(product, sent)).id for _ in range(3)]
    assert (await jobs("--failed")).out.endswith("… and 2 more (--limit)\n")
    assert len((await jobs("--failed", "--json")).json["failed"]) == 3
    ended = await jobs("--failed", "--limit", "2")
    assert ended.out.startswith("Failed (3)\n")
    assert ended.out.endswith("… and 1 more (--limit)\n")
    assert ids[0][:8] not in ended.out
    assert len((await jobs("--failed", "--limit", "2", "--json")).json["failed"]) == 2


async def test_a_failure_that_its_user_was_not_told_is_listed_once(
    product: Product, jobs: Command, sent: Message
) -> None:
    job = await failed(product, sent)
    found = (await jobs("--json")).json
    assert found["open"] == []
    assert [entry["is_closed"] for entry in found["failed"]] == [False]
    await product.store.close(job.id)
    assert [entry["is_closed"] for entry in (await jobs("--json")).json["failed"]] == [True]


async def test_json_of_a_list_has_all_that_the_table_shows(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await failed(product, sent, Failure("402", charged=False), chat_id=-100)
    (entry,) = (await jobs("--json")).json["failed"]
    assert entry["failure"] == {"code": "402", "charged": False}
    assert (entry["id"], entry["account"], entry["chat_id"]) == (job.id, alice.id, -100)
    assert entry["moved_at"].endswith("+00:00")
    assert entry["title"] == "Morning Line"


async def test_control_characters_from_users_are_removed(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\u200b歌\nfake  line"
    await product.users.set_name(alice.id, evil)
    job = await failed(product, sent, source=replace(new_job(sent).source, title=evil, performer=evil))
    for ended in (await jobs(), await jobs("show", job.id), await jobs("--json")):
        assert not set("\x1b\x07\u202e\u200b") & set(ended.out)
    lines = (await jobs("--failed")).out.splitlines()
    assert len(lines) == 3
    assert "]0;owned [2J 歌 fake line" in lines[2]


async def test_a_list_fits_a_narrow_terminal(
    product: Product, jobs: Command, sent: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = replace(new_job(sent).source, title="歌" * 60)
    job = await picked(product, sent, source=source)
    await product.store.begin_create(job.id)
    await product.store.accept(job.id, "0123456789abcdef0123456789abcdef")
    wide = (await jobs("--open")).out.splitlines()
    assert wide[2].endswith("0123456789abcdef0123456789abcdef")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    (line,) = (await jobs("--open")).out.splitlines()[2:]
    assert job.id[:8] in line
    assert re.search("0123456[0-9a-f]*…$", line)
    assert len(line) + line.count("歌") <= 100


async def test_short_ids_are_unambiguous(product: Product, jobs: Command, sent: Message) -> None:
    ids = ["abcdefab00000001", "abcdefab00000012", "1234567800000000"]
    for job_id in ids:
        await failed(product, sent, id=job_id)
    shown = [line.split()[0] for line in (await jobs("--failed")).out.splitlines()[2:]]
    assert sorted(shown) == sorted(job_id[:15] for job_id in ids)


# One job


async def test_one_job_is_shown_without_secrets(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await delivered(
        product,
        sent,
        missing=("Drums",),
        refused=("Bass",),
        silent=("Brass",),
        links=(("Strings", URL),),
    )
    await product.store.count_run(job.id, Run.SUBMIT)
    await product.store.count_run(job.id, Run.DELIVER, by=3)
    await product.store.tick_packed(job.id, {"zip:1": Sent(50, "file-zip", "unique")})
    ended = await jobs("show", job.id[:6])
    lines = dict(line.split("  ", 1) for line in ended.out.splitlines())
    shown = {label: text.strip() for label, text in lines.items()}
    assert shown["job"] == job.id
    assert shown["state"] == "delivered, not shown yet"
    assert shown["mode"] == "split_stem"
    assert shown["for"] == str(alice.id)
    content = f"content {job.source.file_unique_id}"
    assert shown["song"] == f"Sandbox Band – Morning Line, audio .mp3, 0:30, 0.7 MB, {content}"
    assert shown["task"] == f"task-{job.id}"
    assert shown["result"] == "code 200: vocals, instrumental"
    assert shown["sent"] == "vocals (message 41)"
    assert (shown["missing"], shown["refused"], shown["silent"]) == ("Drums", "Bass", "Brass")
    assert shown["too big"] == "Strings: as links"
    assert shown["besides"] == "zip:1"
    assert shown["runs"] == "submit 1, deliver 3"
    assert shown["credits"] == f"50 spent on {job.account_day} (UTC)"
    assert "ago)" in shown["in this state"]
    for secret in (URL, "cdn.example", "file-vocals", "file-zip", job.source.file_id):
        assert secret not in ended.out
        assert secret not in (await jobs("show", job.id, "--json")).out


async def test_a_failure_is_explained_to_the_operator(product: Product, jobs: Command, sent: Message) -> None:
    job = await failed(product, sent, Failure("401", charged=False))
    ended = await jobs("show", job.id)
    assert "failure        401: the separation API refuses SEPARATION_API_KEY\n" in ended.out
    assert "this try       not charged\n" in ended.out
    assert "credits        50 returned on " in ended.out
    own = "SEPARATION_API_KEY or SELFHOSTED_API_KEY"
    for provider, key in (("lalal", "LALAL_API_KEY"), ("selfhosted", own)):
        asked = await failed(product, sent, Failure("401", charged=False), provider=provider)
        assert f"401: the separation API refuses {key}\n" in (await jobs("show", asked.id)).out
    other = await failed(product, sent, Failure("999", charged=None))
    ended = await jobs("show", other.id)
    assert "999: the separation API returned an unknown code" in ended.out
    assert "maybe charged" in ended.out


LIST_FIELDS = [
    *("id", "state", "age_s", "moved_at", "mode", "instrument", "account", "name", "user_id", "chat_id"),
    *("title", "task_id", "failure", "missing", "refused", "is_closed", "provider"),
]
JOB_FIELDS = [
    *("created_at", "picked_at", "create_started_at", "polled_at", "shown_at", "topic_id"),
    *("source_message_id", "message_id", "language", "source", "result", "meaning", "sent", "silent"),
    *("too_big", "packed", "is_from_kept", "runs", "price", "charge", "account_day", "retried_as"),
    "calls",
]
SOURCE_FIELDS = {
    *("kind", "file_unique_id", "extension", "size_bytes", "duration_s", "title", "performer"),
}


async def test_the_json_fields_stay_the_same(product: Product, jobs: Command, sent: Message) -> None:
    """Scripts of operators read them."""
    job = await delivered(product, sent, missing=("Drums",), silent=("Brass",), links=(("Strings", URL),))
    await product.store.count_run(job.id, Run.SUBMIT)
    await product.store.tick_packed(job.id, {"zip:1": Sent(50, "file-zip", "unique")})
    await DeadLetters(product.redis).add("update:811", "a message", "6 workers died of it")
    listed = (await jobs("--json")).json
    assert list(listed) == ["open", "failed", "incomplete", "given_up"]
    (entry,) = listed["incomplete"]
    assert list(entry) == LIST_FIELDS
    assert [list(task) for task in listed["given_up"]] == [["id", "what", "why", "age_s", "at"]]
    assert (entry["missing"], entry["refused"], entry["failure"]) == (["Drums"], [], None)
    shown = (await jobs("show", job.id, "--json")).json
    assert list(shown) == LIST_FIELDS + JOB_FIELDS
    assert shown["source"].keys() >= SOURCE_FIELDS
    assert not {"file_id", "thumbnail_file_id"} & set(shown["source"])
    assert shown["result"] == {"code": 200, "stems": ["vocals", "instrumental"]}
    assert (shown["sent"], shown["packed"], shown["runs"]) == ({"vocals": 41}, ["zip:1"], {"submit": 1})
    assert (shown["silent"], shown["too_big"], shown["is_from_kept"]) == (["Brass"], ["Strings"], False)
    assert (shown["mode"], shown["charge"], shown["state"]) == ("split_stem", "settled", "delivered")
    assert list((await jobs("drop", job.id, "--json")).json) == ["is_done", "text", "job_id", "credits"]


async def test_json_of_one_job(product: Product, jobs: Command, sent: Message) -> None:
    job = await failed(product, sent)
    facts = (await jobs("--json", "show", job.id.upper())).json
    assert facts["id"] == job.id
    assert facts["meaning"] == "the separation API had an internal error"
    assert facts["source"]["duration_s"] == 30
    assert (facts["price"], facts["charge"]) == (50, "settled")
    assert facts["polled_at"] is None


async def test_one_job_shows_its_calls_and_who_split_the_song(
    product: Product, jobs: Command, sent: Message
) -> None:
    job = await picked(product, sent)
    first, second = make_call(job.id, asked_at=1.0), make_call(job.id, provider="lalal", price=48)
    await product.store.begin_create(job.id, first)
    await product.store.not_accepted(job, first.id, code="402", avoid="sunoapi")
    await product.store.begin_create(job.id, second)
    await product.store.accept(job.id, "lalal:1", second.id)
    await product.store.receive(job.id, job.chat_id, "lalal:1", STEMS, "lalal")
    ended = await jobs("show", job.id)
    lines = dict(line.split("  ", 1) for line in ended.out.splitlines())
    assert lines["call 1"].strip().startswith("sunoapi, 1970-01-01 ")
    assert lines["call 1"].endswith("refused with 402; 10 credits, paid: no")
    assert lines["call 2"].strip() == "lalal: succeeded; 48 credits, paid: yes"
    assert lines["split by"].strip() == "lalal, for 48 credits"
    calls = (await jobs("show", job.id, "--json")).json["calls"]
    assert [(it["provider"], it["credits_paid"]) for it in calls] == [("sunoapi", 0), ("lalal", 48)]
    assert "PROVIDER" not in (await jobs()).out
    listed = (await jobs(PROVIDERS="sunoapi,lalal", LALAL_API_KEY="key")).out
    assert re.search(r"^\S+ +delivering +\w+ +lalal +split_stem", listed, re.MULTILINE)


async def test_an_unknown_id_is_one_line(product: Product, jobs: Command, sent: Message) -> None:
    await failed(product, sent)
    wrong = [
        ("show", "*"),
        ("show", ""),
        ("show", "zzzz"),
        ("show", "update:"),
        ("show", "0123456789abcdef0"),
    ]
    for action, words in [*wrong, ("retry", "?"), ("resend", "[0-9a-f]"), ("drop", "*")]:
        ended = await jobs(action, words)
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert ended.err.startswith("stemdrop: no ")


async def test_an_ambiguous_beginning_of_an_id_is_one_line(
    product: Product, jobs: Command, sent: Message
) -> None:
    for job_id in ("abcd000000000001", "abcd000000000002"):
        await failed(product, sent, id=job_id)
    ended = await jobs("drop", "abcd")
    assert ended.code == 1
    assert ended.err == ("stemdrop: 2 jobs begin with 'abcd': abcd000000000001, abcd000000000002\n")
    assert len(await product.store.failed_jobs()) == 2
    assert (await jobs("drop", "abcd000000000001")).code == 0


# Retry


async def test_a_failed_job_is_retried_once_at_the_operators_cost(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await failed(product, sent)
    ended = await jobs("retry", job.id)
    new, _ = await product.jobs(alice.id)
    assert ended == Ended(0, f"job {job.id}: trying again as job {new.id}; costs 50 credits\n", "")
    assert await product.ordered() == [("submit", new.id)]
    assert (new.state, new.charge) == (JobState.SUBMITTING, Charge.NONE)
    assert await spent(product, alice) == 50  # as before
    (shown,) = bot_texts(product, alice)
    assert shown.startswith("⏳ Splitting “Morning Line”…")
    assert await product.store.failed_jobs() == []
    again = await jobs("retry", job.id)
    assert again == Ended(
        0, f"job {job.id} was tried again before, as job {new.id}, which is submitting\n", ""
    )
    assert len(await product.jobs(alice.id)) == 2
    assert await product.ordered() == []
    assert f"tried again as  {new.id}\n" in (await jobs("show", job.id)).out


async def test_a_result_that_has_come_after_all_is_not_bought_again(
    product: Product, provider: Provider, jobs: Command, alice: User, sent: Message
) -> None:
    job = await picked(product, sent)
    await product.store.begin_create(job.id)
    await product.store.accept(job.id, "task-1")
    await product.store.fail(job.id, [JobState.SEPARATING], Failure("timeout", charged=True))
    response = {"vocalUrl": provider.stem_url("vocal")}
    provider.details["task-1"] = {"taskId": "task-1", "successFlag": "SUCCESS", "response": response}
    ended = await jobs("retry", job.id, SEPARATION_API_URL=provider.url)
    assert ended == Ended(0, f"job {job.id}: its result has come after all; costs nothing\n", "")
    assert await product.ordered() == [("deliver", job.id)]
    assert len(await product.jobs(alice.id)) == 1


async def test_a_mode_that_no_provider_offers_is_not_retried(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await failed(product, sent)
    await product.abilities.put(Abilities({Mode.SEPARATE_VOCAL: Ability(10)}))
    ended = await jobs("retry", job.id, SEPARATION_API_URL=NOBODY)
    said = f"job {job.id}: no provider offers its mode now; nothing was ordered"
    assert (ended.code, said in ended.err) == (1, True)
    assert await product.ordered() == []
    assert [it.id for it in await product.jobs(alice.id)] == [job.id]


@pytest.mark.parametrize("has_come", [False, True])
async def test_stems_that_another_job_pays_for_are_not_paid_again(
    product: Product, jobs: Command, sent: Message, has_come: bool
) -> None:
    job, payer = await failed(product, sent), new_job(sent)
    payer = replace(payer, source=job.source)
    await product.store.add(payer, once=payer.id)
    await product.store.pick(payer, Mode.SPLIT_STEM, "", 0)
    if has_come:
        await product.store.begin_create(payer.id)
        await product.store.receive(payer.id, payer.chat_id, "task-1", STEMS)
    ended = await jobs("retry", job.id, "--json")
    assert (ended.code, ended.json["credits"]) == (0, 0)
    how = "has paid for its stems, so it" if has_come else "and"
    assert re.search(f"job {payer.id} {how} costs nothing", ended.json["text"])


async def test_simultaneous_retries_make_one_job(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await failed(product, sent)
    orders = [job_actions.perform(product.settings, product.redis, "retry", job) for _ in range(3)]
    outcomes = await asyncio.gather(*orders)
    new, _ = await product.jobs(alice.id)
    assert {outcome.job_id for outcome in outcomes} == {new.id}
    assert await product.ordered() == [("submit", new.id)]


async def test_only_the_latest_try_can_be_retried(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await failed(product, sent)
    await jobs("retry", job.id)
    new, _ = await product.jobs(alice.id)
    await product.fail(new.id, Failure("501", charged=True))
    ended = await jobs("retry", job.id)
    assert ended.code == 1
    assert f"was tried again before, as job {new.id}, which failed (501)" in ended.err
    assert (await jobs("retry", new.id)).code == 0
    assert len(await product.jobs(alice.id)) == 3


async def test_stems_that_telegram_keeps_are_not_paid_again(
    product: Product, jobs: Command, sent: Message
) -> None:
    job = await failed(product, sent)
    await product.stem_cache.put(job, CachedStems(Result(200), (CachedStem("vocals", "audio", "file"),)))
    ended = await jobs("retry", job.id, "--json")
    assert (ended.code, ended.json["credits"]) == (0, 0)
    assert "costs nothing" in ended.json["text"]
    assert await product.ordered() == [("deliver", ended.json["job_id"])]


async def test_stems_that_are_paid_for_are_only_fetched_again(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    stuck = await came_back(product, sent)
    await product.store.fail(stuck.id, [JobState.DELIVERING], Failure("undeliverable", charged=True))
    lacking = await delivered(product, sent, missing=("Drums",))
    await product.ordered()
    ended = await jobs("retry", stuck.id)
    assert ended.out == f"job {stuck.id}: fetching its stems, which are paid for, again; costs nothing\n"
    assert await product.ordered() == [("deliver", stuck.id)]
    ended = await jobs("retry", lacking.id)
    assert ended.out == f"job {lacking.id}: fetching Drums again; costs nothing\n"
    assert await product.ordered() == [("deliver", lacking.id)]
    again = await jobs("retry", lacking.id)
    assert again == Ended(0, f"job {lacking.id} is being delivered already\n", "")
    assert await product.ordered() == []
    assert await spent(product, alice) == 100
    assert await product.store.incomplete_jobs() == await product.store.failed_jobs() == []


@pytest.mark.parametrize("state", ["separating", "cancelled", "delivered"])
async def test_a_job_that_did_not_fail_is_not_retried(
    product: Product, jobs: Command, alice: User, sent: Message, state: str
) -> None:
    if state == "delivered":
        job = await delivered(product, sent)
    else:
        job = await product.at(JobState.SEPARATING, sent)
    if state == "cancelled":
        await product.store.cancel(job.id)
    ended = await jobs("retry", job.id)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.endswith(f"{state}: nothing to try again\n")
    assert len(await product.jobs(alice.id)) == 1


# Resend


async def test_all_stems_are_resent_from_telegrams_copies(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await delivered(product, sent)
    ended = await jobs("resend", job.id)
    new, _ = await product.jobs(alice.id)
    assert ended == Ended(0, f"job {job.id}: sending 1 stem again as job {new.id}; costs nothing\n", "")
    assert await product.ordered() == [("deliver", new.id)]
    assert [stem.file_id for stem in new.cached] == ["file-vocals"]
    assert await spent(product, alice) == 50  # as before
    assert (await jobs("resend", job.id)).code == 0
    assert len(await product.jobs(alice.id)) == 2  # still on its way


async def test_a_job_that_shares_a_call_says_whose(product: Product, jobs: Command, sent: Message) -> None:
    payer, waiting = new_job(sent), new_job(sent)
    for job in (payer, waiting):
        await product.store.add(job, once=job.id)
        await product.store.pick(job, Mode.SPLIT_STEM, "", 0)
    assert f"waits for job  {payer.id}" in (await jobs("show", waiting.id)).out
    await product.store.begin_create(payer.id)
    await product.store.receive(payer.id, payer.chat_id, "task-1", STEMS)
    shown = (await jobs("show", waiting.id)).out
    assert f"paid by job    {payer.id}" in shown
    assert f"split by       the call of job {payer.id}, at no further cost\n" in shown


async def test_stems_that_a_chat_did_not_take_are_sent(
    product: Product, jobs: Command, sent: Message
) -> None:
    job = await came_back(product, sent)
    await product.store.fail(job.id, [JobState.DELIVERING], Failure("no_music", charged=True))
    ended = await jobs("resend", job.id)
    assert ended == Ended(0, f"job {job.id}: sending its stems now; costs nothing\n", "")
    assert await product.ordered() == [("deliver", job.id)]
    assert (await jobs("resend", job.id)).code == 1  # it is on its way
    assert await product.ordered() == []


async def test_a_job_without_kept_stems_is_not_resent(product: Product, jobs: Command, sent: Message) -> None:
    bad = await failed(product, sent)
    ended = await jobs("resend", bad.id)
    assert ended == Ended(1, "", f"stemdrop: job {bad.id} failed (500): Telegram keeps no stems of it\n")
    opened = await came_back(product, sent)
    await product.store.tick(opened.id, {"vocals": Sent(41, "file-vocals", "unique")})
    ended = await jobs("resend", opened.id)
    assert ended.code == 1
    assert "is delivering: it can be resent only after it has ended" in ended.err


# Drop


async def test_dropping_an_open_job_cancels_it_and_notifies_its_user(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await picked(product, sent)
    ended = await jobs("drop", job.id)
    assert ended == Ended(0, f"job {job.id}: cancelled; its 50 credits went back to its account\n", "")
    assert (await product.job(job.id)).state is JobState.CANCELLED
    assert await spent(product, alice) == 0
    assert bot_texts(product, alice) == ["✖️ Cancelled: “Morning Line”."]
    assert await product.store.open_jobs() == []
    again = await jobs("drop", job.id)
    assert again == Ended(1, "", f"stemdrop: job {job.id} was cancelled: it is no dead letter\n")


async def test_a_submitted_job_stays_paid_when_it_is_dropped(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await picked(product, sent)
    await product.store.begin_create(job.id)
    await product.store.accept(job.id, "task-1")
    ended = await jobs("drop", job.id)
    assert ended.out == f"job {job.id}: cancelled; its 50 credits are spent\n"
    assert await spent(product, alice) == 50
    assert bot_texts(product, alice)[0].startswith(
        "✖️ Cancelled: “Morning Line”. It had already been submitted"
    )


async def test_a_delivery_that_is_dropped_ends_with_an_explanation(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await came_back(product, sent)
    ended = await jobs("drop", job.id)
    text = f"job {job.id} failed (undeliverable): ended, no longer a dead letter; its 50 credits are spent\n"
    assert ended == Ended(0, text, "")
    assert (await product.job(job.id)).failure == Failure("undeliverable", charged=True)
    assert await spent(product, alice) == 50
    assert await product.store.failed_jobs() == await product.store.open_jobs() == []
    (told,) = bot_texts(product, alice)
    assert told.startswith("⚠️ The stems are not sent yet (code undeliverable).")
    # the stems are paid for and can still be fetched
    assert (await jobs("retry", job.id)).code == 0
    assert await product.ordered() == [("deliver", job.id)]


async def test_dropping_a_resend_charges_nothing(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await delivered(product, sent)
    new_id = (await jobs("resend", job.id, "--json")).json["job_id"]
    await jobs("drop", new_id)
    assert (await product.job(new_id)).failure == Failure("undeliverable", charged=False)
    assert await spent(product, alice) == 50


async def test_dropping_a_job_that_another_job_has_paid_for_says_that_it_cost_nothing(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    payer = await came_back(product, sent)
    job = replace(new_job(sent), source=payer.source)
    await product.store.add(job, once=job.id)
    await product.store.pick(job, Mode.SPLIT_STEM, "", 0)
    assert (await product.job(job.id)).paid_by == payer.id
    assert (await jobs("drop", job.id)).code == 0
    assert (await product.job(job.id)).failure == Failure("undeliverable", charged=False)
    assert await spent(product, alice) == 50
    assert "This try cost nothing." in bot_texts(product, alice)[-1]


async def test_dropping_a_refunded_result_tells_that_another_call_was_charged(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await came_back(product, sent, Result(531))
    await product.store.set(job.id, is_other_charged=True)
    assert (await jobs("drop", job.id)).code == 0
    assert (await product.job(job.id)).failure == Failure("531", charged=True)
    assert await spent(product, alice) == 0  # the price of the refunded call


@pytest.mark.parametrize(
    ("result", "failure", "left"),
    [
        (Result(531), Failure("531", charged=False), 0),
        (Result(500), Failure("500", charged=True), 50),
        (Result(200), Failure("empty", charged=True), 50),
    ],
)
async def test_dropping_a_failed_result_keeps_its_failure_code(
    product: Product, jobs: Command, alice: User, sent: Message, result: Result, failure: Failure, left: int
) -> None:
    job = await came_back(product, sent, result)
    assert (await jobs("drop", job.id)).code == 0
    assert (await product.job(job.id)).failure == failure
    assert await spent(product, alice) == left


async def test_dropping_dead_letters_removes_them_from_the_list(
    product: Product, jobs: Command, sent: Message
) -> None:
    bad, lacking = await failed(product, sent), await delivered(product, sent, missing=("Drums",))
    ended = await jobs("drop", bad.id)
    assert ended.out == f"job {bad.id} failed (500): no longer a dead letter; its 50 credits are spent\n"
    ended = await jobs("drop", lacking.id)
    assert "was delivered with stems missing: no longer a dead letter" in ended.out
    assert (await jobs("--failed")).out == "Nothing has failed.\n"
    assert (await product.job(lacking.id)).missing == ("Drums",)
    for job in (bad, lacking):
        again = await jobs("drop", job.id)
        assert again.code == 1
        assert again.err.endswith("it is no dead letter\n")


async def test_dropping_a_job_starts_the_next_queued_one(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    *_, last = [await picked(product, sent) for _ in range(4)]
    first = (await product.jobs(alice.id))[-1]
    await product.ordered()
    assert last.state is JobState.QUEUED
    await jobs("drop", first.id)
    assert await product.ordered() == [("submit", last.id)]


async def test_a_result_that_arrives_before_the_drop_ends_the_job_once(
    product: Product, sent: Message
) -> None:
    """The job was read as separating and is being delivered by now."""
    job = await picked(product, sent)
    await product.store.begin_create(job.id)
    await product.store.accept(job.id, "task-1")
    looked_up = await product.job(job.id)
    await product.store.receive(job.id, job.chat_id, "task-1", STEMS)
    outcome = await job_actions.perform(product.settings, product.redis, "drop", looked_up)
    assert outcome.is_done
    assert (await product.job(job.id)).failure == Failure("undeliverable", charged=True)


async def test_simultaneous_drops_return_the_credits_once(
    product: Product, alice: User, sent: Message
) -> None:
    job = await picked(product, sent)
    drops = [job_actions.perform(product.settings, product.redis, "drop", job) for _ in range(4)]
    assert all(outcome.is_done for outcome in await asyncio.gather(*drops))
    assert (await product.job(job.id)).charge is Charge.RETURNED
    assert await spent(product, alice) == 0


# Telegram and Redis unreachable


async def test_recovery_notifies_the_user_when_telegram_was_unreachable(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await picked(product, sent)
    product.telegram.faults.add(FaultKind.SERVER_ERROR, method="sendMessage")
    ended = await jobs("drop", job.id)
    assert ended.code == 0
    assert ended.out.endswith("its 50 credits went back to its account; its user is still to be notified\n")
    assert bot_texts(product, alice) == []
    product.clock.advance(60)  # the command uses the real clock
    await product.recovery().run()
    assert bot_texts(product, alice) == ["✖️ Cancelled: “Morning Line”."]


async def test_a_user_who_blocked_the_bot_is_reported(
    product: Product, jobs: Command, alice: User, sent: Message
) -> None:
    job = await picked(product, sent)
    product.telegram.block_bot(alice.id)
    assert (await jobs("drop", job.id)).out.endswith("; its user can no longer be notified\n")


async def test_a_hanging_telegram_does_not_delay_the_command(
    product: Product, jobs: Command, sent: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_actions, "TELEGRAM_WAIT_S", 0.05)
    released = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    job = await picked(product, sent)
    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.timeout(120):
            ended = await jobs("drop", job.id, TELEGRAM_API_URL=url)
        released.set()
    assert ended.code == 0
    assert "its user is still to be notified" in ended.out
    assert (await product.job(job.id)).state is JobState.CANCELLED


async def test_an_unreachable_redis_is_one_line(jobs: Command) -> None:
    for words in (("list",), ("drop", "abcd")):
        ended = await jobs(*words, REDIS_URL="redis://:pass-word@127.0.0.1:9/0")
        assert ended == Ended(1, "", "stemdrop: REDIS_URL: 127.0.0.1:9: Redis does not answer\n")


async def test_a_wrong_setting_is_one_line(jobs: Command) -> None:
    ended = await jobs(SECRET_KEY="")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "SECRET_KEY is missing" in ended.err


async def test_a_job_that_cannot_be_read_is_one_line(product: Product, jobs: Command, sent: Message) -> None:
    job = await failed(product, sent)
    await product.redis.hset(JOB.format(job.id), "source", "no longer JSON")  # type: ignore[misc]
    ended = await jobs("show", job.id)
    assert ended.err.startswith(f"stemdrop: job {job.id} cannot be read")
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    ended = await jobs("--failed")
    assert (ended.code, ended.out) == (0, "Nothing has failed.\n")
    assert f"job {job.id} cannot be read" in ended.err


# Given-up tasks


async def test_given_up_tasks_are_listed_among_dead_letters(
    product: Product, jobs: Command, sent: Message
) -> None:
    job = await delivered(product, sent)
    dead_letters = DeadLetters(product.redis)
    pack = f"pack:{job.id}:z"
    await dead_letters.add("update:811", "a message with a document", "6 workers died of it")
    await dead_letters.add(pack, "one ZIP", "6 workers died of it")
    ended = await jobs("--failed")
    assert "Tasks given up (2)\n" in ended.out
    assert f"{pack}  " in ended.out
    assert "a message with a document: 6 workers died of it" in ended.out
    assert [letter["id"] for letter in (await jobs("--json")).json["given_up"]] == [pack, "update:811"]
    shown = await jobs("show", "update:")
    assert "was       a message with a document\n" in shown.out
    assert (await jobs("show", pack, "--json")).json["what"] == "one ZIP"


async def test_a_given_up_archive_is_run_again(product: Product, jobs: Command, sent: Message) -> None:
    job = await delivered(product, sent)
    dead_letters, pack = DeadLetters(product.redis), f"pack:{job.id}:z"
    await dead_letters.add(pack, "one ZIP", "6 workers died of it")
    assert (await jobs("resend", pack)).code == 1
    ended = await jobs("retry", pack)
    assert ended == Ended(0, f"task {pack}: run again; costs nothing\n", "")
    assert await product.packs() == [f"{job.id}:z"]
    assert await dead_letters.all() == []
    assert (await jobs("retry", pack)).code == 1


async def test_a_given_up_update_can_only_be_dropped(product: Product, jobs: Command) -> None:
    dead_letters = DeadLetters(product.redis)
    await dead_letters.add("update:811", "a message", "6 workers died of it")
    for action in ("retry", "resend"):
        ended = await jobs(action, "update:811")
        assert ended.code == 1
        assert "they have to send it again" in ended.err
    assert (await jobs("drop", "update:811")).out == "task update:811: dropped\n"
    assert await dead_letters.all() == []
