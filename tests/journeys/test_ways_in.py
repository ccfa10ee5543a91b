"""Other ways in than polling the public Bot API: updates by webhook, and a Bot API server of one's own."""

import json
from pathlib import Path

import anyio
import httpx
from kinds import silence
from stage import open_stage

from sandbox.telegram.faults import FaultKind

VOCALS = 0


async def test_updates_may_come_by_webhook(tmp_path: Path) -> None:
    async with open_stage(tmp_path, "up", TELEGRAM_UPDATES="webhook") as stage:
        telegram = stage.telegram
        await telegram.wait_for(lambda: telegram.updates.webhook)
        alice = stage.person()
        sent, menu = await alice.asks(stage.song("Pushed"), VOCALS)
        menu = await alice.shows(menu, "✅")
        assert len(alice.audios()) == 2
        assert "getUpdates" not in {call.method for call in telegram.calls}
        forged = {"update_id": 1, "message": sent.to_dict()}
        async with httpx.AsyncClient(base_url=stage.world.public_url) as stranger:
            for headers in ({}, {"X-Telegram-Bot-Api-Secret-Token": "guessed"}):
                answer = await stranger.post("/telegram", json=forged, headers=headers)
                assert answer.status_code == 403
        _, menu = await alice.asks(stage.song("Pushed Again"), VOCALS)
        menu = await alice.shows(menu, "✅")
        assert len(alice.audios()) == 4


async def test_in_local_mode_a_large_file_is_served_from_disk(tmp_path: Path) -> None:
    async with open_stage(tmp_path, "up", local_mode=True) as stage:
        # the file server must not be asked: the file lies on a disk that we share
        unasked = stage.telegram.faults.add(FaultKind.SERVER_ERROR, method="download", times=None)
        alice = stage.person()
        large = silence(tmp_path / "large.wav", 25_000_000)
        _, menu = await alice.asks(large, VOCALS)
        menu = await alice.shows(menu, "✅")
        assert alice.titles() == ["large (Vocals)", "large (Instrumental)"]
        assert stage.provider.sources == [await anyio.Path(large).read_bytes()]
        assert unasked.hits == 0
        create = json.dumps(stage.provider.creates)
        assert str(tmp_path) not in create
        assert stage.telegram.token not in create
