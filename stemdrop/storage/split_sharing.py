"""The Lua functions by which jobs that split the same song in the same way share one paid call.

The functions are a part of `script_prelude.py`, after `give_back` and before the body of `enter`. The key
SPLIT holds the id of the job that pays; the others wait for that job (`queued` with `waits_for`) or are given
its result.
"""

SHARING = """
local function leave_payer(id, state)
  if state == 'queued' or not has(id, 'waits_for') then return end
  redis.call('ZREM', WAITING:format(get(id, 'waits_for')), id)
  set(id, 'waits_for', '')
end

local function waiting_for(id)
  local waiting = {}
  for _, other in ipairs(redis.call('ZRANGE', WAITING:format(id), 0, -1)) do
    if get(other, 'waits_for') == id then waiting[#waiting + 1] = other end
  end
  return waiting
end

local function wait_for(id, payer, now)
  set(id, 'waits_for', payer)
  redis.call('ZADD', WAITING:format(payer), now, id)
  redis.call('EXPIRE', WAITING:format(payer), JOB_LIFETIME_S)
end

local function claim_split(id)
  if has(id, 'split_id') then
    redis.call('SET', SPLIT:format(get(id, 'split_id')), id, 'EX', SPLIT_LIFETIME_S)
  end
end

-- a job that goes on after its end is waited for again, unless another one has begun to pay
local function claim_free_split(id)
  local payer = has(id, 'split_id') and redis.call('GET', SPLIT:format(get(id, 'split_id')))
  if not payer or (get(payer, 'create_started_at') or '0') == '0' then claim_split(id) end
end

-- lets the jobs that wait for this one go on by themselves
local function release(id, now)
  for _, other in ipairs(waiting_for(id)) do
    set(other, 'waits_for', '')
    enter(other, 'queued', now)
  end
  redis.call('DEL', WAITING:format(id))
end

-- `state`: what the job has just become; a job whose call was paid for is shared until that call has failed
local function stop_sharing(id, state, now)
  if not has(id, 'split_id') then return end
  if state == 'failed' then
    if get(id, 'has_stems') == '1' then return end
  elseif state == 'cancelled' then
    if get(id, 'create_started_at') ~= '0' then return end
  elseif state == 'delivered' then
    if not is_incomplete(id) then return end
  elseif state ~= 'choosing' then
    return
  end
  local key = SPLIT:format(get(id, 'split_id'))
  local payer = redis.call('GET', key)
  -- stems that a job got from its payer are gone for others, too
  if payer and (payer == id or payer == get(id, 'paid_by')) then redis.call('DEL', key) end
  release(id, now)
end

-- gives a job the result that another one has paid for
local function adopt(id, payer, task, result, now)
  give_back(id)
  set(id, 'price', '0', 'result', result, 'has_stems', '1', 'is_success', '1', 'paid_by', payer)
  await_task(id, task)
  enter(id, 'delivering', now)
end

-- the last try after this failed job, if it has not begun its create call
local function next_try(id)
  local new = get(id, 'retried_as')
  while new and has(new, 'retried_as') do new = get(new, 'retried_as') end
  local state = new and get(new, 'state')
  local is_waiting = (state == 'queued' or state == 'submitting') and get(new, 'create_started_at') == '0'
  if is_waiting and get(new, 'split_id') == get(id, 'split_id') then return new end
end

local function share_result(id, now)
  claim_split(id)
  local new = next_try(id)
  local others = {waiting_for(id), new and waiting_for(new) or {}, {new}}
  for _, group in ipairs(others) do
    for _, other in ipairs(group) do adopt(other, id, get(id, 'task_id'), get(id, 'result'), now) end
  end
end

-- makes the first job that waits for a deleted one, or the one that has its paid task already, wait for that
-- task, and the others for that job; returns it
local function hand_over(id, task, now)
  local heir = redis.call('GET', TASK:format(task))
  if heir and get(heir, 'paid_by') ~= id then heir = nil end
  for _, other in ipairs(waiting_for(id)) do
    if heir then
      wait_for(other, heir, now)
    else
      heir = other
      give_back(heir)
      set(heir, 'price', '0', 'paid_by', id, 'create_started_at', now)
      await_task(heir, task)
      redis.call('SET', TASK:format(task), heir, 'EX', JOB_LIFETIME_S)
      enter(heir, 'separating', now)
      claim_split(heir)
    end
  end
  redis.call('DEL', WAITING:format(id))
  if not heir then return end
  -- by this the deleted job's source link finds the song
  redis.call('ZADD', WAITING:format(id), now, heir)
  redis.call('EXPIRE', WAITING:format(id), JOB_LIFETIME_S)
  return heir
end

-- the job that pays for the same, if any, and what a job that shares with it becomes
local function find_payer(id, split)
  local payer = split ~= '' and redis.call('GET', SPLIT:format(split))
  if not payer or payer == id then return end
  local state = get(payer, 'state')
  if get(payer, 'has_stems') == '1' then return payer, 'delivering' end
  -- the URLs of a success may come after it
  if state == 'submitting' or state == 'separating' or state == 'delivering'
    or (state == 'cancelled' and get(payer, 'create_started_at') ~= '0') then
    return payer, 'waiting'
  end
end

local function share(id, now)
  local payer, how = find_payer(id, get(id, 'split_id') or '')
  if how == 'delivering' then
    adopt(id, payer, get(payer, 'task_id'), get(payer, 'result'), now)
  elseif how == 'waiting' then
    wait_for(id, payer, now)
    enter(id, 'queued', now)
  end
  return how
end
"""
