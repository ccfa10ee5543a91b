"""Bot, webhook and workers apart, as several machines would run them, and several people at once."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from stage import open_stage

VOCALS, ALL_STEMS = 0, 1
NAMES = ("Alice", "Bob", "Carol", "Dave", "Erin")


@pytest.mark.parametrize(
    ("commands", "updates", "mode", "stems"),
    [
        (("bot", "webhook", "worker", "worker"), "polling", ALL_STEMS, 12),
        (("bot", "bot", "webhook", "worker"), "webhook", VOCALS, 2),
    ],
)
async def test_five_people_at_once_all_get_their_stems_once(
    tmp_path: Path, commands: tuple[str, ...], updates: str, mode: int, stems: int
) -> None:
    async with open_stage(tmp_path, *commands, TELEGRAM_UPDATES=updates) as stage:
        if updates == "webhook":
            await stage.telegram.wait_for(lambda: stage.telegram.updates.webhook)
        users = [stage.person(name) for name in NAMES]
        asked = await asyncio.gather(
            *(
                person.asks(stage.song(f"Song of {name}"), mode)
                for person, name in zip(users, NAMES, strict=True)
            )
        )
        await asyncio.gather(
            *(person.shows(menu, "✅") for person, (_, menu) in zip(users, asked, strict=True))
        )
        for person, (sent, _), name in zip(users, asked, NAMES, strict=True):
            assert len(set(person.titles())) == len(person.titles()) == stems
            assert all(title.startswith(f"Song of {name} (") for title in person.titles())
            assert all(audio.reply_to is sent for audio in person.audios())
            assert len(person.after(sent)) == stems + 1
        assert len(stage.provider.creates) == 5
        assert set(Counter(stage.provider.stem_requests).values()) == {5}
        methods = {call.method for call in stage.telegram.calls}
        assert ("getUpdates" in methods) == (updates == "polling")
        assert stage.telegram.flood_refusals == 0
