"""A snapshot is taken during songs and restored in another Redis, where the songs go on."""

import asyncio
import re
import shutil
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

from deployment import Deployment, open_deployment, until
from redis.asyncio import Redis

from sandbox.environment.redis_server import RedisServer

VOCALS, ALL_STEMS = 0, 1
PAGE = Path(__file__).parent.parent.parent / "docs" / "operations.md"


def restoring() -> str:
    """Return the commands of the page that restore a snapshot without compose."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (commands,) = [block for block in blocks if "manifest" in block and "docker" not in block]
    return str(commands)


async def snapshot(deployment: Deployment) -> Path:
    """Take a snapshot as `redis-cli --rdb` does and return its path."""
    async with asyncio.timeout(120), Redis.from_url(deployment.redis_url, decode_responses=True) as redis:
        await redis.bgsave()
        while (now := await redis.info("persistence"))["rdb_bgsave_in_progress"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert (now["rdb_saves"], now["rdb_last_bgsave_status"]) == (1, "ok")
        return Path(str((await redis.config_get("dir"))["dir"])) / "dump.rdb"


async def test_songs_go_on_from_a_snapshot_in_another_redis(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    redis = RedisServer(elsewhere)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, redis.stop)
        deployment = await stack.enter_async_context(open_deployment(tmp_path, "up"))
        deployment.ordinary = ("the client disconnected",)  # as a killed process does
        provider = deployment.provider
        alice, bob, carol = (deployment.person(name) for name in ("Alice", "Bob", "Carol"))
        provider.held_stems = frozenset({"woodwinds"})  # the last
        provider.hold_stems.clear()
        await alice.asks(deployment.song("Half Sent"), ALL_STEMS)
        await until(lambda: ": sent " in deployment.processes[0].log.read_text())  # and ticked off
        provider.answers_by_itself = False
        _, separating = await bob.asks(deployment.song("Being Separated"), VOCALS)
        await bob.shows(separating, "⏳")
        await deployment.separating()
        _, unpicked = await carol.asks(deployment.song("Not Picked"))

        saved = await snapshot(deployment)
        elsewhere.mkdir()
        shutil.copy(saved, elsewhere / "stemdrop.rdb")
        deployment.processes[0].kill()
        await asyncio.to_thread(deployment.environment.redis.kill)
        provider.hold_stems.set()
        provider.answers_by_itself = True

        await asyncio.to_thread(subprocess.run, ["sh", "-ec", restoring()], cwd=elsewhere, check=True)
        deployment.redis_url = deployment.settings["REDIS_URL"] = await asyncio.to_thread(redis.start)
        await deployment.end_leases()
        await deployment.start("up")
        assert (await provider.call_back()).status_code == 200
        await carol.taps(unpicked, VOCALS)
        await deployment.jobs_rest()
        assert [len(person.audios()) for person in (alice, bob, carol)] == [12, 2, 2]
        assert [len(deployment.texts(person)) for person in (alice, bob, carol)] == [1, 1, 1]
        assert [create["type"] for create in provider.creates] == ["split_stem", *["separate_vocal"] * 2]
