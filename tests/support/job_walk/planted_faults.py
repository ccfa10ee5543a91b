"""Faults that are planted in the scripts; each must be found, by the invariant that it names.

`witness` are the steps that show the fault, for the suite; with `make faults` the walk must find them itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from stemdrop.storage import call_scripts, choice_scripts, record_scripts, script_prelude

_MODULES = (call_scripts, choice_scripts, record_scripts, script_prelude)
_ASKED = ("the user picks", "a worker begins call 1", "call 1 is sent")
_ACCEPTED = (*_ASKED, "the provider accepts call 1")
_REFUSED = (*_ASKED, "the provider refuses call 1")
_SEPARATING = (*_ACCEPTED, "the task of call 1 is stored")
_LOST = (*_ACCEPTED, "call 1 is found without an answer")
_ASKED_AGAIN = (*_LOST, "the user asks again after call 1")
_TWO = (*_ASKED_AGAIN, "a worker begins call 2", "call 2 is sent", "the provider accepts call 2")


@dataclass(frozen=True)
class PlantedFault:
    """A change of a script's text that the walk must find."""

    name: str
    script: str
    old: str
    new: str
    invariant: str
    witness: tuple[str, ...]

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Change the script. Raises `AssertionError` if the fault no longer fits its text."""
        module = next(it for it in _MODULES if hasattr(it, self.script))
        text = getattr(module, self.script)
        assert text.count(self.old) == 1, (
            f"{self.name}: {self.script} holds {text.count(self.old)} times: {self.old}"
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, self.script, text.replace(self.old, self.new))
            yield


def _fault(name: str, script: str, old: str, new: str, invariant: str, *witness: str) -> PlantedFault:
    return PlantedFault(name, script, old, new, invariant, witness)


FAULTS = (
    _fault(
        "a create call is repeated after its worker died",
        "BEGIN_CREATE",
        "elseif get(ARGV[1], 'create_started_at') ~= '0' then",
        "elseif false then",
        "create_is_sent_once_for_one_price",
        *(*_ACCEPTED, "a worker begins call 2"),
    ),
    _fault(
        "a create call begins in any state",
        "BEGIN_CREATE",
        "if get(ARGV[1], 'state') ~= 'submitting' then return 0 end",
        "",
        "no_create_after_an_acceptance",
        *(*_ACCEPTED, "call 1 is found without an answer", "the user asks again after call 1"),
        *("the task of call 1 is stored", "a worker begins call 2"),
    ),
    _fault(
        "a create call begins although the song was fetched",
        "BEGIN_CREATE",
        "if is_fetched and not have_calls_failed(ARGV[1]) then",
        "if false then",
        "no_create_after_a_fetch",
        *(*_ASKED_AGAIN, "the provider fetches the song for call 1", "a worker begins call 2"),
    ),
    _fault(
        "another call is offered although the song was fetched",
        "ASK_AGAIN",
        "(it.answer_lost_at or '0') ~= '0' and (it.source_fetched_at or '0') == '0'",
        "(it.answer_lost_at or '0') ~= '0'",
        "no_create_after_a_fetch",
        *(*_LOST, "the provider fetches the song for call 1", "the user asks again after call 1"),
    ),
    _fault(
        "an ended job is picked again",
        "PICK",
        "if get(ARGV[1], 'state') ~= 'choosing' then return {'late', spent} end",
        "",
        "an_end_stays",
        *("the user picks", "the user cancels", "the user picks"),
    ),
    _fault(
        "a song starts although its user has undone that",
        "PICK",
        "if ARGV[7] ~= '' and get(ARGV[1], 'starts_at') ~= ARGV[7] then",
        "if false then",
        "nothing_starts_after_an_undo",
        *("the user undoes that", "the song starts by itself"),
    ),
    _fault(
        "an undo changes nothing",
        "UNDO",
        "redis.call('HSET', KEYS[1], 'starts_at', '0')",
        "",
        "nothing_starts_after_an_undo",
        "the user undoes that",
    ),
    _fault(
        "a cancelled song would start when it is taken up again",
        "PRELUDE",
        "'moved_at', now, 'starts_at', '0')",
        "'moved_at', now)",
        "only_a_new_song_starts_by_itself",
        "the user cancels",
    ),
    _fault(
        "a job that has failed is taken up as a cancelled one",
        "RESUME",
        "if state ~= 'cancelled' then return state or '' end",
        "if not state then return '' end",
        "an_end_stays",
        *(*_SEPARATING, "recovery gives up waiting", "the user takes it up again"),
    ),
    _fault(
        "stems that come for a cancelled job are dropped",
        "RECEIVE",
        "local is_kept = state == 'cancelled'",
        "local is_kept = false",
        "stems_that_came_are_deliverable",
        *(*_SEPARATING, "the user cancels", "call 1 is called back: stems"),
    ),
    _fault(
        "a job moves from any state",
        "MOVE",
        "if not state or not string.find(ARGV[3], ',' .. state .. ',', 1, true) then return 0 end",
        "if not state then return 0 end",
        "an_end_stays",
        *(*_SEPARATING, "the user cancels", "recovery gives up waiting"),
    ),
    _fault(
        "a repeated refusal counts again",
        "NOT_ACCEPTED",
        "if get(ARGV[1], 'refused:' .. caller) then return end",
        "",
        "repetition_changes_nothing",
        *(*_ASKED_AGAIN, "a worker begins call 2", "call 2 is sent", "the provider refuses call 2"),
        "the refusal of call 2 is stored",
    ),
    _fault(
        "a callback may name any chat",
        "RECEIVE",
        "get(ARGV[1], 'token_chat_id') ~= ARGV[2] then return 'foreign' end",
        "false then return 'foreign' end",
        "a_foreign_callback_changes_nothing",
        *(*_ACCEPTED, "a callback of another chat"),
    ),
    _fault(
        "only one task belongs to a job",
        "PRELUDE",
        "known == task or (get(id, 'asked_again_by') or '') ~= ''",
        "known == task",
        "own_callbacks_are_taken",
        *(*_TWO, "the task of call 2 is stored", "call 1 is called back: stems"),
    ),
    _fault(
        "stems do not settle the price",
        "RECEIVE",
        "  take(ARGV[1], 'settled')\nend",
        "end",
        "delivered_means_settled",
        *(*_ACCEPTED, "call 1 is called back: stems"),
    ),
    _fault(
        "stems that come late are dropped",
        "RECEIVE",
        "(has_failed or state == 'delivering')",
        "false",
        "stems_that_came_are_deliverable",
        *(*_SEPARATING, "recovery gives up waiting", "call 1 is called back: stems"),
    ),
    _fault(
        "a late refusal gives nothing back",
        "NOT_ACCEPTED",
        "  give_back_late(ARGV[1], ARGV[2])\n  stop_sharing",
        "  stop_sharing",
        "no_user_pays_for_nothing",
        *(*_REFUSED, "the user cancels", "the refusal of call 1 is stored"),
    ),
    _fault(
        "the refusal of a deleted job gives nothing back",
        "NOT_ACCEPTED",
        "redis.call('HDEL', KEYS[2], ARGV[1])",
        "",
        "no_user_pays_for_nothing",
        *(*_REFUSED, "the user deletes", "the refusal of call 1 is stored"),
    ),
    _fault(
        "a deleted job keeps what it held",
        "FORGET",
        "give_back(ARGV[1])",
        "",
        "no_user_pays_for_nothing",
        *("the user picks", "the user deletes"),
    ),
    _fault(
        "an answer that comes late undoes a refund",
        "ACCEPT",
        "get(ARGV[1], 'charge') ~= 'returned' and get(ARGV[1], 'failure_charged') ~= 'false'",
        "true",
        "no_user_pays_for_nothing",
        *(*_ACCEPTED, "recovery takes the answer for lost", "call 1 is called back: refunded"),
        *("the task of call 1 is stored", "the user cancels"),
    ),
    _fault(
        "an answer that comes late undoes a refund where another call was charged",
        "ACCEPT",
        "get(ARGV[1], 'charge') ~= 'returned' and ",
        "",
        "no_user_pays_more_than_the_provider_may_keep",
        *(*_TWO, "call 1 is called back: failed", "recovery takes the answer for lost"),
        *("call 2 is called back: refunded", "the task of call 2 is stored", "the user cancels"),
    ),
    _fault(
        "the price of a refused call stays spent when the other call has failed",
        "MOVE",
        "if state == 'submitting' and credits == 'settle' and have_calls_failed(ARGV[1])",
        "if false",
        "no_user_pays_more_than_the_provider_may_keep",
        *(*_TWO[:-1], "call 1 is called back: failed", "the provider refuses call 2"),
        *("the refusal of call 2 is stored", "the user cancels"),
    ),
    _fault(
        "a failure that is called back again ends a job that waits for its next call",
        "RECEIVE",
        "if ARGV[8] ~= '1' and is_known and contains(get(ARGV[1], 'failed_task_ids'), ARGV[3]) then",
        "if false then",
        "no_user_pays_more_than_the_provider_may_keep",
        *(*_TWO[:-1], "call 1 is called back: failed", "the provider refuses call 2"),
        *("the refusal of call 2 is stored", "call 1 is called back: failed", "a delivery begins"),
        "the delivery explains the failure",
    ),
    _fault(
        "the price is taken at each step",
        "PRELUDE",
        "if before ~= 'held' and before ~= 'settled' then",
        "if true then",
        "no_user_pays_more_than_the_provider_may_keep",
        *_SEPARATING,
    ),
    _fault(
        "a job that is cancelled during its call costs nothing",
        "MOVE",
        "credits = is_uncharged and 'return' or 'settle'",
        "credits = 'return'",
        "nothing_is_given_back_that_the_provider_kept",
        *(*_ASKED, "the user cancels"),
    ),
    _fault(
        "the second of two accepted calls is not counted",
        "PRELUDE",
        "then by = price end",
        "then by = 0 end",
        "nothing_is_given_back_that_the_provider_kept",
        *(*_TWO, "the task of call 2 is stored", "call 1 is called back: stems"),
    ),
    _fault(
        "a job fails as not charged after its call has begun",
        "MOVE",
        "is_uncharged ~= (ARGV[5] == 'return') then return 0 end",
        "false then return 0 end",
        "uncharged_is_said_only_when_certain",
        *(*_ASKED, "recovery gives up before a call"),
    ),
    _fault(
        "the failure of one call ends a job that waits for two",
        "RECEIVE",
        "if ARGV[8] ~= '1' and not has_stems_to_send and is_other_call_open(ARGV[1], ARGV[3]) then",
        "if false then",
        "uncharged_is_said_only_when_certain",
        *(*_TWO, "call 1 is called back: refunded", "a delivery begins", "the delivery explains the failure"),
    ),
    _fault(
        "a late refund is not told",
        "PRELUDE",
        "    set(id, 'failure', cjson.encode({code = code, charged = false}), 'failure_charged', 'false')\n",
        "",
        "a_refund_is_told",
        *(*_SEPARATING, "recovery gives up waiting", "call 1 is called back: refunded"),
    ),
    _fault(
        "a job that is being delivered is replaced by another",
        "MARK_RETRIED",
        "if get(ARGV[1], 'state') ~= 'failed' then return 0 end",
        "if not get(ARGV[1], 'state') then return 0 end",
        "what_moves_is_looked_after",
        *(*_ACCEPTED, "call 1 is called back: stems", "the user tries again"),
    ),
    _fault(
        "a job that has moved on is closed",
        "CLOSE",
        "if not state or state == 'delivered'",
        "if true or state == 'delivered'",
        "what_moves_is_looked_after",
        *("the user picks", "the end is shown"),
    ),
    _fault(
        "an ended job stays in progress",
        "PRELUDE",
        "if in_flight[was] and not in_flight[state] then lists",
        "if false then lists",
        "lists_say_what_the_state_says",
        *("the user picks", "the user cancels"),
    ),
    _fault(
        "a deleted job comes back by a note",
        "WRITE",
        "if left == -2 then return 0 end",
        "",
        "nothing_is_left_of_a_deleted_job",
        *(*_ACCEPTED, "the user deletes", "the provider fetches the song for call 1"),
    ),
)

# Found by the walk of a job that two providers are asked for.
_REPLACED = (
    *(*_SEPARATING, "call 1 is called back: refunded", "another provider is asked after call 1"),
    *("a worker begins call 2", "call 2 is sent", "the provider accepts call 2"),
)
PROVIDER_FAULTS = (
    _fault(
        "a callback is noted for the last call",
        "PRELUDE",
        "if is_open and (provider == '' or known.provider == provider) then found = call end",
        "if is_open then found = call end",
        "the_ledger_says_what_came",
        *(*_TWO, "call 1 is called back: stems"),
    ),
    _fault(
        "an acceptance hides the result",
        "PRELUDE",
        "if (ranks[before] or 0) > ranks[outcome] then outcome = before end",
        "",
        "the_ledger_says_what_came",
        *(*_ACCEPTED, "call 1 is called back: stems", "the task of call 1 is stored"),
    ),
    _fault(
        "a job pays what the first provider would have cost",
        "BEGIN_CREATE",
        "change_price(ARGV[1], tonumber(ARGV[5]))",
        "",
        "no_user_pays_more_than_the_provider_may_keep",
        *_ACCEPTED,
    ),
    _fault(
        "two accepted calls cost twice what the last one does",
        "PRELUDE",
        "local price, by = price_of(id, task), 0",
        "local price, by = tonumber(get(id, 'price')), 0",
        "nothing_is_given_back_that_the_provider_kept",
        *(*_TWO, "call 1 is called back: stems", "the task of call 2 is stored"),
    ),
    _fault(
        "the late stems of a replaced task cost twice",
        "PRELUDE",
        "if not was_replaced(id, get(id, 'task_id')) then by = price end",
        "by = price",
        "no_user_pays_more_than_agreed",
        *(*_REPLACED, "call 1 is called back: stems", "the task of call 2 is stored", "a delivery begins"),
        "the delivery ends",
    ),
    _fault(
        "a job that has ended is replaced",
        "FAIL_OVER",
        "if it.state ~= 'delivering' or it.task_id",
        "if it.task_id",
        "an_end_stays",
        *(*_SEPARATING, "call 1 is called back: refunded", "a delivery begins"),
        *("the delivery explains the failure", "another provider is asked after call 1"),
    ),
    _fault(
        "a replaced task is replaced again",
        "FAIL_OVER",
        "if get(ARGV[1], 'asked_again_by') == ARGV[3] then return 1 end",
        "set(ARGV[1], 'further_calls', further_calls(ARGV[1]) + 1)",
        "repetition_changes_nothing",
        *(*_SEPARATING, "call 1 is called back: refunded", "another provider is asked after call 1"),
    ),
)

# Found by the walk through two jobs that share a split; `several_jobs.py` also finds the first.
TWO_JOBS_FAULTS = (
    _fault(
        "a song that is being split is paid for again",
        "PRELUDE",
        "    return payer, 'waiting'\n",
        "    return\n",
        "paid_calls_are_awaited",
    ),
    _fault(
        "a job whose lost answer has come is not waited for",
        "PRELUDE",
        "then claim_free_split(id) end",
        "then end",
        "paid_calls_are_awaited",
    ),
    _fault(
        "a job that has moved on still waits",
        "PRELUDE",
        "  set(id, 'waits_for', '')\nend",
        "end",
        "those_who_move_are_looked_after",
    ),
    _fault(
        "a job waits unknown to the one that it waits for",
        "PRELUDE",
        "  redis.call('ZADD', WAITING:format(payer), now, id)\n",
        "",
        "those_who_move_are_looked_after",
    ),
    _fault(
        "a job pays for a result that another one has paid for",
        "PRELUDE",
        "  give_back(id)\n  set(id, 'price', '0', 'result'",
        "  set(id, 'price', '0', 'result'",
        "all_pay_for_what_may_be_charged",
    ),
    _fault(
        "a job pays for a deleted one's task",
        "PRELUDE",
        "      give_back(heir)\n",
        "",
        "what_a_shared_result_costs_is_nothing",
    ),
    _fault(
        "deletion returns what the provider kept",
        "FORGET",
        "if get(ARGV[1], 'create_started_at') == '0' then give_back(ARGV[1]) end",
        "give_back(ARGV[1])",
        "each_pays_for_the_own_call",
    ),
    _fault(
        "stems that come for a cancelled job of two are dropped",
        "RECEIVE",
        "local is_kept = state == 'cancelled'",
        "local is_kept = false",
        "stems_of_both_are_deliverable",
    ),
)
