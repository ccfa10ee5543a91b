"""Taps on *Undo*, which take effect when they arrive and not when they are handled."""

from stemdrop.chat.callback_data import Action, Tap
from stemdrop.storage.job_store import JobStore


async def undo_at_once(store: JobStore, update: object) -> None:
    """Undo the start of a job if the update is a tap that asks for it. Raises `StoreUnavailable`.

    Call it before Telegram is told that the update has arrived: the update may be handled only after the
    seconds in which the job can be undone.
    """
    query = update.get("callback_query") if isinstance(update, dict) else None
    data = query.get("data") if isinstance(query, dict) else None
    tap = Tap.from_data(data) if isinstance(data, str) else None
    if tap and tap.action is Action.UNDO:
        await store.undo(tap.job_id)
