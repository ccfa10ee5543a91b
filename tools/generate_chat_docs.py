"""`make stories`: people play what the bot is for on the local Telegram, and docs/chat.md tells it."""

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import av

from sandbox.command import DEMO_SONG as SONG
from sandbox.environment.local_environment import LocalEnvironment
from sandbox.telegram.chats import Message, User
from tools.transcript import Scene

PAGE = Path(__file__).parent.parent / "docs" / "chat.md"
_BEGIN, _END = "<!-- stories: written by `make stories` -->", "<!-- end of stories -->"
_DONE, _FAILED = "✅", "⚠️"


class Stage:
    """One world, the people in it, and the scenes that were played."""

    def __init__(self, world: LocalEnvironment) -> None:
        self.world = world
        self.scenes: list[Scene] = []

    def person(self, name: str, language: str = "en") -> User:
        return self.world.telegram.add_user(name, language_code=language)

    def scene(self, chat_id: int) -> Scene:
        """Somebody's private chat, or a group."""
        scene = Scene(self.world.telegram, chat_id)
        self.scenes.append(scene)
        return scene

    def song(self, title: str) -> Path:
        """The bundled song under another title, so that it is another file."""
        path = self.world.directory / f"{title}.mp3"
        with av.open(str(SONG)) as source, av.open(str(path), "w") as target:
            stream = target.add_stream_from_template(source.streams.audio[0])
            target.metadata.update({**source.metadata, "title": title})
            for packet in source.demux(audio=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
        return path

    def link_word(self, output: str) -> str:
        """The word of the last `t.me/…?start=` link in a text."""
        return str(re.findall(r"\?start=([\w-]+)", output)[-1])


Story = Callable[[Stage], Awaitable[None]]


async def a_song(stage: Stage) -> None:
    """A song, and one message that lives"""
    robin = stage.person("Robin")
    scene = stage.scene(robin.id)
    await _split(stage, scene, robin, "Morning Line")


async def another_way(stage: Stage) -> None:
    """Another way of splitting, one tap away; one instrument from a list"""
    robin = stage.person("Robin")
    scene = stage.scene(robin.id)
    menu = await _split(stage, scene, robin, "Blue Hour")
    await scene.taps(robin, menu, "One instrument")
    await scene.until(lambda: len(_translations(scene)) == 2)
    listed = _translations(scene)[-1]
    await scene.taps(robin, listed, "›")
    await scene.until(lambda: any(button["text"] == "‹" for button in listed.buttons))
    await scene.taps(robin, listed, "‹")
    await scene.until(lambda: any("Bass" in button["text"] for button in listed.buttons))
    await scene.taps(robin, listed, "Bass")
    await scene.shows(listed, _DONE)


async def the_same_song(stage: Stage) -> None:
    """The same song again costs nothing"""
    robin, kim = stage.person("Robin"), stage.person("Kim", "es")
    song = stage.song("Twice")
    scene = stage.scene(robin.id)
    menu = await scene.sends(robin, song, length="0:30")
    await scene.taps(robin, menu, "Vocals")
    await scene.shows(menu, _DONE)
    scene = stage.scene(kim.id)
    menu = await scene.sends(kim, song, length="0:30")
    await scene.taps(kim, menu, "🎤")
    await scene.shows(menu, _DONE)


async def the_days_credits(stage: Stage) -> None:
    """What a user may spend in a day"""
    robin = stage.person("Robin")
    scene = stage.scene(robin.id)
    menu = await _split(stage, scene, robin, "All Of It", "All stems")
    menu = await scene.sends(robin, stage.song("And More"), length="0:30")
    await scene.taps(robin, menu, "All stems")
    await scene.shows(menu, "60")


async def a_private_bot(stage: Stage) -> None:
    """A private bot: the operator's link, an invitation, a stranger"""
    owner, robin, stranger = stage.person("Olga", "ru"), stage.person("Robin"), stage.person("Sam")
    scene = stage.scene(stranger.id)
    await scene.says(stranger, "/start")
    scene = stage.scene(owner.id)
    await scene.says(owner, f"/start {stage.link_word(stage.world.logs())}")
    users = await scene.says(owner, "/users")
    await scene.taps(owner, users, "➕")
    await scene.until(lambda: "?start=" in _translations(scene)[-1].text)
    word = stage.link_word(_translations(scene)[-1].text)
    scene = stage.scene(robin.id)
    await scene.says(robin, f"/start {word}")
    scene = stage.scene(owner.id)
    await scene.says(owner, "/users")
    await scene.says(owner, "/admin")


async def many_songs(stage: Stage) -> None:
    """Many songs at once, and /jobs"""
    robin = stage.person("Robin")
    scene = stage.scene(robin.id)
    menus = []
    for title in ("One", "Two", "Three", "Four", "Five"):
        menu = await scene.sends(robin, stage.song(title), length="0:30")
        await scene.taps(robin, menu, "Vocals")
        menus.append(menu)
    await scene.says(robin, "/jobs")
    await scene.taps(robin, menus[-1], "Cancel")
    for menu in menus[:-1]:
        await scene.shows(menu, _DONE)


async def a_group(stage: Stage) -> None:
    """A group with topics: only when asked, and in its topic"""
    kim, robin = stage.person("Kim"), stage.person("Robin")
    telegram = stage.world.telegram
    telegram.has_privacy_mode = True
    forum = telegram.add_group("The Band", [kim, robin], forum=True)
    topic = telegram.add_topic(forum.id, "New songs")
    scene = stage.scene(forum.id)
    sent = await telegram.send_file(forum.id, stage.song("Rehearsal"), user_id=kim.id, thread_id=topic)
    scene.lines.append("Kim       🎵 Rehearsal.mp3  0:30   (in the topic “New songs”; the bot says nothing)")
    menu = await scene.says(robin, "/stems", thread_id=topic, reply_to=sent.message_id)
    await scene.taps(kim, menu, "Vocals")
    await scene.taps(robin, menu, "Vocals")
    await scene.shows(menu, _DONE)


async def languages(stage: Stage) -> None:
    """Five languages"""
    wei = stage.person("伟", "zh-hans")
    scene = stage.scene(wei.id)
    choice = await scene.says(wei, "/language")
    await scene.taps(wei, choice, "Português")
    await _split(stage, scene, wei, "晨光", "🎤")


async def files(stage: Stage) -> None:
    """One ZIP, or small voice messages"""
    robin = stage.person("Robin")
    scene = stage.scene(robin.id)
    menu = await _split(stage, scene, robin, "🎸 Garage, take 3")
    await scene.taps(robin, menu, "ZIP")
    await scene.until(lambda: any(m.kind == "document" for m in stage.world.telegram.bot_messages(robin.id)))
    await scene.taps(robin, menu, "voice")
    await scene.until(
        lambda: sum(m.kind == "voice" for m in stage.world.telegram.bot_messages(robin.id)) == 2
    )


async def a_failure(stage: Stage) -> None:
    """What went wrong, what it cost, what to do"""
    robin = stage.person("Robin")
    scene = stage.scene(robin.id)
    await stage.world.separator.stop()
    menu = await scene.sends(robin, stage.song("Against The Odds"), length="0:30")
    await scene.taps(robin, menu, "Vocals")
    await scene.shows(menu, _FAILED)
    stage.world.separator.start()
    await stage.world.separator.wait_for("separator ready")
    await scene.taps(robin, menu, "Try again")
    await scene.shows(menu, _DONE)


async def privacy(stage: Stage) -> None:
    """What is kept, and how it is deleted"""
    robin = stage.person("Robin")
    scene = stage.scene(robin.id)
    await _split(stage, scene, robin, "Secret")
    await scene.says(robin, "/privacy")
    question = await scene.says(robin, "/delete")
    await scene.taps(robin, question, question.buttons[0]["text"])
    await scene.until(lambda: question.buttons == [])


STORIES: dict[Story, dict[str, str]] = {
    a_song: {},
    another_way: {},
    the_same_song: {},
    the_days_credits: {"DAILY_CREDITS": "60"},
    a_private_bot: {"ACCESS": "invite", "DAILY_CREDITS": "100"},
    many_songs: {"DAILY_CREDITS": "100"},
    a_group: {},
    languages: {},
    files: {},
    a_failure: {},
    privacy: {},
}


async def play(story: Story) -> list[str]:
    """The transcript of one story, in a world of its own."""
    async with _stage(STORIES[story]) as stage:
        await story(stage)
        scenes = [scene.lines for scene in stage.scenes]
    return "\n\n".join("\n".join(lines) for lines in scenes).splitlines()


@asynccontextmanager
async def _stage(settings: dict[str, str]) -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="stemdrop-stories-") as folder:
        async with LocalEnvironment(Path(folder), settings=settings) as world:
            await world.start("up")
            yield Stage(world)


