"""`GET`/`HEAD /source/{token}/{name}`: serves the user's audio to the provider, and refuses all else."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from itsdangerous import TimestampSigner
from product import Product, new_job, open_product, until
from serverlog import no_server_errors
from waits import WAIT_S

from sandbox.environment.server import serve
from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.faults import FaultKind
from sandbox.telegram.person_actions import Telegram
from stemdrop.domain.audio_types import EXTENSIONS
from stemdrop.domain.jobs import FINAL, Failure, Job, JobState, Mode
from stemdrop.domain.outcomes import Credits
from stemdrop.http.signed_links import SOURCE_LIFETIME_S
from stemdrop.storage.source_quota import MOST_FETCHES
from webhook.app import create_app
from webhook.byte_ranges import byte_range
from webhook.source import FETCH_BYTES, MAX_DOWNLOADS_PER_JOB


@pytest.fixture
def content(telegram: Telegram, sent: Message) -> bytes:
    """The content of Alice's song."""
    assert sent.media
    return telegram.file_location(sent.media["file_id"]).read_bytes()


@pytest.fixture
async def job(product: Product, sent: Message) -> Job:
    """A job whose source the provider may fetch."""
    return await product.at(JobState.SUBMITTING, sent)


def path_of(product: Product, job: Job) -> str:
    return urlsplit(product.links.source_url(job.id, job.source.extension)).path


async def test_the_whole_song_is_served(
    product: Product, client: httpx.AsyncClient, job: Job, content: bytes
) -> None:
    answer = await client.get(path_of(product, job))
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "no-store"


async def test_head_has_the_headers_of_get_and_no_body(
    product: Product, client: httpx.AsyncClient, job: Job, content: bytes
) -> None:
    by_get, by_head = await client.get(path_of(product, job)), await client.head(path_of(product, job))
    assert by_head.status_code == 200
    assert by_head.content == b""
    ignored = ("date", "server")
    for name in set(by_get.headers) - set(ignored):
        assert by_head.headers[name] == by_get.headers[name]
    part = await client.head(path_of(product, job), headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.headers["content-length"]) == (206, "10")


async def test_every_accepted_extension_is_served_with_its_media_type(
    product: Product, client: httpx.AsyncClient, sent: Message
) -> None:
    served = {}
    for extension in sorted(EXTENSIONS):
        source = replace(new_job(sent).source, extension=extension)
        job = await product.at(JobState.SUBMITTING, sent, source=source)
        assert path_of(product, job).endswith(f"/audio{extension}")
        served[extension] = (await client.head(path_of(product, job))).headers["content-type"]
    assert {kind for kind in served.values() if not kind.startswith(("audio/", "video/"))} == set()
    assert (served[".mp3"], served[".amr"], served[".3gp"]) == ("audio/mpeg", "audio/amr", "video/3gpp")


async def test_byte_ranges_are_served(
    product: Product, client: httpx.AsyncClient, job: Job, content: bytes
) -> None:
    size = len(content)
    parts = {
        "bytes=0-0": (0, 1),
        "bytes=0-99": (0, 100),
        "bytes=1000-1999": (1000, 2000),
        "bytes=-100": (size - 100, size),
        f"bytes={size - 1}-": (size - 1, size),
        "bytes=5-": (5, size),
        f"bytes=10-{size * 2}": (10, size),
        f"bytes=-{size * 2}": (0, size),
        "bytes = 3 - 4": (3, 5),
    }
    for header, (start, end) in parts.items():
        answer = await client.get(path_of(product, job), headers={"Range": header})
        assert answer.status_code == 206, header
        assert answer.content == content[start:end], header
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert answer.headers["content-length"] == str(end - start)


async def test_a_range_beyond_the_end_is_refused(
    product: Product, client: httpx.AsyncClient, job: Job, content: bytes
) -> None:
    for header in (f"bytes={len(content)}-", "bytes=999999999999999999-", "bytes=-0"):
        answer = await client.get(path_of(product, job), headers={"Range": header})
        assert answer.status_code == 416, header
        assert answer.headers["content-range"] == f"bytes */{len(content)}"
        assert answer.content == b""


