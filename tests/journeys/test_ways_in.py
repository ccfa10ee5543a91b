"""A Bot API server of one's own."""

import json
from pathlib import Path

import anyio
from deployment import open_deployment
from kinds import silence

from sandbox.telegram.faults import FaultKind

VOCALS = 0


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
