"""The scripts of a create call and of its outcomes: no answer, a refusal, a task, a result."""

from stemdrop.storage.task_scripts import ADD_TASK

BEGIN_CREATE = """
-- KEYS: job, call   ARGV: id, now, caller, provider, its price, source, field of the call, value, …
if get(ARGV[1], 'state') ~= 'submitting' then return 0 end
-- the same call, repeated after a broken connection
if get(ARGV[1], 'create_started_by') == ARGV[3] then return 1 end
local is_asking_again = get(ARGV[1], 'is_asking_again') == 'true'
if is_asking_again then
  local is_fetched = (get(ARGV[1], 'source_fetched_at') or '0') ~= '0'
  if is_fetched and not have_calls_failed(ARGV[1]) then  -- the earlier call was accepted
    set(ARGV[1], 'is_asking_again', 'false', 'answer_lost_at', ARGV[2])
    return 0
  end
elseif get(ARGV[1], 'create_started_at') ~= '0' then
  return 0
end
-- the call may cost more than the one for which the credits are held
local limit = tonumber(get(ARGV[1], 'day_limit') or '0')
if exceeds(ARGV[1], tonumber(ARGV[5]) or 0, limit, get(ARGV[1], 'account_day')) then return -1 end
if is_asking_again then
  set(ARGV[1], 'is_asking_again', 'false', 'further_calls', further_calls(ARGV[1]) + 1)
end
local before, calls = get(ARGV[1], 'provider') or '', get(ARGV[1], 'calls') or ''
if ARGV[4] ~= '' then calls = calls .. ',' .. ARGV[3] end
set(ARGV[1], 'create_started_at', ARGV[2], 'create_started_by', ARGV[3],
  'answer_lost_at', '0', 'source_fetched_at', '0', 'progress', '0', 'provider', ARGV[4], 'calls', calls)
if ARGV[4] == '' then return 1 end
tally('create_calls|' .. ARGV[4] .. '|asked', 1, ARGV[2])
if before ~= '' and before ~= ARGV[4] then tally('fail_overs|' .. before, 1, ARGV[2]) end
change_price(ARGV[1], tonumber(ARGV[5]))
-- what was given back when the job was cancelled is held again
if get(ARGV[1], 'charge') == 'returned' and not has(ARGV[1], 'paid_by') then take(ARGV[1], 'held') end
redis.call('HSET', KEYS[2], 'outcome', 'asked', unpack(ARGV, 7))
redis.call('SET', CALL_SOURCE:format(ARGV[3]), ARGV[6], 'EX', JOB_LIFETIME_S)
redis.call('EXPIRE', KEYS[2], CALL_LIFETIME_S)
redis.call('ZADD', LEDGER, ARGV[2], ARGV[3])
redis.call('ZREMRANGEBYSCORE', LEDGER, '-inf', ARGV[2] - CALL_LIFETIME_S)
return 1
"""

EXCEEDS = """
-- KEYS: job   ARGV: id, price of its next call
local it = job(ARGV[1])
return exceeds(ARGV[1], tonumber(ARGV[2]), tonumber(it.day_limit or '0'), it.account_day) and 1 or 0
"""

LOSE_ANSWER = """
-- KEYS: job   ARGV: id, now, the caller of BEGIN_CREATE
local it = job(ARGV[1])
if it.state ~= 'submitting' or it.create_started_at == '0' or it.is_asking_again == 'true' then return 0 end
if it.create_started_by ~= ARGV[3] then return 0 end  -- a later call was begun, which may still be answered
note_call(ARGV[3], 'lost', ARGV[2])
if (it.answer_lost_at or '0') == '0' then set(ARGV[1], 'answer_lost_at', ARGV[2]) end
return 1
"""

