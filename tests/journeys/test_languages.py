"""Users of five languages at once: each reads only their own."""

import asyncio
import json
import re
from collections.abc import Iterator

import pytest
from babel.messages.pofile import read_po
from chat import Person, mode_label
from deployment import Deployment

from sandbox.telegram.chats import Message
from stemdrop.chat.translations import LOCALES, Language, load_translations
from stemdrop.domain.jobs import Mode

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Telegram's codes, and the language that each chooses afterwards.
THEN = {"en": "ru", "zh-hans": "es", "ru": "zh_Hans", "es": "pt_BR", "pt-br": "en"}
VOCALS = Mode.SEPARATE_VOCAL


def sentences(code: str) -> set[str]:
    """Every line of every sentence in a catalogue, with the {names} of what is filled in."""
    with (LOCALES / f"{code}.po").open("rb") as file:
        written = [message.string for message in read_po(file) if message.id]
    texts = [text for string in written for text in ([string] if isinstance(string, str) else string)]
    return {line for text in texts for line in text.split("\n")}


def foreign(code: str) -> re.Pattern[str]:
    """Matches every line of English that is not what this language says, too."""
    lines = [line for line in sentences("en") - sentences(code) if _dead_letters(line) > 2]
    patterns = [".+".join(map(re.escape, re.split(r"\{\w+\}", line))) for line in lines]
    return re.compile("|".join(patterns))


def _dead_letters(line: str) -> int:
    return sum(letter.isalpha() for letter in re.sub(r"\{\w+\}", "", line))


def lines_of(shown: Message) -> Iterator[str]:
    """Everything that the message has ever said."""
    contents = [shown.content, *(revision.content for revision in shown.history)]
    markups = [shown.reply_markup, *(revision.reply_markup for revision in shown.history)]
    for content in contents:
        yield from str(content.get("text") or content.get("caption") or "").split("\n")
    for markup in markups:
        yield from (button["text"] for row in (markup or {}).get("inline_keyboard", []) for button in row)
    if shown.media:
        yield str(shown.media["title"])


class Reader:
    """A person who reads one language."""

    def __init__(self, deployment: Deployment, code: str) -> None:
        self.deployment = deployment
        self.translate: Language = load_translations().language(code)
        self.then: Language = load_translations().language(THEN[code])
        self.person: Person = deployment.person(code, language=code)
        self.menu: Message

    async def fails(self) -> None:
        _, self.menu = await self.person.asks(self.deployment.song(f"№ {self.translate.code}"))
        assert self.menu.text == self.translate("choose", title=f"№ {self.translate.code}")
        await self.person.presses(self.menu, mode_label(self.translate, VOCALS))
        await self.person.shows(self.menu, "⚠️")
        assert self.translate("failure.500") in self.menu.text

    async def receives(self) -> None:
        await self.person.presses(self.menu, self.translate("button.retry", price=self.translate.credits(10)))
        self.menu = await self.person.shows(self.menu, "✅")
        assert self.menu.text == self.translate.plural("state.delivered", 2, title=f"№ {self.translate.code}")
        names = [self.translate(f"stem.{key}") for key in ("vocals", "instrumental")]
        assert self.person.titles() == [f"№ {self.translate.code} ({name})" for name in names]

    def read(self, pattern: re.Pattern[str]) -> list[str]:
        """Lines of such a form among those that they have read."""
        said = [
            line
            for shown in self.deployment.telegram.chat(self.person.id).messages.values()
            if shown.is_from_bot  # also what was deleted since
            for line in lines_of(shown)
        ]
        assert len(said) > 20
        return [line for line in said if pattern.fullmatch(line)]

    async def changes(self) -> None:
        asked = await self.person.answer_to(self.person.says("/language"))
        assert asked.text == self.translate("language.choose")
        await self.person.presses(asked, self.then("language.name"))
        await self.person.shows(asked, self.then("language.done", name=self.then("language.name")))
        sent = await self.person.sends(self.deployment.song(f"And {self.translate.code}"))
        menu = await self.person.answer_to(sent)
        assert menu.text == self.then("choose", title=f"And {self.translate.code}")
        assert menu.buttons[0]["text"] == mode_label(self.then, VOCALS)


async def test_everybody_reads_their_own_language_until_they_choose_another(deployment: Deployment) -> None:
    readers = [Reader(deployment, code) for code in THEN]
    deployment.provider.refusal = (500, "no")
    await asyncio.gather(*(reader.fails() for reader in readers))
    deployment.provider.refusal = None
    await asyncio.gather(*(reader.receives() for reader in readers))
    english, *others = readers
    assert [reader.read(foreign(reader.translate.code)) for reader in others] == [[]] * 4
    assert len(english.read(foreign("ru"))) > 10  # or nothing would have been found anywhere
    await asyncio.gather(*(reader.changes() for reader in readers))


async def test_commands_are_listed_in_every_language(deployment: Deployment) -> None:
    telegram = deployment.telegram
    await telegram.wait_for(lambda: len(telegram.descriptions) == 10)
    for code, telegram_code in {"en": "", "zh_Hans": "zh", "ru": "ru", "es": "es", "pt_BR": "pt"}.items():
        translate = load_translations().languages[code]
        for scope, count in (("all_private_chats", 8), ("all_group_chats", 4)):
            listed = telegram.commands[json.dumps({"type": scope}), telegram_code]
            assert len(listed) == count
            assert all(entry["description"] == translate(f"command.{entry['command']}") for entry in listed)
        assert telegram.descriptions["description", telegram_code] == translate("bot.description")
