"""The stories of docs/chat.md about remixes."""

from sandbox.telegram.chats import Message, User
from tools.story_environment import StoryEnvironment, split
from tools.transcript import Transcript


async def minus_one(environment: StoryEnvironment) -> None:
    """Minus one: the song without what you play"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    settings = await chat.send_text(robin, "/settings")
    await chat.tap(robin, settings, "My instrument")
    await chat.wait_until(lambda: any("Bass" in button["text"] for button in settings.buttons))
    await chat.tap(robin, settings, "Bass")
    menu = await split(environment, chat, robin, "Rhythm Section", "All stems")
    desk = await _open_desk(chat, robin, menu)
    await chat.tap(robin, desk, "Without bass")
    await chat.wait_until(lambda: _remixes(environment, robin))


async def slower_and_lower(environment: StoryEnvironment) -> None:
    """Slower and lower, with other levels"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    menu = await split(environment, chat, robin, "High Notes", "All stems")
    desk = await _open_desk(chat, robin, menu)

    async def tap(words: str, shown: str, number: int = 0) -> None:
        await chat.tap(robin, desk, words, number)
        await chat.wait_until(lambda: shown in desk.text + str(desk.buttons))

    await tap("Levels", "🔊 Vocals")
    await tap("🔊 Vocals", "🔉 Vocals")
    await tap("Back", "Speed & key")
    await tap("Speed & key", "⏱ 100%")
    await tap("−", "⏱ 90%")
    await tap("−", "⏱ 80%")
    await tap("−", "🎼 −1", 1)
    await tap("−", "🎼 −2", 1)
    await tap("Count-in", "✓ Count-in")
    await chat.tap(robin, desk, "Make it")
    await chat.wait_until(lambda: _remixes(environment, robin))


async def practice_pack(environment: StoryEnvironment) -> None:
    """A practice pack"""
    robin = environment.person("Robin")
    chat = environment.transcript(robin.id)
    menu = await split(environment, chat, robin, "Étude")
    desk = await _open_desk(chat, robin, menu)
    await chat.tap(robin, desk, "Without vocals")
    await chat.wait_until(lambda: _remixes(environment, robin))
    await chat.tap(robin, desk, "Practice pack")
    await chat.wait_until(lambda: any("One ZIP" in button["text"] for button in desk.buttons))
    await chat.tap(robin, desk, "As songs")
    await chat.wait_until(lambda: len(_remixes(environment, robin)) == 5)


async def _open_desk(chat: Transcript, person: User, menu: Message) -> Message:
    """Open the desk below a result; returns its message."""
    await chat.tap(person, menu, "Remix")
    await chat.wait_until(lambda: chat.text_messages()[-1].text.startswith("🎚"))
    return chat.text_messages()[-1]


def _remixes(environment: StoryEnvironment, person: User) -> list[Message]:
    """Return the remixes that have come; in their titles a small letter follows the first bracket."""
    sent = environment.local.telegram.bot_messages(person.id)
    titles = [(it, str((it.media or {}).get("title", ""))) for it in sent if it.kind == "audio"]
    return [message for message, title in titles if title.partition("(")[2][:1].islower()]