async def test_invalid_and_multiple_ranges_get_the_whole_file(
    product: Product, client: httpx.AsyncClient, job: Job, content: bytes
) -> None:
    odd = [
        "bytes=0-1,5-6",
        "bytes=9-5",
        "bytes=-",
        "bytes",
        "items=0-5",
        "bytes=a-b",
        "bytes=0x1-2",
        "",
        "bytes=--5",
    ]
    for header in [*odd, "bytes=" + "9" * 5000 + "-"]:
        answer = await client.get(path_of(product, job), headers={"Range": header})
        assert (answer.status_code, len(answer.content)) == (200, len(content)), header


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-", 1, (0, 1)),
        ("bytes=0-0", 1, (0, 1)),
        ("bytes=1-", 1, (0, 0)),
        ("bytes=-1", 1, (0, 1)),
        ("bytes=-0", 1, (0, 0)),
        ("bytes=٠-٩", 100, None),
        ("bytes=0-9\n", 100, None),
        ("BYTES=0-9", 100, None),
    ],
)
def test_range_headers_are_parsed_strictly(header: str, size: int, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, size) == expected


async def test_a_file_is_streamed_while_telegram_sends_it(
    product: Product, client: httpx.AsyncClient, telegram: Telegram, alice: User
) -> None:
    """Telegram cuts the connection: a webhook that reads the whole file first would have sent nothing."""
    size = 1024 * 1024
    big = BytesIO(bytes(size))
    sent = await telegram.send_file(alice.id, big, kind="document", file_name="long.wav")
    job = await product.at(JobState.SUBMITTING, sent)
    order = telegram.faults.add(FaultKind.RESET_MID_DOWNLOAD, method="download")
    received = 0
    async with client.stream("GET", path_of(product, job)) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-length"] == str(size)
        with suppress(httpx.RemoteProtocolError):
            async for chunk in answer.aiter_bytes():
                received += len(chunk)
    assert order.hits == 1
    assert 0 < received < size
    whole = await client.get(path_of(product, job))
    assert len(whole.content) == size


async def test_a_range_in_the_middle_has_the_right_bytes(
    product: Product, client: httpx.AsyncClient, telegram: Telegram, alice: User
) -> None:
    content = bytes(range(256)) * 4096
    sent = await telegram.send_file(alice.id, BytesIO(content), kind="document", file_name="a.wav")
    job = await product.at(JobState.SUBMITTING, sent)
    answer = await client.get(path_of(product, job), headers={"Range": "bytes=1048000-1048099"})
    assert (answer.status_code, answer.content) == (206, content[1048000:1048100])


