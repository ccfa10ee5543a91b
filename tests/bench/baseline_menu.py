"""A plain bot that makes only the calls: it answers a song with a button, and a tap with a create call.

The command line names the server that stands in for Telegram and for the separation API.
"""

import asyncio
import sys

import httpx
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup

_MENU = InlineKeyboardMarkup([[InlineKeyboardButton("Vocals", callback_data="vocals")]])


async def run(url: str) -> None:
    """Poll until the process is terminated."""
    offset = 0
    async with httpx.AsyncClient(timeout=60) as http, Bot("1:bench", f"{url}/bot", f"{url}/file/bot") as bot:
        while True:
            for update in await bot.get_updates(offset, timeout=25):
                offset = update.update_id + 1
                if update.message:
                    await bot.send_message(update.message.chat.id, "What shall it be?", reply_markup=_MENU)
                if update.callback_query:
                    await bot.answer_callback_query(update.callback_query.id)
                    body = {"audioUrl": f"for/{update.callback_query.from_user.id}"}
                    await http.post(f"{url}/api/v1/vocal-removal/generate", json=body)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
