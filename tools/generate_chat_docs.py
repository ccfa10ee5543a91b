"""`make stories`: plays chats with the bot on the local Telegram and writes them into docs/chat.md."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sandbox.environment.local_environment import LocalEnvironment
from tools.remix_stories import minus_one, practice_pack, slower_and_lower
from tools.story_environment import DONE, StoryEnvironment, split

PAGE = Path(__file__).parent.parent / "docs" / "chat.md"
_BEGIN, _END = "<!-- stories: written by `make stories` -->", "<!-- end of stories -->"
_FAILED = "⚠️"


Story = Callable[[StoryEnvironment], Awaitable[None]]


async def a_song(environment: StoryEnvironment) -> None:
    """A song"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    await split(environment, chat, robin, "Morning Line")


async def own_separator(environment: StoryEnvironment) -> None:
    """With your own separator nothing has a price"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    menu = await split(environment, chat, robin, "At Home")
    await chat.tap(robin, menu, "One instrument")
    await chat.wait_until(lambda: "isolate" in chat.text_messages()[-1].text)


async def another_way(environment: StoryEnvironment) -> None:
    """Another mode, and one instrument from a list"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    menu = await split(environment, chat, robin, "Blue Hour")
    await chat.tap(robin, menu, "One instrument")
    await chat.wait_until(lambda: len(chat.text_messages()) == 2)
    listed = chat.text_messages()[-1]
    await chat.tap(robin, listed, "Back")
    await chat.wait_until(lambda: any("One instrument" in button["text"] for button in listed.buttons))
    await chat.tap(robin, listed, "One instrument")
    await chat.wait_until(lambda: any("Bass" in button["text"] for button in listed.buttons))
    await chat.tap(robin, listed, "Bass")
    await chat.wait_for_text(listed, DONE)


async def the_same_song(environment: StoryEnvironment) -> None:
    """The same song again costs nothing"""
    robin, kim = environment.person("Robin"), environment.person("Kim", "es")
    song = environment.song("Twice")
    chat = environment.transcript(robin.id)
    menu = await chat.send_file(robin, song, length="0:30")
    await chat.tap(robin, menu, "Vocals")
    await chat.wait_for_text(menu, DONE)
    chat = environment.transcript(kim.id)
    menu = await chat.send_file(kim, song, length="0:30")
    await chat.tap(kim, menu, "🎤")
    await chat.wait_for_text(menu, DONE)


async def cancel_and_back(environment: StoryEnvironment) -> None:
    """Cancelled, and taken up again at no further cost"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    menu = await chat.send_file(robin, environment.song("On Second Thoughts"), length="0:30")
    await chat.tap(robin, menu, "Vocals")
    await chat.wait_for_text(menu, "Splitting")
    await chat.tap(robin, menu, "Cancel")
    await chat.wait_for_text(menu, "Cancelled")
    await chat.tap(robin, menu, "Continue")
    await chat.wait_for_text(menu, DONE)


async def no_rights(environment: StoryEnvironment) -> None:
    """A group where the bot may not send music"""
    kim, telegram = environment.person("Kim"), environment.local.telegram
    group = telegram.add_group("The Band", [kim])
    chat = environment.transcript(group.id)
    sent = await telegram.send_file(group.id, environment.song("Hush"), user_id=kim.id)
    chat.lines.append("Kim       🎵 Hush.mp3  0:30   (members may not send music here)")
    telegram.forbid(group.id, "can_send_audios")
    await chat.send_text(kim, "/stems", reply_to=sent.message_id)
    chat.lines.append("          (an administrator allows it)")
    telegram.forbid(group.id)
    menu = await chat.send_text(kim, "/stems", reply_to=sent.message_id)
    await chat.tap(kim, menu, "Vocals")
    telegram.forbid(group.id, "can_send_audios")
    chat.lines.append("          (and forbids it again)")
    menu = await chat.wait_for_text(menu, "14 days")
    chat.lines.append("          (and makes the bot an administrator)")
    telegram.set_bot_status(group.id, "administrator")
    await chat.wait_for_text(menu, DONE)


async def the_days_credits(environment: StoryEnvironment) -> None:
    """The daily limit of credits"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    menu = await split(environment, chat, robin, "All Of It", "All stems")
    menu = await chat.send_file(robin, environment.song("And More"), length="0:30")
    await chat.tap(robin, menu, "All stems")
    await chat.wait_for_text(menu, "60")