async def test_forged_and_expired_links_are_refused(
    product: Product, client: httpx.AsyncClient, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = path_of(product, job)
    token = good.split("/")[2]
    with monkeypatch.context() as patch:
        before = int(time.time()) - SOURCE_LIFETIME_S - 60
        patch.setattr(TimestampSigner, "get_timestamp", lambda self: before)
        expired = path_of(product, job)
    callback = product.links.callback_url(job.id, job.chat_id).rpartition("/")[2]
    attacks = {
        "forged": "/source/not-a-token/audio.mp3",
        "empty": "/source/%20/audio.mp3",
        "tampered": f"/source/{'0' if token[0] != '0' else '1'}{token[1:]}/audio.mp3",
        "cut": f"/source/{token[:-1]}/audio.mp3",
        "expired": expired,
        "a callback's token": f"/source/{callback}/audio.mp3",
        "not ASCII": "/source/%F0%9F%8E%B5%ff/audio.mp3",
    }
    for method in ("GET", "HEAD"):
        statuses = {name: (await client.request(method, path)).status_code for name, path in attacks.items()}
        assert statuses == dict.fromkeys(attacks, 403)
    assert "getFile" not in [call.method for call in product.telegram.calls]


async def test_other_names_are_not_found(product: Product, client: httpx.AsyncClient, job: Job) -> None:
    folder = path_of(product, job).rpartition("/")[0]
    names = [
        *("audio.MP3", "audio.wav", "audio", "audio.mp3x", "x.mp3", "audio.mp3%00", "audio.mp3%20"),
        *("%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%2faudio.mp3", "..%5caudio.mp3", "a/audio.mp3"),
        *("%2Faudio.mp3", "audio%2emp3%2f..", "%ff"),
    ]
    statuses = {}
    for name in names:
        url = client.base_url.copy_with(raw_path=f"{folder}/{name}".encode())
        statuses[name] = (await client.get(url)).status_code
    assert statuses == dict.fromkeys(names, 404)


async def test_too_frequent_requests_get_429_without_a_call_of_telegram(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    path = path_of(product, job)
    assert (await client.head(path)).status_code == 200
    far = product.clock.now + 3600  # the token bucket is empty, and was last used then
    await product.redis.hset(f"stemdrop:job:{job.id}", mapping={"fetch_tokens": "0", "fetched_at": str(far)})
    asked = len(product.telegram.calls)
    for method in ("GET", "HEAD"):
        answer = await client.request(method, path, headers={"Range": "bytes=0-9"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert len(product.telegram.calls) == asked
    product.clock.advance(3602)
    assert (await client.get(path)).status_code == 200


async def test_the_quota_counts_requests_and_requested_bytes(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    path = path_of(product, job)
    await client.head(path)
    await client.get(path, headers={"Range": "bytes=10-19"})
    await client.get(path, headers={"Range": f"bytes={job.source.size_bytes}-"})
    names = ["fetches", "fetched_bytes"]
    assert await product.redis.hmget(f"stemdrop:job:{job.id}", names) == ["3", "10"]
    await client.get(path, headers={"Range": "bytes=0-1,4-5"})
    counted = ["4", str(10 + job.source.size_bytes)]
    assert await product.redis.hmget(f"stemdrop:job:{job.id}", names) == counted
    await client.get(path.replace("audio.mp3", "audio.wav"))
    await client.get("/source/forged/audio.mp3")
    assert await product.redis.hmget(f"stemdrop:job:{job.id}", names) == counted


async def test_a_link_whose_quota_is_used_up_is_refused(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    path = path_of(product, job)
    await product.redis.hset(f"stemdrop:job:{job.id}", "fetches", str(MOST_FETCHES - 1))
    assert (await client.get(path)).status_code == 200
    for method in ("GET", "HEAD"):
        answer = await client.request(method, path)
        assert (answer.status_code, "retry-after" in answer.headers) == (403, False)


async def test_concurrent_downloads_of_one_job_are_limited(
    product: Product, client: httpx.AsyncClient, telegram: Telegram, alice: User
) -> None:
    big = BytesIO(bytes(200_000))
    sent = await telegram.send_file(alice.id, big, kind="document", file_name="long.wav")
    job, other = [await product.at(JobState.SUBMITTING, sent, task_id=f"task-{n}") for n in (1, 2)]
    telegram.faults.add(FaultKind.SLOW, method="download", times=MAX_DOWNLOADS_PER_JOB, bytes_per_s=1000)
    async with AsyncExitStack() as stack:
        downloads = [
            await stack.enter_async_context(client.stream("GET", path_of(product, job)))
            for _ in range(MAX_DOWNLOADS_PER_JOB)
        ]
        assert {answer.status_code for answer in downloads} == {200}
        answer = await client.get(path_of(product, job))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert (await client.head(path_of(product, job))).status_code == 200
        assert (await client.get(path_of(product, other))).status_code == 200
        await downloads[0].aclose()
        async with asyncio.timeout(120):
            while (answer := await client.get(path_of(product, job))).status_code == 429:
                product.clock.advance(1)
        assert answer.status_code == 200


async def test_a_client_that_disconnects_ends_the_download_without_an_error(
    product: Product, client: httpx.AsyncClient, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    product.telegram.faults.add(FaultKind.SLOW, method="download", bytes_per_s=1000)
    with no_server_errors(caplog):
        async with client.stream("GET", path_of(product, job)) as answer:
            assert answer.status_code == 200
            during = len(asyncio.all_tasks())
        await until(lambda: len(asyncio.all_tasks()) < during)
    ours = [record for record in caplog.records if record.name.startswith(("stemdrop", "webhook"))]
    assert [record for record in ours if record.levelno > logging.INFO] == []


async def test_a_download_is_cut_off_when_its_job_ends(
    product: Product,
    client: httpx.AsyncClient,
    job: Job,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("webhook.source.CHECK_INTERVAL_S", 0.0)
    product.telegram.faults.add(FaultKind.SLOW, method="download", bytes_per_s=200_000)
    received = 0
    async with client.stream("GET", path_of(product, job)) as answer:
        with suppress(httpx.RemoteProtocolError):
            async for chunk in answer.aiter_bytes():
                received += len(chunk)
                await product.store.move(job.id, [job.state], JobState.DELIVERING)
    assert 0 < received < job.source.size_bytes
    assert "the download of its source failed: ConnectionAbortedError" in caplog.text


async def test_a_download_is_cut_off_after_its_timeout(
    product: Product, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    product.telegram.faults.add(FaultKind.SLOW, method="download", bytes_per_s=100)
    app = create_app(product, download_timeout_s=0.2)
    async with serve(app) as url, httpx.AsyncClient(base_url=url, timeout=WAIT_S) as http:
        with suppress(httpx.RemoteProtocolError):
            answer = await http.get(path_of(product, job))
            assert answer.status_code == 503  # on a slow machine it had not started
    assert "the download of its source failed: TimeoutError" in caplog.text


async def test_a_file_shorter_than_announced_is_not_mistaken_for_the_whole(
    product: Product, client: httpx.AsyncClient, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    location = product.telegram.file_location(job.source.file_id)
    location.write_bytes(location.read_bytes()[:5000])
    with no_server_errors(caplog, is_cut=True), pytest.raises(httpx.RemoteProtocolError):
        await client.get(path_of(product, job))


async def fetched_at(product: Product, job: Job) -> float:
    return (await product.job(job.id)).source_fetched_at


async def test_a_look_at_the_source_is_no_fetch(
    product: Product, client: httpx.AsyncClient, job: Job
) -> None:
    path = path_of(product, job)
    await client.get(path)  # before the create call
    await product.store.begin_create(job.id)
    await client.head(path)
    await client.get(path, headers={"Range": "bytes=0-1023"})
    await client.get(path, headers={"Range": f"bytes=-{FETCH_BYTES - 1}"})
    assert await fetched_at(product, job) == 0


@pytest.mark.parametrize("headers", [{}, {"Range": f"bytes=-{FETCH_BYTES}"}])
async def test_a_fetch_of_the_source_is_noted(
    product: Product, client: httpx.AsyncClient, job: Job, headers: dict[str, str]
) -> None:
    await product.store.begin_create(job.id)
    assert (await client.get(path_of(product, job), headers=headers)).is_success
    assert await fetched_at(product, job) > 0


@pytest.mark.parametrize("size", [FETCH_BYTES, 4 * FETCH_BYTES])
async def test_a_fetch_in_progress_is_noted(
    product: Product, client: httpx.AsyncClient, telegram: Telegram, alice: User, size: int
) -> None:
    """It is noted after half of a small file, or after `FETCH_BYTES` of a large one."""
    sent = await telegram.send_file(alice.id, BytesIO(bytes(size)), kind="document", file_name="long.wav")
    job = await product.at(JobState.SUBMITTING, sent)
    product.telegram.faults.add(FaultKind.SLOW, method="download", bytes_per_s=2_000_000)
    await product.store.begin_create(job.id)
    received, noted = 0, list[int]()
    async with client.stream("GET", path_of(product, job)) as answer:
        async for chunk in answer.aiter_bytes():
            received += len(chunk)
            if await fetched_at(product, job):
                noted.append(received)
    assert noted
    assert received == size
    assert noted[0] < min(size, 2 * FETCH_BYTES)


async def test_a_fetch_is_noted_when_the_client_closes_meanwhile(
    product: Product, client: httpx.AsyncClient, telegram: Telegram, alice: User
) -> None:
    """Redis needs longer for the note than the client for its last bytes."""
    sent = await telegram.send_file(
        alice.id, BytesIO(bytes(FETCH_BYTES)), kind="document", file_name="long.wav"
    )
    job = await product.at(JobState.SUBMITTING, sent)
    product.telegram.faults.add(FaultKind.SLOW, method="download", bytes_per_s=FETCH_BYTES)
    await product.store.begin_create(job.id)
    received = 0
    async with client.stream("GET", path_of(product, job)) as answer:
        async for chunk in answer.aiter_bytes():
            if not received:
                await product.redis.client_pause(1500)
            received += len(chunk)
            if received >= FETCH_BYTES / 2:
                break
    async with asyncio.timeout(120):
        while not await fetched_at(product, job):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_source_is_served_while_its_job_needs_it(
    product: Product, client: httpx.AsyncClient, sent: Message, job: Job
) -> None:
    path = path_of(product, job)
    await product.store.begin_create(job.id)
    await product.store.accept(job.id, "task-1")
    assert (await client.head(path)).status_code == 200
    for end in FINAL:
        ended = await product.at(JobState.SUBMITTING, sent)
        assert (await client.head(path_of(product, ended))).status_code == 200
        failure = Failure("500")
        assert await product.store.move(ended.id, [JobState.SUBMITTING], end, Credits.RETURN, failure=failure)
        assert (await client.get(path_of(product, ended))).status_code == 404
        # nor when the missing stems are fetched again
        await product.store.deliver_again(ended.id)
        assert (await client.get(path_of(product, ended))).status_code == 404
        assert (await client.head(path_of(product, ended))).status_code == 404
    choosing = await product.at(JobState.CHOOSING, sent)
    assert (await client.get(path_of(product, choosing))).status_code == 404
    await product.redis.delete(f"stemdrop:job:{job.id}")
    assert (await client.get(path)).status_code == 404


async def test_the_link_of_a_deleted_job_serves_the_song_of_one_that_waits_for_its_result(
    product: Product, client: httpx.AsyncClient, sent: Message
) -> None:
    jobs = [replace(new_job(sent), id=f"{account:016x}", account=account) for account in (1, 2)]
    for job in jobs:
        await product.store.add(job, once=job.id)
        await product.store.pick(job, Mode.SEPARATE_VOCAL, "", 0)
        await product.store.begin_create(job.id)
    payer, waiting = jobs
    path = path_of(product, payer)
    await product.store.forget(payer.id)
    assert (await client.get(path)).status_code == 200
    assert await fetched_at(product, waiting) > 0
    await product.store.forget(waiting.id)
    assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("method", ["getFile", "download"])
async def test_a_file_that_telegram_no_longer_has_is_not_found(
    product: Product, client: httpx.AsyncClient, job: Job, method: str
) -> None:
    product.telegram.faults.add(FaultKind.FILE_GONE, method=method)
    answer = await client.get(path_of(product, job))
    assert answer.status_code == 404
    assert product.telegram.token not in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_that_is_temporarily_unavailable_is_asked_for_again_and_then_later(
    product: Product, client: httpx.AsyncClient, job: Job, method: str
) -> None:
    path = path_of(product, job)
    product.telegram.faults.add(FaultKind.FILE_UNAVAILABLE, method="getFile", times=2)
    assert (await client.request(method, path)).status_code == 200
    product.telegram.faults.add(FaultKind.FILE_UNAVAILABLE, method="getFile", times=None)
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    product.telegram.faults.clear()
    assert (await client.request(method, path)).status_code == 200


@pytest.mark.parametrize("fault", [FaultKind.SERVER_ERROR, FaultKind.RESET_BEFORE])
@pytest.mark.parametrize("method", ["getFile", "download"])
async def test_a_telegram_that_is_away_is_asked_later(
    product: Product, client: httpx.AsyncClient, job: Job, fault: FaultKind, method: str
) -> None:
    product.telegram.faults.add(fault, method=method)
    answer = await client.get(path_of(product, job))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_the_bot_token_appears_neither_in_answers_nor_in_the_log(
    product: Product, client: httpx.AsyncClient, job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stemdrop")
    caplog.set_level("INFO", "webhook")
    caplog.set_level("WARNING", "httpx")
    path, token = path_of(product, job), product.telegram.token
    faults = [
        None,
        FaultKind.FILE_GONE,
        FaultKind.SERVER_ERROR,
        FaultKind.RESET_BEFORE,
        FaultKind.BAD_GATEWAY,
    ]
    for fault in faults:
        for method in ("getFile", "download"):
            product.telegram.faults.clear()
            if fault:
                product.telegram.faults.add(fault, method=method)
            answer = await client.get(path)
            assert answer.status_code == 200 if fault is None else answer.status_code in (404, 503)
            assert token not in str(answer.headers)
            assert token.encode() not in answer.content
            assert token.partition(":")[2].encode() not in answer.content
    ours = [r.getMessage() for r in caplog.records if r.name.startswith(("stemdrop", "webhook"))]
    assert token not in "\n".join(ours)


@pytest.fixture
async def local(redis_url: str, tmp_path: Path) -> AsyncIterator[Product]:
    """The product with a Bot API server in local mode, whose files are on the same disk."""
    telegram = Telegram(tmp_path / "local", local=True)
    async with (
        run_telegram(telegram) as url,
        open_product(redis_url, telegram, url, TELEGRAM_LOCAL_MODE="true") as opened,
    ):
        yield opened


async def test_in_local_mode_the_file_is_read_from_the_shared_disk(local: Product, song: Path) -> None:
    alice = local.telegram.add_user("Alice")
    job = await local.at(JobState.SUBMITTING, await local.telegram.send_file(alice.id, song))
    location = local.telegram.file_location(job.source.file_id)
    content = location.read_bytes()
    app = create_app(local)
    async with serve(app) as url, httpx.AsyncClient(base_url=url) as client:
        whole = await client.get(path_of(local, job))
        assert (whole.status_code, whole.content) == (200, content)
        part = await client.get(path_of(local, job), headers={"Range": "bytes=100-70000"})
        assert (part.status_code, part.content) == (206, content[100:70001])
        location.unlink()
        assert (await client.get(path_of(local, job))).status_code == 404
        location.symlink_to(location)  # which the disk refuses to open
        answer = await client.get(path_of(local, job))
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
