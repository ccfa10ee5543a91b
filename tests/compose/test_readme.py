"""From a fresh clone, by the words of the README: a song comes back. The local Telegram stands in for
Telegram, and our separator for the provider; both are elsewhere."""

import re
import shutil
import time
from pathlib import Path

from stack import ROOT, SANDBOX, Stack

# What a reader need not write, but for whom Telegram and the provider are where they are; and some patience.
ELSEWHERE = (
    "\nTELEGRAM_API_URL=http://sandbox:8081\nSEPARATION_API_URL=http://separator:8001\nPOLL_INTERVAL_S=2\n"
)
NETWORK = "networks: {{default: {{name: {}_default, external: true}}}}\n"
# A person opens the link, and sends a song.
_PERSON = """
import asyncio, os, pathlib, sys
from sandbox.command import DEMO_SONG
from sandbox.play.simulated_user import SimulatedUser

async def main(word):
    async with SimulatedUser("http://127.0.0.1:8081", os.environ["SANDBOX_KEY"], print) as person:
        sent = await person.post(f"{person.chat_id}/messages", json={"text": f"/start {word}"})
        print((await person.next_message(sent["message_id"]))["text"])
        for stem in await person.play(DEMO_SONG, "split_stem", pathlib.Path("/tmp/stems")):
            print("came:", stem.title)

asyncio.run(main(sys.argv[1]))
"""


def commands() -> list[str]:
    """What the part tells to type, in order."""
    readme = (ROOT / "README.md").read_text("utf-8")
    part = readme.partition("## Self-hosting\n")[2].partition("\n## ")[0]
    return re.findall(r"`((?:cp|docker compose) [^`]+)`", part)


def fill_in(file: Path) -> None:
    """The three settings."""
    text = file.read_text("utf-8")
    for name in ("TELEGRAM_BOT_TOKEN", "SEPARATION_API_KEY"):
        text = text.replace(f"\n{name}=\n", f"\n{name}={SANDBOX[name]}\n")
    text = text.replace("\nSECRET_KEY=\n", "\nSECRET_KEY=any long random text that nobody else knows\n")
    file.write_text(text + ELSEWHERE, "utf-8")


def test_a_song_comes_back_from_the_sandbox_by_the_words_of_the_readme(clone: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    up, logs, play, down = re.findall(r"^(docker compose --env-file .+?)(?:  +#.*)?$", readme, re.MULTILINE)
    with Stack("try", clone, {}) as stack:
        stack.follow(up)
        assert "Open http://127.0.0.1:8081/" in stack.follow(logs)
        table = stack.follow(play.replace(" exec ", " exec -T "))  # there is no terminal
        assert re.findall(r"│ Morning Line \((\w+)\) +│ (\S+)", table) == [
            (stem, "30.00") for stem in ("Vocals", "Drums", "Bass", "Other")
        ]
        stack.follow(down)


def test_a_song_comes_back_by_the_words_of_the_readme(clone: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "stemdrop"
    shutil.copytree(clone, fresh)
    copy, up, logs, doctor, doctor_alone = commands()
    with Stack("elsewhere", clone, SANDBOX) as elsewhere:
        elsewhere.up("--no-deps", "sandbox", "separator")
        override = fresh / "docker-compose.override.yml"
        override.write_text(NETWORK.format(elsewhere.project), "utf-8")
        with Stack("readme", fresh, {}, override) as stack:
            (fresh / ".env").unlink()
            stack.follow(copy)
            fill_in(fresh / ".env")
            stack.follow(up)
            deadline = time.monotonic() + 120
            while not (found := re.search(r"admin: https://t\.me/\w+\?start=([\w-]+)", stack.follow(logs))):
                assert time.monotonic() < deadline
                time.sleep(1)
            said = elsewhere.run("sandbox", "python", "-c", _PERSON, found[1])
            assert "You run this bot now." in said
            assert re.findall(r"^came: .+ \((.+)\)$", said, re.MULTILINE) == [
                "Vocals",
                "Drums",
                "Bass",
                "Other",
            ]
            stack.wait_until_well()
            report = stack.follow(doctor)
            assert "0 wrong, 0 warnings" in report
            assert "nothing needs to reach this machine" in report
            assert "0 wrong, 0 warnings" in stack.follow(doctor_alone)
