"""A delivered song of two stems, and the mixer over HTTP."""

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from product import Product, result_of
from tones import beginning_with_tags, mp3
from waits import WAIT_S

from sandbox.environment.server import serve
from sandbox.telegram.chats import Message, User
from sandbox.telegram.web_apps import init_data
from stemdrop.domain.jobs import Job, JobState
from stemdrop.domain.outcomes import Sent
from webhook.app import create_app
from webhook.mixer.app import open_segments
from webhook.mixer.segments import Segments


class Mixer:
    """Asks as the mixer's page does."""

    def __init__(self, product: Product, client: httpx.AsyncClient, segments: Segments) -> None:
        self.product = product
        self.client = client
        self.segments = segments

    async def store(self, job: Job, stems: dict[str, bytes]) -> Job:
        """Deliver stems of a job: key → file."""
        sent = {}
        for number, (key, content) in enumerate(stems.items()):
            files = self.product.telegram.files
            stored = files.add_media("audio", files.read(BytesIO(content)), f"{key}.mp3")
            sent[key] = Sent(number, stored.file_id, stored.content.unique_id)
        await self.product.store.tick(job.id, sent)
        await self.product.store.move(job.id, [JobState.DELIVERING], JobState.DELIVERED)
        return await self.product.job(job.id)

    def init_data(self, user: User, age_s: float = 0, token: str = "") -> str:
        return init_data(token or self.product.telegram.token, user, self.product.clock() - age_s)

    async def open(self, job: Job, user: User, signed: str = "") -> httpx.Response:
        body = {"init_data": signed or self.init_data(user), "job": job.id}
        return await self.client.post("/mixer/open", json=body)

    async def token(self, job: Job, user: User) -> str:
        answer = await self.open(job, user)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    async def segment(self, token: str, stem: int, number: int) -> httpx.Response:
        return await self.client.get(f"/mixer/segments/{token}/{stem}/{number}.flac")

    async def order(self, token: str, wish: str = "1", **recipe: Any) -> httpx.Response:
        whole = {"gains": [["vocals", -96]], "speed": 100, "semitones": 0}
        whole |= {"has_count_in": False, "has_metronome": False} | recipe
        return await self.client.post("/mixer/mixes", json={"token": token, "id": wish, "recipe": whole})


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


@pytest.fixture
async def mixer(product: Product) -> AsyncIterator[Mixer]:
    async with (
        open_segments(product) as segments,
        serve(create_app(product, segments=segments)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=WAIT_S) as client,
    ):
        yield Mixer(product, client, segments)


@pytest.fixture(scope="session")
def stems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The vocals are the first 6.5 seconds of the song, the instrumental is one second of a tone."""
    folder = tmp_path_factory.mktemp("stems")
    song = Path(__file__).parents[3] / "sandbox" / "songs" / "demo-song.mp3"
    vocals = beginning_with_tags(song, folder / "vocals.mp3", 6.5).read_bytes()
    return {"vocals": vocals, "instrumental": mp3(folder / "instrumental.mp3")}


@pytest.fixture
async def job(mixer: Mixer, sent: Message, stems: dict[str, bytes]) -> Job:
    """Alice's song, delivered."""
    result = result_of(dict.fromkeys(stems, "https://cdn.example/x.mp3"))
    return await mixer.store(await mixer.product.at(JobState.DELIVERING, sent, result=result), stems)
