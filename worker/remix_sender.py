"""`RemixSender`: sends the files of a remix, new or stored by Telegram, and records which arrived."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from telegram.error import BadRequest, NetworkError

from stemdrop.domain.outcomes import Sent
from stemdrop.domain.recipes import Recipe, RemixState
from stemdrop.domain.titles import MAX_CAPTION, MAX_NAME, cut, in_sentence
from stemdrop.errors import CachedFileGone, DeliveryOverridden, StoreUnavailable, TryLater
from stemdrop.services.disk_space import writing
from stemdrop.storage.connection import retry_until_stored
from stemdrop.storage.remixes import Remixes
from worker.cancellable_thread import run_in_thread
from worker.chat_errors import uncounted
from worker.remix_files import RemixFiles
from worker.render_message import change_button
from worker.render_order import RenderOrder
from worker.result_sender import outgoing, own_caption
from worker.stems.stem_sender import DOCUMENT, OutgoingStem, StemSender, Upload, is_refusal, sent_as
from worker.zip_file import add_to_zip, unique_name

log = logging.getLogger(__name__)

# The key of an order's ZIP; the keys of single files are the numbers of their recipes.
ZIP = "zip"
# More than a ZIP adds to each of its files: the name, twice, and some numbers.
_ZIP_ENTRY_BYTES = 1024
_SENDING = (RemixState.RENDERING, RemixState.SENDING)


@dataclass(kw_only=True)
class RemixSender:
    """Sends remixes of any job; one object serves all renders of a process."""

    remixes: Remixes
    sender: StemSender
    max_bytes: int

    async def cached(self, order: RenderOrder, waiting: Mapping[int, Recipe]) -> dict[str, Sent]:
        """Return the files that Telegram stores of these recipes, or of the archive, by key."""
        keys = [ZIP] if order.remix.is_archive else [str(number) for number in waiting]
        found = {key: await self.remixes.cached(order.job, _digest(order, key)) for key in keys}
        return {key: sent for key, sent in found.items() if sent}

    async def send(self, order: RenderOrder, made: RemixFiles, cached: Mapping[str, Sent]) -> list[str]:
        """Send the files in albums or as one ZIP; returns texts for the user about files that did not come.

        Raises `DeliveryOverridden` if the order was cancelled, and as `StemSender.send`.
        """
        translate, notes = order.translate, list[str]()
        limit = translate.size(self.max_bytes)
        if made.too_big:
            notes.append(translate("remix.too_big", limit=limit, names=_names(made.too_big)))
        await self._check_owner(order)
        if ZIP in cached or (order.remix.is_archive and self._fits(order, made)):
            return notes + await self._send_zip(order, made, cached.get(ZIP))
        if order.remix.is_archive and made.files:
            notes.append(translate("remix.zip_too_big", limit=limit))
        refused = await self._send_album(order, made, cached)
        if refused:
            notes.append(translate("remix.refused", names=_names(refused)))
        return notes

    def _fits(self, order: RenderOrder, made: RemixFiles) -> bool:
        """Return whether one ZIP can hold the files; False if an earlier run has sent some of them singly."""
        if len(made.files) + len(made.too_big) < len(order.recipes):
            return False
        sizes = [file.path.stat().st_size + _ZIP_ENTRY_BYTES for file in made.files.values()]
        return bool(sizes) and sum(sizes) <= self.max_bytes

    async def _send_album(
        self, order: RenderOrder, made: RemixFiles, cached: Mapping[str, Sent]
    ) -> list[str]:
        """Send the files in the order of their recipes; returns the titles of those that are refused."""
        known = await self.remixes.sent(order.remix.id)  # an earlier run may have recorded more meanwhile
        files = {str(number): file for number, file in made.files.items()}
        waiting = []
        for number, recipe in enumerate(order.recipes):
            key, title = str(number), order.title(recipe)
            if key in known:
                continue
            if file := files.get(key):
                waiting.append(outgoing(order.job, file, made.cover))
            elif sent := cached.get(key):
                caption = own_caption(sent.title, title)
                waiting.append(OutgoingStem(key, sent.title, sent.kind, sent.file_id, caption))
        if not waiting:
            return []
        labels = dict(waiting[0].labels) | _missing(order, made)
        if len(order.recipes) == 1:  # albums have no buttons
            labels["reply_markup"] = change_button(order)
        waiting[0] = replace(waiting[0], labels=labels)

        async def record(sent: dict[str, Sent]) -> None:
            await self._record(order, sent, is_complete=not made.missing)

        async def check_owner() -> None:
            await self._check_owner(order)

        try:
            arrived = await uncounted(self.sender.send(order.job, waiting, record, check_owner))
        except CachedFileGone as error:
            await self._forget(order, cached, error)
        return [stem.title for stem in waiting if stem.key not in arrived]

    async def _send_zip(self, order: RenderOrder, made: RemixFiles, cached: Sent | None) -> list[str]:
        if cached:
            media: Upload | str = cached.file_id
        else:
            files = list(made.files.values())
            archive, taken = files[0].path.with_name("remixes.zip"), set[str]()
            with writing("remixes"):
                for file in files:
                    await run_in_thread(add_to_zip, archive, file.path, unique_name(file.file_name, taken))
            media = Upload(archive, order.archive_name)
        caption = own_caption(cached.title, order.archive_name) if cached else {}
        labels: dict[str, Any] = {"reply_markup": change_button(order), **caption, **_missing(order, made)}
        try:
            await self._check_owner(order)
            message = await uncounted(self.sender.send_file(order.job, DOCUMENT, media, **labels))
        except NetworkError as error:
            if not is_refusal(error):
                raise
            if cached and isinstance(error, BadRequest):
                await self._forget(order, {ZIP: cached}, CachedFileGone(str(error)))
            log.warning("job %s: Telegram refuses a ZIP of remixes: %s", order.job.id, error)
            return [order.translate("remix.refused", names=order.name)]
        sent = sent_as(message, cached.title if cached else order.archive_name)
        await self._record(order, {ZIP: sent}, is_complete=not (made.missing or made.too_big))
        return []

    async def _forget(self, order: RenderOrder, cached: Mapping[str, Sent], error: CachedFileGone) -> None:
        """Forget files that Telegram may have lost, and raise `TryLater`: the next run makes them again."""
        log.info("job %s: its remix is made again: %s", order.job.id, error)
        for key in cached:
            await self.remixes.forget_cached(order.job, _digest(order, key))
        raise TryLater(0.1, "Telegram no longer has a remix") from error

    async def _check_owner(self, order: RenderOrder) -> None:
        """Move the order to `SENDING`, where it cannot be cancelled. Raises `DeliveryOverridden`."""
        if not await self.remixes.move(order.remix, RemixState.SENDING, _SENDING, order.token):
            raise DeliveryOverridden

    async def _record(self, order: RenderOrder, sent: dict[str, Sent], *, is_complete: bool) -> None:
        what = f"job {order.job.id}: a remix was sent but is not recorded yet"
        await retry_until_stored(lambda: self.remixes.tick(order.remix.id, sent), what)
        log.info("job %s: sent remix %s: %s", order.job.id, order.remix.id, ", ".join(sent))
        with suppress(StoreUnavailable):  # a file that is not cached is made again
            for key, file in sent.items():
                if is_complete and file.file_id:
                    await self.remixes.cache(order.job, _digest(order, key), file)


def _digest(order: RenderOrder, key: str) -> str:
    # the recipes as they are made, which have no clicks while the song cannot be measured
    made = replace(order.remix, recipes=order.recipes)
    return made.digest if key == ZIP else made.recipes[int(key)].digest


def _names(names: list[str]) -> str:
    return ", ".join(in_sentence(name, MAX_NAME) for name in names)


def _missing(order: RenderOrder, made: RemixFiles) -> dict[str, Any]:
    if not made.missing:
        return {}
    return {"caption": cut(order.translate("pack.missing", names=_names(made.missing)), MAX_CAPTION)}