def title(story: Story) -> str:
    """What the page calls it."""
    return (story.__doc__ or "").strip()


def write(transcripts: dict[str, list[str]]) -> None:
    """Put them into the page, between its two marks."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    blocks = [
        f"<details><summary>{name}</summary>\n\n```\n{chr(10).join(lines)}\n```\n\n</details>"
        for name, lines in transcripts.items()
    ]
    told = "\n".join(blocks)
    PAGE.write_text(f"{before}{_BEGIN}\n\n{told}\n\n{_END}{after}", "utf-8")


def main() -> int:
    """Play all, or those named on the command line; only all of them are written into the page."""
    wanted = [story for story in STORIES if not sys.argv[1:] or story.__name__ in sys.argv[1:]]
    transcripts = {}
    for story in wanted:
        transcripts[title(story)] = lines = asyncio.run(play(story))
        print(f"\n# {title(story)}\n", *lines, sep="\n")  # noqa: T201 - it is what it is for
    if len(wanted) == len(STORIES):
        write(transcripts)
    return 0


async def _split(stage: Stage, scene: Scene, person: User, title: str, words: str = "Vocals") -> Message:
    """Somebody sends a song, taps the button with these words, and gets the stems; the bot's message."""
    menu = await scene.sends(person, stage.song(title), length="0:30")
    await scene.taps(person, menu, words)
    await scene.shows(menu, _DONE)
    return menu


def _translations(scene: Scene) -> list[Message]:
    """The bot's messages of text in a scene's chat."""
    return [m for m in scene.telegram.bot_messages(scene.chat_id) if m.kind == "text"]


if __name__ == "__main__":
    sys.exit(main())