ASK_AGAIN = """
-- KEYS: job   ARGV: id, now, tap, the create call that is given up: when it began, the field of its runs,
-- the price that its user has agreed to, the account's limit of the day, today
local it = job(ARGV[1])
if it.asked_again_by == ARGV[3] then return 1 end  -- the same tap, handled again
local is_lost = (it.answer_lost_at or '0') ~= '0' and (it.source_fetched_at or '0') == '0'
if it.state ~= 'submitting' or it.create_started_at ~= ARGV[4] or not is_lost then return 0 end
local limit = tonumber(ARGV[7])
-- the call is made today, of whose credits none is held after midnight
if exceeds(ARGV[1], tonumber(ARGV[6]) or tonumber(it.price or '0'), limit, ARGV[8]) then return -1 end
count_on(ARGV[1], ARGV[8])
set(ARGV[1], 'day_limit', limit, 'asked_again_by', ARGV[3], 'is_asking_again', 'true', 'answer_lost_at', '0',
  ARGV[5], '0', 'agreed_price', ARGV[6])
redis.call('ZADD', RECOVERY_DUE, 'XX', ARGV[2], ARGV[1])
return 1
"""

NOT_ACCEPTED = """
-- KEYS: job, spent   ARGV: id, now, the caller of BEGIN_CREATE ('': the last), the code of the refusal,
-- the provider that is not to be asked again ('': none), the code that is told where all refuse
if ARGV[3] ~= '' then note_call(ARGV[3], 'refused', ARGV[2], 'code', ARGV[4]) end
local state = get(ARGV[1], 'state')
if not state then  -- the job was deleted meanwhile, which kept its credits held
  if redis.call('EXISTS', CALLS_OF:format(ARGV[1])) == 0 then redis.call('HDEL', KEYS[2], ARGV[1]) end
  release(ARGV[1], ARGV[2])
  return
end
local last = get(ARGV[1], 'create_started_by') or ''
local caller = ARGV[3] ~= '' and ARGV[3] or last
if get(ARGV[1], 'refused:' .. caller) then return end
set(ARGV[1], 'refused:' .. caller, '1')
if ARGV[5] ~= '' then avoid(ARGV[1], ARGV[5], ARGV[6]) end
local further = further_calls(ARGV[1]) - 1
if further >= 0 then  -- another may have been accepted
  set(ARGV[1], 'further_calls', further)
  if get(ARGV[1], 'task_id') == '' then await_call(ARGV[1], open_call(ARGV[1], '')) end
  if state == 'cancelled' or state == 'failed' then
    if have_calls_failed(ARGV[1]) then
      give_back_late(ARGV[1], ARGV[2])
      stop_sharing(ARGV[1], 'failed', ARGV[2])
    end
  elseif caller == last or have_calls_failed(ARGV[1]) then
    set(ARGV[1], 'is_asking_again', 'true', 'source_fetched_at', '0')
    redis.call('ZADD', RECOVERY_DUE, 'XX', ARGV[2], ARGV[1])
  end
  return
end
set(ARGV[1], 'create_started_at', '0', 'further_calls', '0', 'is_asking_again', 'false')
if state == 'submitting' then redis.call('ZADD', RECOVERY_DUE, 'XX', ARGV[2], ARGV[1]) end
if state == 'cancelled' or state == 'failed' then
  give_back_late(ARGV[1], ARGV[2])
  stop_sharing(ARGV[1], state, ARGV[2])
end
"""

ACCEPT = """
-- KEYS: job, task   ARGV: id, task_id, now, lifetime, the caller of BEGIN_CREATE ('': not known)
if ARGV[5] ~= '' then
  set_call_of(ARGV[2], ARGV[5])
  note_call(ARGV[5], 'accepted', ARGV[3], 'task', ARGV[2])
end
local known = get(ARGV[1], 'task_id')
if not known then  -- it was deleted during the call
  hand_over(ARGV[1], ARGV[2], ARGV[3])
  return 'unknown'
end
local owner = redis.call('GET', KEYS[2])
if not is_own_task(ARGV[1], ARGV[2]) or (owner and owner ~= ARGV[1]) then return 'foreign' end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[4])
-- its failure was quicker, and another call is waited for
if contains(get(ARGV[1], 'failed_task_ids'), ARGV[2]) then
  if get(ARGV[1], 'state') == 'submitting' then
    set(ARGV[1], 'answer_lost_at', ARGV[3], 'source_fetched_at', '0')
  end
  return 'repeated'
end
if known == '' then await_task(ARGV[1], ARGV[2]) end
-- an earlier callback may have said that the credits were given back
if get(ARGV[1], 'charge') == 'held' then take(ARGV[1], 'settled') end
count_other_task(ARGV[1], ARGV[2], false)
local state = get(ARGV[1], 'state')
-- the answer was taken for lost, and has come after all, unless a callback has told the end meanwhile
local was_lost = state == 'failed' and get(ARGV[1], 'failure_code') == 'lost'
  and get(ARGV[1], 'charge') ~= 'returned' and get(ARGV[1], 'failure_charged') ~= 'false'
  and not get(ARGV[1], 'retried_as')
if state ~= 'submitting' and not was_lost then return 'repeated' end
clear_failure(ARGV[1])
enter(ARGV[1], 'separating', ARGV[3])
return 'stored'
"""

