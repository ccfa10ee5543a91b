"""Valid jobs, calls and results that tests modify, and a clock that stands still."""

import secrets
from dataclasses import replace
from typing import Any

from stemdrop.domain.jobs import Job, Mode, Source, SourceKind
from stemdrop.domain.results import Result, Stem
from stemdrop.storage.create_calls import CreateCall

CHAT = 10_000_001
TASK = "3e63b4cc88d52611159371f6af5571e7"


class Clock:
    """Unix seconds that stand still until a test changes them."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def make_job(**changes: Any) -> Job:
    """Return a job that waits for its mode, with these changes."""
    source = Source(
        kind=SourceKind.AUDIO,
        file_id="AUfile",
        file_unique_id=secrets.token_hex(8),
        extension=".mp3",
        size_bytes=1_000_000,
        duration_s=30,
        title="Morning Line",
        performer="The Tests",
    )
    job = Job(
        id=Job.new_id(),
        chat_id=CHAT,
        user_id=CHAT,
        account=CHAT,
        source_message_id=7,
        source=source,
        mode=Mode.SEPARATE_VOCAL,
    )
    return replace(job, **changes)


def make_result(*keys: str) -> Result:
    """Return a success with these stems (default: vocals and instrumental)."""
    stems = [Stem(key, f"https://files.example.com/{key}.mp3") for key in keys or ("vocals", "instrumental")]
    return Result(200, tuple(stems))


def make_call(job_id: str, **changes: Any) -> CreateCall:
    """Return a create call that was not answered yet, with a link to its song as long as real ones."""
    call = CreateCall(
        id=secrets.token_hex(8),
        job_id=job_id,
        provider="sunoapi",
        mode=Mode.SEPARATE_VOCAL,
        instrument="",
        duration_s=30,
        price=10,
        source=f"https://stems.example.com/source/{'x' * 60}/audio.mp3",
        is_uploaded=False,
        asked_at=0.0,
    )
    return replace(call, **changes)
