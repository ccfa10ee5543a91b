"""All misconfigurations, in the order of the doctor's subjects; each subject has its own module."""

from itertools import zip_longest

import misconfigured_address
import misconfigured_api
import misconfigured_machine
import misconfigured_processes
import misconfigured_redis
import misconfigured_settings
import misconfigured_telegram
from misconfiguration import Misconfiguration, misconfigurations_of

_SUBJECTS = [
    misconfigurations_of(module)
    for module in (
        misconfigured_settings,
        misconfigured_redis,
        misconfigured_telegram,
        misconfigured_api,
        misconfigured_address,
        misconfigured_machine,
        misconfigured_processes,
    )
]
MISCONFIGURATIONS: list[Misconfiguration] = [it for subject in _SUBJECTS for it in subject]

# These change the findings of other subjects, or other misconfigurations change their findings.
_ALONE = (
    misconfigured_settings.short_key,
    misconfigured_redis.no_redis,
    misconfigured_redis.wrong_password,
    misconfigured_redis.full_memory,
    misconfigured_redis.nearly_full_memory,
    misconfigured_redis.replica,
    misconfigured_redis.far_redis,
    misconfigured_redis.reader_of_redis,
    misconfigured_telegram.second_poller,
    misconfigured_telegram.rival_of_our_bot,
    misconfigured_api.no_upload_host,
    misconfigured_api.broken_upload_host,
    misconfigured_address.silent_port,
    misconfigured_address.never_answers,
    misconfigured_address.another_redis,
    misconfigured_address.webhook_without_redis,
    misconfigured_address.no_telegram_path,
)
# These, too, but the findings of the public address stay the same.
_BESIDE_AN_ADDRESS = (
    misconfigured_telegram.two_bots,
    misconfigured_telegram.foreign_webhook,
    misconfigured_telegram.webhook_from_before,
    misconfigured_telegram.webhook_elsewhere,
    misconfigured_telegram.undeliverable,
    misconfigured_telegram.unknown_local,
    misconfigured_telegram.unmounted,
    misconfigured_telegram.many_pending,
    misconfigured_machine.clock,
    misconfigured_machine.clock_of_the_api,
    misconfigured_machine.too_small_disk,
    misconfigured_machine.too_small_for_the_worker,
    misconfigured_machine.too_small_for_the_bot,
    misconfigured_processes.nothing_runs,
)


def runs() -> list[list[Misconfiguration]]:
    """Return the misconfigurations for each run of the doctor: one of each subject together, or one alone."""
    placed = (*_ALONE, *_BESIDE_AN_ADDRESS)
    shared = [[it for it in subject if it.apply not in placed] for subject in _SUBJECTS]
    together = [[it for it in row if it] for row in zip_longest(*shared)]
    of_addresses = [row for row in together if len(row) == 1]
    for one in (it for it in MISCONFIGURATIONS if it.apply in _BESIDE_AN_ADDRESS):
        min(of_addresses, key=len).append(one)
    return together + [[it] for it in MISCONFIGURATIONS if it.apply in _ALONE]
