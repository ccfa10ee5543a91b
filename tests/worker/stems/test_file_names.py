"""Hostile names of songs and stems: files stay in their folders, and no message mentions a user."""

import io
import os
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from fileserver import FileServer
from product import Product, new_job

from sandbox.telegram.chats import Message, User
from stemdrop.chat.callback_data import Action
from stemdrop.domain.jobs import CachedStem, Job, JobState, Mode
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
# Of these, some go the whole way to Telegram and into an archive.
SENT_TITLES = TITLES[0], TITLES[4], TITLES[7], TITLES[8]
# Stem names that a provider may send.
STEMS = ["Vocals", "../../../tmp/evil", 'C:\\evil"\r\n: x', "@somebody"]


@pytest.fixture
def product_options(files: FileServer) -> dict[str, Any]:
    """The separation API is the file server of the stems."""
    return {"api_url": files.url}


@pytest.fixture
def results(files: FileServer, tone: bytes) -> Result:
    url = files.put("stem.mp3", tone)
    return Result(200, tuple(Stem(f"stem_{number}", url, name) for number, name in enumerate(STEMS)))


def assert_harmless(name: str) -> None:
    """Check that this is one file name on every system."""
    assert PurePosixPath(name).name == PureWindowsPath(name).name == name
    assert name.isprintable()
    assert not name.startswith((".", " "))
    assert not set(name) & set('"<>:/\\|?*')
    assert len(name.encode()) <= 255
    assert PureWindowsPath(name.partition(".")[0]).stem.upper() not in ("CON", "NUL", "AUX", "PRN")


def arrived(product: Product, job: Job, kind: str) -> list[Message]:
    return [message for message in product.telegram.bot_messages(job.chat_id) if message.kind == kind]


async def test_files_stay_in_their_folders_and_have_safe_names(
    product: Product, results: Result, sent: Message, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "inner" / "tmp"
    folder.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    delivery, archives = product.delivery(), product.archives()
    for title in TITLES:
        for stem in STEMS:
            assert_harmless(file_name(title, stem, ".mp3", "Song"))
        assert_harmless(archive_name(title, "Song"))
    for number, title in enumerate(SENT_TITLES):
        source = replace(new_job(sent).source, title=title, performer=title)
        job = await product.at(
            JobState.DELIVERING, sent, source=source, result=results, task_id=f"task-{number}"
        )
        shown = len(product.telegram.bot_messages(sent.chat.id))
        await delivery.run(job.id)
        await archives.run(f"{job.id}:{Action.ZIP}")
        messages = product.telegram.bot_messages(sent.chat.id)[shown:]
        songs = [message for message in messages if message.kind == "audio"]
        (archive,) = [message for message in messages if message.kind == "document"]
        assert len(songs) == len(STEMS)
        names = [str((message.media or {})["file_name"]) for message in songs]
        # Telegram received the name unchanged
        assert names == [file_name(title, stem, ".mp3", "Song") for stem in STEMS]
        media = archive.media
        assert media
        assert media["file_name"] == archive_name(title, "Song")
        with zipfile.ZipFile(product.telegram.file_location(media["file_id"])) as opened:
            packed = opened.namelist()
        assert packed == names
        for name in (*names, media["file_name"]):
            assert_harmless(name)
        assert os.listdir(folder) == []
    assert set(os.listdir(tmp_path)) | set(os.listdir(folder.parent)) == {"inner", "telegram", "tmp"}


async def test_two_stems_of_one_name_are_two_files_in_the_zip(
    product: Product, files: FileServer, tone: bytes, sent: Message
) -> None:
    url = files.put("stem.mp3", tone)
    same = Result(200, tuple(Stem(f"a{number}", url, name) for number, name in enumerate(["A/b", "a\\B"])))
    job = await product.at(JobState.DELIVERING, sent, result=same)
    await product.delivery().run(job.id)
    await product.archives().run(f"{job.id}:{Action.ZIP}")
    (archive,) = arrived(product, job, "document")
    assert archive.media
    content = product.telegram.file_location(archive.media["file_id"]).read_bytes()
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert len({name.casefold() for name in names}) == 2
    for name in names:
        assert_harmless(name)


async def test_captions_mention_no_user(
    product: Product, results: Result, sent: Message, alice: User
) -> None:
    """Telegram makes links of names in a caption, but not in a title."""
    words = TITLES[-1]
    source = replace(new_job(sent).source, title=words)
    job = await product.at(JobState.DELIVERING, sent, source=source, result=results)
    await product.delivery().run(job.id)
    await product.archives().run(f"{job.id}:{Action.SMALL}")
    voices = arrived(product, job, "voice")
    assert voices[0].text == "@\u2060somebody <@\u2060somebody> /\u2060start (Vocals)"
    cached = tuple(
        CachedStem(key, stem.kind, stem.file_id, "another title")
        for key, stem in (await product.store.sent(job.id)).items()
    )
    again = replace(new_job(sent), source=source, mode=Mode.SPLIT_STEM)
    await product.store.add(again, once=again.id)
    await product.store.move(
        again.id,
        [JobState.CHOOSING],
        JobState.DELIVERING,
        result=results,
        cached=cached,
        mode=Mode.SPLIT_STEM,
    )
    before = len(arrived(product, job, "audio"))
    await product.delivery().run(again.id)
    captioned = arrived(product, job, "audio")[before:]
    assert len(captioned) == len(STEMS)
    for message in (*voices, *captioned):
        assert "somebody" in message.text
        assert "caption_entities" not in message.content


async def test_names_of_missing_stems_mention_no_user(
    product: Product, results: Result, sent: Message
) -> None:
    job = await product.at(JobState.DELIVERING, sent, result=results)
    await product.delivery().run(job.id)
    stems = await product.store.sent(job.id)
    # neither Telegram nor the provider has the last one
    await product.store.tick(job.id, {"stem_3": replace(stems["stem_3"], file_id="gone")})
    lost = replace(results.stems[3], url="")
    await product.store.set(job.id, result=Result(200, (*results.stems[:3], lost)))
    await product.archives().run(f"{job.id}:{Action.ZIP}")
    (archive,) = arrived(product, job, "document")
    assert "@\u2060somebody" in archive.text
    assert "caption_entities" not in archive.content