async def a_private_bot(environment: StoryEnvironment) -> None:
    """A private bot: the operator's link, a stranger who wants in, an invitation"""
    owner, robin, stranger = (
        environment.person("Olga", "ru"),
        environment.person("Robin"),
        environment.person("Inés", "es"),
    )
    chat = environment.transcript(owner.id)
    await chat.send_text(owner, f"/start {environment.start_word(environment.local.logs())}")
    theirs, chat = environment.transcript(stranger.id), environment.transcript(owner.id)
    await theirs.send_file(stranger, environment.song("Puerta"), length="0:30")
    await chat.wait_until(lambda: "🙋" in chat.text_messages()[-1].text)
    asking, theirs = chat.text_messages()[-1], environment.transcript(stranger.id)
    await chat.tap(owner, asking, "✅")
    await theirs.wait_until(lambda: len(theirs.text_messages()) == 3)
    menu = theirs.text_messages()[-1]
    await theirs.tap(stranger, menu, "🎤")
    await theirs.wait_for_text(menu, DONE)
    chat = environment.transcript(owner.id)
    users = await chat.send_text(owner, "/users")
    await chat.tap(owner, users, "➕")
    await chat.wait_until(lambda: "?start=" in chat.text_messages()[-1].text)
    word = environment.start_word(chat.text_messages()[-1].text)
    chat = environment.transcript(robin.id)
    await chat.send_text(robin, f"/start {word}")
    chat = environment.transcript(owner.id)
    await chat.send_text(owner, "/users")
    await chat.send_text(owner, "/admin")


async def many_songs(environment: StoryEnvironment) -> None:
    """Many songs at once, and /jobs"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    menus = []
    for title in ("One", "Two", "Three", "Four", "Five"):
        menu = await chat.send_file(robin, environment.song(title), length="0:30")
        await chat.tap(robin, menu, "Vocals")
        menus.append(menu)
    await chat.send_text(robin, "/jobs")
    await chat.tap(robin, menus[-1], "Cancel")
    for menu in menus[:-1]:
        await chat.wait_for_text(menu, DONE)


async def an_album(environment: StoryEnvironment) -> None:
    """Songs that are sent together"""
    robin = environment.person("Robin")
    telegram = environment.local.telegram
    chat = environment.transcript(robin.id)
    for title in ("Side A", "Side B"):
        chat.lines.append(f"Robin     🎵 {title}.mp3  0:30   (in an album)")
        await telegram.send_file(robin.id, environment.song(title), media_group_id="1")
    menu = await chat.send_file(robin, environment.song("Side C"), length="0:30", media_group_id="1")
    await chat.tap(robin, menu, "All 3: Vocals")
    await chat.wait_until(lambda: sum(DONE in shown.text for shown in chat.text_messages()) == 3)


async def without_a_tap(environment: StoryEnvironment) -> None:
    """Without a tap: by a setting, by a caption, and undone"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    settings = await chat.send_text(robin, "/settings")
    await chat.tap(robin, settings, "Split at once")
    message = await chat.send_file(robin, environment.song("Straight On"), length="0:30")
    await chat.wait_for_text(message, DONE)
    message = await chat.send_file(robin, environment.song("No Hurry"), length="0:30", caption="minus bass")
    await chat.tap(robin, message, "Undo")
    await chat.wait_for_text(message, "How do you want it split?")


async def a_group(environment: StoryEnvironment) -> None:
    """A group with topics: the bot answers only when asked, in the same topic"""
    kim, robin = environment.person("Kim"), environment.person("Robin")
    telegram = environment.local.telegram
    telegram.has_privacy_mode = True
    forum = telegram.add_group("The Band", [kim, robin], forum=True)
    topic = telegram.add_topic(forum.id, "New songs")
    chat = environment.transcript(forum.id)
    sent = await telegram.send_file(forum.id, environment.song("Rehearsal"), user_id=kim.id, thread_id=topic)
    chat.lines.append(
        "Kim       🎵 Rehearsal.mp3  0:30   (in the topic “New songs”; the bot does not answer)"
    )
    menu = await chat.send_text(robin, "/stems", thread_id=topic, reply_to=sent.message_id)
    await chat.tap(kim, menu, "Vocals")
    await chat.tap(robin, menu, "Vocals")
    await chat.wait_for_text(menu, DONE)


