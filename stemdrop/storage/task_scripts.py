"""The scripts that add a task to the engine, put it off, let it run when it is due, and end it.

The layout of the data is pydocket's: the messages of a stream, a record of each task that waits or runs, and
the messages of the tasks that are put off. pydocket's own scripts keep more (states, progress and events that
nothing here reads) and run three times as many commands. Each script is safe to run twice: a message that
another step has deleted belongs to that step.
"""

import pickle
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stemdrop.domain.queues import QUEUE_OF, Task
from stemdrop.storage.keys import TASK_RECORD, TASK_STREAM

_NO_KWARGS = pickle.dumps({})

# KEYS: the stream, the task's record. ARGV: the time, and the fields of the task's message.
ADD_TASK = """
local function add_task(stream, record, now, message)
  local found = redis.call('HMGET', record, 'known', 'state')
  if found[1] or found[2] == 'running' then return 0 end
  if found[2] then redis.call('DEL', record) end  -- of an ended task, by an earlier version
  redis.call('XADD', stream, '*', unpack(message))
  redis.call('HSET', record, 'known', now)
  return 1
end
"""
ADD = f"{ADD_TASK} return add_task(KEYS[1], KEYS[2], ARGV[1], {{unpack(ARGV, 2)}})"

END = """
-- KEYS: the stream, the task's record   ARGV: the stream's group, the message
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if redis.call('XDEL', KEYS[1], ARGV[2]) == 1 then redis.call('DEL', KEYS[2]) end
"""

PUT_OFF = """
-- KEYS: the stream, the task's record, the tasks that are put off, where the task's message waits
-- ARGV: the stream's group, the message, the task's key, when it is due, why, and the fields of its message
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if redis.call('XDEL', KEYS[1], ARGV[2]) == 0 then return end
redis.call('HSET', KEYS[2], 'known', ARGV[4], 'why', ARGV[5])
redis.call('HSET', KEYS[4], unpack(ARGV, 6))
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[3])
"""

MOVE_DUE = """
-- KEYS: the tasks that are put off, the stream   ARGV: the time, what precedes a key where its message waits
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 100)) do
  local message = redis.call('HGETALL', ARGV[2] .. key)
  if #message > 0 then
    redis.call('XADD', KEYS[2], '*', unpack(message))
    redis.call('DEL', ARGV[2] .. key)
  end
  redis.call('ZREM', KEYS[1], key)
end
"""

TAKE_TURN = """
-- KEYS: the turn to do a piece of periodic work   ARGV: a process, for how many ms it takes it
-- returns 0 if the process has it now, or the ms until it is free
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return math.max(1, redis.call('PTTL', KEYS[1])) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0
"""
KEEP_TURN = """
-- KEYS: the turn   ARGV: the process that has it, for how many ms more
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
"""


@dataclass(frozen=True, slots=True)
class PutOff:
    """After how many seconds a task is to be run again, and why, which `stemdrop status` shows.

    The engine counts consecutive failures (`is_failure`); a planned wait ends their count.
    """

    after_s: float
    why: str
    is_failure: bool = False


def addition(task: Task, key: str, argument: str) -> tuple[list[str], list[Any]]:
    """Return the keys and arguments of `ADD`; `key` must be unique among tasks of this kind."""
    queue, name, now = QUEUE_OF[task].value, f"{task.value}:{key}", time.time()
    keys = [TASK_STREAM.format(queue), TASK_RECORD.format(queue, name)]
    return keys, [now, *message(name, task.value, argument, now)]


def message(key: str, task: str, argument: str, due_at: float, attempt: int = 1) -> list[Any]:
    """Return the fields of a task's message and their values, as pydocket reads them."""
    when = datetime.fromtimestamp(due_at, UTC).isoformat()
    fields: dict[str, Any] = {
        "key": key,
        "when": when,
        "function": task,
        "args": pickle.dumps((argument,)),
        "kwargs": _NO_KWARGS,
        "attempt": attempt,
        "generation": 0,  # the library's count of a key's runs, which `XDEL` makes superfluous
    }
    return [it for field in fields.items() for it in field]