RECEIVE = """
-- KEYS: job, task   ARGV: id, chat_id, task_id, now, lifetime, result, 1 if it has stems, 1 if success,
-- 1 if refunded, the provider's name ('': not known)
local state = get(ARGV[1], 'state')
local provider = ARGV[10]
if not state then
  note_deleted_result(ARGV[1], ARGV[3], provider, ARGV[8], ARGV[9], ARGV[4])
  if ARGV[8] ~= '1' then release(ARGV[1], ARGV[4]) end
  -- it was deleted: the result is for the job that has its task now
  local heir = hand_over(ARGV[1], ARGV[3], ARGV[4])
  if not heir then return 'unknown' end
  ARGV[1], ARGV[2] = heir, get(heir, 'chat_id')
  state = get(heir, 'state')
  provider = ''  -- it was asked for the deleted job
end
if get(ARGV[1], 'chat_id') ~= ARGV[2] and get(ARGV[1], 'token_chat_id') ~= ARGV[2] then return 'foreign' end
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[1] then return 'foreign' end
local known = get(ARGV[1], 'task_id')
if not is_own_task(ARGV[1], ARGV[3]) or not was_asked(ARGV[1], provider) then return 'foreign' end
-- there is no task before the create call
if known == '' and get(ARGV[1], 'create_started_at') == '0' then return 'foreign' end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[5])
note_result(ARGV[1], ARGV[3], ARGV[10], ARGV[8], ARGV[9], ARGV[4])
-- this failure is known, and what the job waits for now is another call
local is_known = ARGV[9] ~= '1' or get(ARGV[1], 'refunded:' .. ARGV[3])
if ARGV[8] ~= '1' and is_known and contains(get(ARGV[1], 'failed_task_ids'), ARGV[3]) then
  return 'repeated'
end
local has_stems_to_send = state == 'delivering' or state == 'delivered'
if ARGV[8] ~= '1' and not has_stems_to_send and is_other_call_open(ARGV[1], ARGV[3]) then
  note_failed_call(ARGV[1], ARGV[3], ARGV[9] == '1', ARGV[4])
  return 'repeated'
end
if known == '' then await_task(ARGV[1], ARGV[3]) end
local is_other = known ~= '' and known ~= ARGV[3]
if is_other then
  count_other_task(ARGV[1], ARGV[3], ARGV[9] == '1')
  if ARGV[8] ~= '1' then return 'repeated' end  -- the task that is waited for may bring stems
  if get(ARGV[1], 'charge') == 'held' then take(ARGV[1], 'settled') end
elseif ARGV[8] == '1' and (get(ARGV[1], 'charge') == 'held' or not was_replaced(ARGV[1], ARGV[3])) then
  take(ARGV[1], 'settled')
end
local is_waiting = state == 'submitting' or state == 'separating'
-- stems that come after a failure are paid for and are delivered, unless they came before
local has_failed = state == 'failed' and not get(ARGV[1], 'retried_as')
local is_late = ARGV[7] == '1' and get(ARGV[1], 'has_stems') ~= '1' and (has_failed or state == 'delivering')
-- no task looks at the result of a job that has ended
if ARGV[9] == '1' and (state == 'failed' or state == 'cancelled') then give_back_late(ARGV[1], ARGV[4]) end
-- what a job that was cancelled or tried again has paid for is kept for its user, and for the next who picks
-- the same; a success without stems is no end, since its URLs may come after it
local is_end = ARGV[7] == '1' or ARGV[8] ~= '1'
local is_first = get(ARGV[1], 'has_stems') ~= '1'
local is_replaced = state == 'failed' and not has_failed and ARGV[7] == '1'
local is_kept = state == 'cancelled' and is_first and is_end or is_replaced and is_first
if not is_waiting and not is_late and not is_kept then return 'repeated' end
set(ARGV[1], 'result', ARGV[6], 'has_stems', ARGV[7], 'is_success', ARGV[8])
if is_other then
  -- what was given back for the earlier task is not given back again
  if get(ARGV[1], 'charge') == 'returned' then set(ARGV[1], 'refunded:' .. known, '1') end
  await_task(ARGV[1], ARGV[3], true)
  set(ARGV[1], 'other_task_ids', get(ARGV[1], 'other_task_ids') .. '\\n' .. known)
end
if not is_kept then
  clear_failure(ARGV[1])
  enter(ARGV[1], 'delivering', ARGV[4])
end
if ARGV[7] == '1' then
  share_result(ARGV[1], ARGV[4])
elseif is_kept then
  stop_sharing(ARGV[1], 'failed', ARGV[4])
end
return is_kept and 'repeated' or 'stored'
"""

