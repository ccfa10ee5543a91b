"""Whatever songs and stems are called: no file leaves its folder, no header is broken, nobody is named."""

import io
import os
import tempfile
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from fileserver import FileServer
from house import House, new_job, open_house

from sandbox.telegram.app import run_telegram
from sandbox.telegram.chats import Message, User
from sandbox.telegram.person_actions import Telegram
from stemdrop.chat.callback_data import Action
from stemdrop.domain.jobs import Job, JobState, KeptStem, Mode
from stemdrop.domain.results import Result, Stem
from stemdrop.domain.titles import archive_name, file_name

TITLES = [
    "../../etc/passwd",
    "..",
    "C:\\Windows\\system32\\a",
    "nul\x00byte",
    "🎵" * 300,
    "CON",
    ".hidden/..",
    'a"; filename="evil.sh',
    "a\r\nContent-Type: text/html\r\n\r\n<b>",
    "-rf ~ $(id) `id` ;|&",
    "@somebody <@somebody> /start",
]
# What a provider may call a stem.
STEMS = ["Vocals", "../../../tmp/evil", 'C:\\evil"\r\n: x', "@somebody"]


@pytest.fixture
async def house(redis_url: str, telegram: Telegram, files: FileServer) -> AsyncIterator[House]:
    """The separation API is where the stems lie."""
    async with (
        run_telegram(telegram) as url,
        open_house(redis_url, telegram, url, api_url=files.url) as opened,
    ):
        yield opened


@pytest.fixture
def results(files: FileServer, tone: bytes) -> Result:
    url = files.put("stem.mp3", tone)
    return Result(200, tuple(Stem(f"stem_{number}", url, name) for number, name in enumerate(STEMS)))


def assert_harmless(name: str) -> None:
    """One name in one folder, on every system."""
    assert PurePosixPath(name).name == PureWindowsPath(name).name == name
    assert name.isprintable()
    assert not name.startswith((".", " "))
    assert not set(name) & set('"<>:/\\|?*')
    assert len(name.encode()) <= 255
    assert PureWindowsPath(name.partition(".")[0]).stem.upper() not in ("CON", "NUL", "AUX", "PRN")


def arrived(house: House, job: Job, kind: str) -> list[Message]:
    return [message for message in house.telegram.bot_messages(job.chat_id) if message.kind == kind]


async def test_files_stay_in_their_folders_and_are_called_harmlessly(
    house: House, results: Result, sent: Message, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "inner" / "tmp"
    folder.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    delivery, packing = house.delivery(), house.packing()
    for number, title in enumerate(TITLES):
        source = replace(new_job(sent).source, title=title, performer=title)
        job = await house.at(
            JobState.DELIVERING, sent, source=source, result=results, task_id=f"task-{number}"
        )
        shown = len(house.telegram.bot_messages(sent.chat.id))
        await delivery.run(job.id)
        await packing.run(f"{job.id}:{Action.ZIP}")
        messages = house.telegram.bot_messages(sent.chat.id)[shown:]
        songs = [message for message in messages if message.kind == "audio"]
        (archive,) = [message for message in messages if message.kind == "document"]
        assert len(songs) == len(STEMS)
        names = [str((message.media or {})["file_name"]) for message in songs]
        # as it was meant: what Telegram was sent is what the name was made to be
        assert names == [file_name(title, stem, ".mp3", "Song") for stem in STEMS]
        media = archive.media
        assert media
        assert media["file_name"] == archive_name(title, "Song")
        with zipfile.ZipFile(house.telegram.file_location(media["file_id"])) as opened:
            packed = opened.namelist()
        assert packed == names
        for name in (*names, media["file_name"]):
            assert_harmless(name)
        assert os.listdir(folder) == []
    assert set(os.listdir(tmp_path)) | set(os.listdir(folder.parent)) == {"inner", "telegram", "tmp"}


async def test_two_stems_of_one_name_are_two_files_in_the_archive(
    house: House, files: FileServer, tone: bytes, sent: Message
) -> None:
    url = files.put("stem.mp3", tone)
    same = Result(200, tuple(Stem(f"a{number}", url, name) for number, name in enumerate(["A/b", "a\\B"])))
    job = await house.at(JobState.DELIVERING, sent, result=same)
    await house.delivery().run(job.id)
    await house.packing().run(f"{job.id}:{Action.ZIP}")
    (archive,) = arrived(house, job, "document")
    assert archive.media
    content = house.telegram.file_location(archive.media["file_id"]).read_bytes()
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert len({name.casefold() for name in names}) == 2
    for name in names:
        assert_harmless(name)


async def test_captions_name_nobody(house: House, results: Result, sent: Message, alice: User) -> None:
    """A title is shown beside its file; in a caption it is text, in which Telegram looks for names."""
    words = TITLES[-1]
    source = replace(new_job(sent).source, title=words)
    job = await house.at(JobState.DELIVERING, sent, source=source, result=results)
    await house.delivery().run(job.id)
    await house.packing().run(f"{job.id}:{Action.SMALL}")
    voices = arrived(house, job, "voice")
    assert voices[0].text == "@\u2060somebody <@\u2060somebody> /\u2060start (Vocals)"
    kept = tuple(
        KeptStem(key, stem.kind, stem.file_id, "as somebody else called it")
        for key, stem in (await house.store.sent(job.id)).items()
    )
    again = replace(new_job(sent), source=source, mode=Mode.SPLIT_STEM)
    await house.store.add(again, once=again.id)
    await house.store.move(
        again.id, [JobState.CHOOSING], JobState.DELIVERING, result=results, kept=kept, mode=Mode.SPLIT_STEM
    )
    before = len(arrived(house, job, "audio"))
    await house.delivery().run(again.id)
    captioned = arrived(house, job, "audio")[before:]
    assert len(captioned) == len(STEMS)
    for message in (*voices, *captioned):
        assert "somebody" in message.text
        assert "caption_entities" not in message.content


async def test_what_an_archive_lacks_names_nobody(house: House, results: Result, sent: Message) -> None:
    job = await house.at(JobState.DELIVERING, sent, result=results)
    await house.delivery().run(job.id)
    stems = await house.store.sent(job.id)
    # of the last neither Telegram nor the provider knows any more
    await house.store.tick(job.id, {"stem_3": replace(stems["stem_3"], file_id="gone")})
    lost = replace(results.stems[3], url="")
    await house.store.set(job.id, result=Result(200, (*results.stems[:3], lost)))
    await house.packing().run(f"{job.id}:{Action.ZIP}")
    (archive,) = arrived(house, job, "document")
    assert "@\u2060somebody" in archive.text
    assert "caption_entities" not in archive.content