async def languages(environment: StoryEnvironment) -> None:
    """Another language"""
    wei = environment.person("伟", "zh-hans")
    chat = environment.transcript(wei.id)
    choice = await chat.send_text(wei, "/language")
    await chat.tap(wei, choice, "Português")
    await split(environment, chat, wei, "晨光", "🎤")


async def files(environment: StoryEnvironment) -> None:
    """A ZIP file, or voice messages"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    menu = await split(environment, chat, robin, "🎸 Garage, take 3")
    await chat.tap(robin, menu, "ZIP")
    await chat.wait_until(
        lambda: any(m.kind == "document" for m in environment.local.telegram.bot_messages(robin.id))
    )
    await chat.tap(robin, menu, "voice")
    await chat.wait_until(
        lambda: sum(m.kind == "voice" for m in environment.local.telegram.bot_messages(robin.id)) == 2
    )


async def a_failure(environment: StoryEnvironment) -> None:
    """A failure, and another try"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    await environment.local.separator.stop()
    menu = await chat.send_file(robin, environment.song("Against The Odds"), length="0:30")
    await chat.tap(robin, menu, "Vocals")
    await chat.wait_for_text(menu, _FAILED)
    environment.local.separator.start()
    await environment.local.separator.wait_for("separator ready")
    await chat.tap(robin, menu, "Try again")
    await chat.wait_for_text(menu, DONE)


async def privacy(environment: StoryEnvironment) -> None:
    """Privacy, and deletion of all data"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    await split(environment, chat, robin, "Secret")
    await chat.send_text(robin, "/privacy")
    question = await chat.send_text(robin, "/delete")
    await chat.tap(robin, question, question.buttons[0]["text"])
    await chat.wait_until(lambda: question.buttons == [])


STORIES: dict[Story, dict[str, str]] = {
    a_song: {},
    own_separator: {},
    another_way: {},
    the_same_song: {},
    cancel_and_back: {},
    no_rights: {},
    the_days_credits: {"DAILY_CREDITS": "60"},
    a_private_bot: {"ACCESS": "invite", "DAILY_CREDITS": "100"},
    many_songs: {"DAILY_CREDITS": "100"},
    an_album: {},
    without_a_tap: {},
    a_group: {},
    languages: {},
    files: {},
    minus_one: {},
    slower_and_lower: {},
    practice_pack: {},
    a_failure: {},
    privacy: {},
}


async def play(story: Story) -> list[str]:
    """Play one story in a new environment; returns the lines of its transcripts."""
    async with _environment(STORIES[story], charges=story is not own_separator) as environment:
        await story(environment)
    return "\n\n".join("\n".join(chat.lines) for chat in environment.transcripts).splitlines()


@asynccontextmanager
async def _environment(settings: dict[str, str], *, charges: bool) -> AsyncIterator[StoryEnvironment]:
    with tempfile.TemporaryDirectory(prefix="stemdrop-stories-") as folder:
        async with LocalEnvironment(Path(folder), settings=settings, charges=charges) as environment:
            await environment.start("up")
            yield StoryEnvironment(environment)


def title(story: Story) -> str:
    """Return the story's title on the page."""
    return (story.__doc__ or "").strip()


def write(transcripts: dict[str, list[str]]) -> None:
    """Write the transcripts between the two marks of the page."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    blocks = [
        f"<details><summary>{name}</summary>\n\n```\n{chr(10).join(lines)}\n```\n\n</details>"
        for name, lines in transcripts.items()
    ]
    stories = "\n".join(blocks)
    PAGE.write_text(f"{before}{_BEGIN}\n\n{stories}\n\n{_END}{after}", "utf-8")


def main() -> int:
    """Play and print the stories named on the command line, or play all and write the page."""
    wanted = [story for story in STORIES if not sys.argv[1:] or story.__name__ in sys.argv[1:]]
    transcripts = {}
    for story in wanted:
        transcripts[title(story)] = lines = asyncio.run(play(story))
        print(f"\n# {title(story)}\n", *lines, sep="\n")  # noqa: T201 - the output of the command
    if len(wanted) == len(STORIES):
        write(transcripts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