# This part runs before the prelude, which takes longer. KEYS and ARGV are those of RECEIVE_AND_DELIVER.
KNOWN_RESULT = """
do
  local stored = redis.call('HMGET', KEYS[1], 'chat_id', 'task_id', 'result', 'charge', 'state')
  local is_known = stored[1] == ARGV[2] and stored[2] == ARGV[3] and stored[3] == ARGV[6] and ARGV[7] == '1'
  -- what is still to be paid, or has no delivery, is put right by the step itself
  local is_paid = stored[4] ~= 'held' and stored[4] ~= 'returned'
  if is_known and is_paid and (stored[5] == 'delivered'
    or stored[5] == 'delivering' and redis.call('HEXISTS', KEYS[4], 'known') == 1) then
    return 'repeated'
  end
end
"""

RECEIVE_AND_DELIVER = f"""{ADD_TASK}
-- KEYS: those of RECEIVE, stream and record of the delivery   ARGV: those of RECEIVE, those of the delivery
local function receive(KEYS, ARGV) {RECEIVE} end
local id = ARGV[1]  -- RECEIVE may turn to another job
local receipt = receive(KEYS, ARGV)
-- also where the result is known and the task is missing: an earlier version added it in a second step
if (receipt == 'stored' or receipt == 'repeated') and get(id, 'state') == 'delivering' then
  add_task(KEYS[3], KEYS[4], ARGV[11], {{unpack(ARGV, 12)}})
end
return receipt
"""

FAIL_OVER = """
-- KEYS: job   ARGV: id, now, token, the task that failed, the code, the field of its runs
-- a task has failed and cost nothing: another provider is asked in its place
if get(ARGV[1], 'asked_again_by') == ARGV[3] then return 1 end  -- repeated after a broken connection
local it, task = job(ARGV[1]), ARGV[4]
if it.state ~= 'delivering' or it.task_id ~= task or it.paid_by ~= '' then return 0 end
if it.is_success == '1' or it.has_stems == '1' then return 0 end
set(ARGV[1], 'failed_task_ids', (get(ARGV[1], 'failed_task_ids') or '') .. '\\n' .. task,
  'other_task_ids', (get(ARGV[1], 'other_task_ids') or '') .. '\\n' .. task, 'refunded:' .. task, '1',
  'replaced:' .. task, '1',
  'task_id', '', 'result', 'null', 'has_stems', '0', 'is_success', '0', 'asked_again_by', ARGV[3],
  'is_asking_again', 'true', 'create_started_at', ARGV[2], 'answer_lost_at', '0', 'source_fetched_at', '0',
  ARGV[6], '0')
take(ARGV[1], 'held')  -- for the next call; it was given back if the job had been cancelled meanwhile
avoid(ARGV[1], get(ARGV[1], 'provider') or '', ARGV[5])
enter(ARGV[1], 'submitting', ARGV[2])
return 1
"""
