"""`StoryEnvironment`, in which docs/chat.md's stories are played, and `split`, the first step of most."""

import re
from pathlib import Path

import av

from sandbox.command import DEMO_SONG
from sandbox.environment.local_environment import LocalEnvironment
from sandbox.telegram.chats import Message, User
from tools.transcript import Transcript

DONE = "✅"


class StoryEnvironment:
    """One local environment with the transcripts of its chats."""

    def __init__(self, environment: LocalEnvironment) -> None:
        self.local = environment
        self.transcripts: list[Transcript] = []

    def person(self, name: str, language: str = "en") -> User:
        return self.local.telegram.add_user(name, language_code=language)

    def transcript(self, chat_id: int) -> Transcript:
        """Begin a transcript of a private chat or group."""
        transcript = Transcript(self.local.telegram, chat_id)
        self.transcripts.append(transcript)
        return transcript

    def song(self, title: str) -> Path:
        """Write a copy of the bundled song with this title, which makes it a different file."""
        path = self.local.directory / f"{title}.mp3"
        with av.open(str(DEMO_SONG)) as source, av.open(str(path), "w") as target:
            stream = target.add_stream_from_template(source.streams.audio[0])
            target.metadata.update({**source.metadata, "title": title})
            for packet in source.demux(audio=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
        return path

    def start_word(self, text: str) -> str:
        """Return the word of the last `t.me/…?start=` link in a text."""
        return str(re.findall(r"\?start=([\w-]+)", text)[-1])


async def split(
    environment: StoryEnvironment, chat: Transcript, person: User, title: str, words: str = "Vocals"
) -> Message:
    """Send a song, tap the button with these words and wait for the stems; returns the bot's message."""
    menu = await chat.send_file(person, environment.song(title), length="0:30")
    await chat.tap(person, menu, words)
    return await chat.wait_for_text(menu, DONE)
