"""Other ways in than polling the public Bot API: updates by webhook, and a Bot API server of one's own."""

import json
from pathlib import Path

import anyio
import httpx
from deployment import open_deployment
from kinds import silence

from sandbox.telegram.faults import FaultKind

VOCALS = 0


async def test_updates_may_come_by_webhook(tmp_path: Path) -> None:
    async with open_deployment(tmp_path, "up", TELEGRAM_UPDATES="webhook") as deployment:
        telegram = deployment.telegram
        await telegram.wait_for(lambda: telegram.updates.webhook)
        alice = deployment.person()
        sent, menu = await alice.asks(deployment.song("Pushed"), VOCALS)
        menu = await alice.shows(menu, "✅")
        assert len(alice.audios()) == 2
        assert "getUpdates" not in {call.method for call in telegram.calls}
        forged = {"update_id": 1, "message": sent.to_dict()}
        async with httpx.AsyncClient(base_url=deployment.environment.public_url) as stranger:
            for headers in ({}, {"X-Telegram-Bot-Api-Secret-Token": "guessed"}):
                answer = await stranger.post("/telegram", json=forged, headers=headers)
                assert answer.status_code == 403
        _, menu = await alice.asks(deployment.song("Pushed Again"), VOCALS)
        menu = await alice.shows(menu, "✅")
        assert len(alice.audios()) == 4


async def test_in_local_mode_a_large_file_is_served_from_disk(tmp_path: Path) -> None:
    async with open_deployment(tmp_path, "up", local_mode=True) as deployment:
        # the file server must not be asked: the file lies on a disk that we share
        unasked = deployment.telegram.faults.add(FaultKind.SERVER_ERROR, method="download", times=None)
        alice = deployment.person()
        large = silence(tmp_path / "large.wav", 25_000_000)
        _, menu = await alice.asks(large, VOCALS)
        menu = await alice.shows(menu, "✅")
        assert alice.titles() == ["large (Vocals)", "large (Instrumental)"]
        assert deployment.provider.sources == [await anyio.Path(large).read_bytes()]
        assert unasked.hits == 0
        create = json.dumps(deployment.provider.creates)
        assert str(tmp_path) not in create
        assert deployment.telegram.token not in create
