"""Bots, webhook and workers as separate processes, as on several machines, and five people at once."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx
from chat import Person
from deployment import Deployment, open_deployment

VOCALS = 0
NAMES = ("Alice", "Bob", "Carol", "Dave", "Erin")


async def test_five_people_at_once_all_get_their_stems_once(tmp_path: Path) -> None:
    commands = ("bot", "bot", "webhook", "worker", "worker")
    async with open_deployment(tmp_path, *commands, TELEGRAM_UPDATES="webhook") as deployment:
        await deployment.telegram.wait_for(lambda: deployment.telegram.updates.webhook)
        users = [deployment.person(name) for name in NAMES]
        await refuses_forged_updates(deployment, users[0])
        asked = await asyncio.gather(
            *(
                person.asks(deployment.song(f"Song of {name}"), VOCALS)
                for person, name in zip(users, NAMES, strict=True)
            )
        )
        await asyncio.gather(
            *(person.shows(menu, "✅") for person, (_, menu) in zip(users, asked, strict=True))
        )
        for person, (sent, _), name in zip(users, asked, NAMES, strict=True):
            assert len(set(person.titles())) == len(person.titles()) == 2
            assert all(title.startswith(f"Song of {name} (") for title in person.titles())
            assert all(audio.reply_to is sent for audio in person.audios())
            assert len(person.after(sent)) == 3
        assert len(deployment.provider.creates) == 5
        assert set(Counter(deployment.provider.stem_requests).values()) == {5}
        assert "getUpdates" not in {call.method for call in deployment.telegram.calls}
        assert deployment.telegram.flood_refusals == 0


async def refuses_forged_updates(deployment: Deployment, person: Person) -> None:
    """Send an update once more as strangers, who do not know the secret; it is answered once."""
    sent = person.says("/start")
    await person.answer_to(sent)
    forged = {"update_id": 1, "message": sent.to_dict()}
    async with httpx.AsyncClient(base_url=deployment.environment.public_url) as stranger:
        for headers in ({}, {"X-Telegram-Bot-Api-Secret-Token": "guessed"}):
            answer = await stranger.post("/telegram", json=forged, headers=headers)
            assert answer.status_code == 403
    await deployment.tasks_rest()
    assert len(person.after(sent)) == 1
