"""A plain bot: it takes each stem whole into memory, checks and tags nothing, and sends the album.

The command line has JSON: where Telegram is, the chats, the stems' URLs, and how many jobs are done at once.
Prints the seconds, processor seconds and peak memory in MB that the jobs took, and the seconds of each one.
"""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from telegram import Bot, InputMediaAudio
from telegram.request import HTTPXRequest


async def run(request: dict[str, Any]) -> list[float]:
    """Do the jobs; returns how many seconds each took."""
    slots, took = asyncio.Semaphore(request["at_once"]), []
    url = request["telegram_url"]
    bot = Bot("1:bench", f"{url}/bot", f"{url}/file/bot", request=HTTPXRequest(connection_pool_size=64))
    async with httpx.AsyncClient(timeout=60) as http, bot:

        async def deliver(chat_id: int) -> None:
            async with slots:
                began = time.perf_counter()
                answers = await asyncio.gather(*(http.get(address) for address in request["stems"]))
                album = [
                    InputMediaAudio(
                        answer.raise_for_status().content, filename=f"{number}.mp3", title=f"Stem {number}"
                    )
                    for number, answer in enumerate(answers)
                ]
                if len(album) > 1:
                    await bot.send_media_group(chat_id, album, write_timeout=60, read_timeout=60)
                else:
                    await bot.send_audio(chat_id, answers[0].content, write_timeout=60, read_timeout=60)
                took.append(time.perf_counter() - began)

        await asyncio.gather(*map(deliver, request["chats"]))
    return took


def main() -> None:
    """Do what was asked, and print what it took."""
    request = json.loads(sys.argv[1])
    began, used = time.perf_counter(), time.process_time()
    took = asyncio.run(run(request))
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - used
    peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    assert peak
    sys.stdout.write(json.dumps([seconds, cpu_s, int(peak[1]) * 1.024e-3, took]))


if __name__ == "__main__":
    main()
