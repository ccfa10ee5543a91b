"""Every Redis key of the stores, with its type and its lifetime in seconds.

All keys begin with `stemdrop:`. The Lua scripts use these names, too.
"""

DAY_S = 24 * 3600

PING = "stemdrop:ping"  # string: written to find out whether Redis takes writes

# Jobs
JOB = "stemdrop:job:{}"  # hash: one field per attribute of `Job`, and the fields named in `job_lists.py`
SENT = "stemdrop:job:{}:sent"  # hash: stem key → JSON of `Sent`
SENDING = "stemdrop:job:{}:sending"  # string: held by the process that sends the job's message
PACKED = "stemdrop:job:{}:packed"  # hash: name of an archive or voice message → JSON of `Sent`
SPLIT = "stemdrop:split:{}"  # string: what identifies a split → the job that pays, or has paid, for it
# sorted set: ids of jobs that wait for its result, by time; for a deleted job: the job that has its task
WAITING = "stemdrop:job:{}:waiting"
TASK = "stemdrop:task:{}"  # string: the provider's task id → job id
ONCE = "stemdrop:once:{}"  # string: an event that starts only one job → that job's id
OPEN = "stemdrop:jobs:open"  # sorted set: ids of jobs that were picked and whose end is not shown, by move
RECOVERY_DUE = "stemdrop:jobs:due:recovery"  # sorted set: open jobs by the time of the next look at them
PROGRESS_DUE = "stemdrop:jobs:due:progress"  # sorted set: the same for progress updates
FAILED = "stemdrop:jobs:failed"  # sorted set: ids of the last jobs that failed, by move
LATE = "stemdrop:jobs:late"  # sorted set: ids of jobs that ran out of time, by the time of the next poll
INCOMPLETE = "stemdrop:jobs:incomplete"  # sorted set: ids of delivered jobs that lack stems, by move
DELIVERED = "stemdrop:jobs:delivered"  # sorted set: ids of the last jobs that were delivered, by move
# longer than the provider keeps results (14 days)
JOB_LIFETIME_S = 30 * DAY_S
# The provider keeps results for this time (its documentation).
SPLIT_LIFETIME_S = 14 * DAY_S
# The holder renews it; after a crash another process may send the message this soon.
SENDING_LIFETIME_S = 9

# Dead letters: tasks that were given up, for the operator
GIVEN_UP = "stemdrop:tasks:given-up"  # hash: a task's key → JSON of `DeadLetter`
GIVEN_UP_MOST = 200
GIVEN_UP_LIFETIME_S = JOB_LIFETIME_S
TRIES = "stemdrop:tries:{}"  # string: how often a task that may be given up has failed
TRIES_LIFETIME_S = 2 * 3600

# Tasks of the engine: each key begins with the name of a queue (`domain/queues.py`)
TASK_STREAM = "{}:stream"  # stream: the tasks that wait or run
TASK_RECORD = "{}:runs:{}"  # hash: a task that waits or runs: since when, and why it was put off
TASKS_PUT_OFF = "{}:queue"  # sorted set: keys of the tasks that are put off, by when they are due
TASK_PARKED = "{}:{}"  # hash: the message of a task that is put off
TURN = "{}:turn:{}"  # string: the process that does a piece of periodic work, until it is due again

# Processes
PRESENT = "stemdrop:processes"  # hash: role and process → JSON of `Heartbeat`
# A process without a heartbeat for this long is gone.
PRESENT_LIFETIME_S = 60

# Probes of `stemdrop doctor`
PROBE = "stemdrop:probe:{}"  # string: a webhook answers this probe once
PROBE_LIFETIME_S = 60

# Accounts: a user's, or a group's for jobs that belong to no single user
OF_ACCOUNT = "stemdrop:account:{}:jobs"  # sorted set: ids of its jobs, by creation
FLIGHT = "stemdrop:account:{}:flight"  # sorted set: ids of its jobs in progress, by begin
QUEUE = "stemdrop:account:{}:queue"  # sorted set: ids of its jobs that wait for these, by pick
SPENT = "stemdrop:account:{}:{}"  # hash: of one day (UTC, ISO): job id → credits held or settled
SPENT_OF = "stemdrop:job:{}:spent"  # string: of a deleted job: the key of the day that has its credits
CALLS_OF = "stemdrop:job:{}:calls"  # string: of a deleted job: ids of its create calls, if one had no result
SPENT_LIFETIME_S = 8 * DAY_S

# Users and groups
USER = "stemdrop:user:{}"  # hash: the fields of `Person` that were set
ADMINS = "stemdrop:people:admins"  # set: user ids
ALLOWED = "stemdrop:people:allowed"  # set: user and chat ids that an admin let in
ADMIN_LINK = "stemdrop:people:admin-link"  # string: the one-time word that makes the first admin
ADMIN_LINK_USED = "stemdrop:people:admin-link:used"  # string: the id of the admin whom it made, and the word
INVITATION = "stemdrop:people:invitation:{}"  # string: a one-time word → the admin who invited
REQUEST = "stemdrop:people:request:{}"  # hash: `AccessRequest`, and admin id → message that asks that admin
REQUESTS = "stemdrop:people:requests"  # sorted set: ids of strangers who wait for an admin, by time
REQUESTS_OF_DAY = "stemdrop:people:requests:{}"  # string: how many strangers asked on a day (UTC, ISO)
REQUESTS_UNSEEN = "stemdrop:people:requests:unseen:{}"  # set: strangers of whom this admin could not be told
CHAT = "stemdrop:chat:{}"  # hash: a group's settings
ALBUM = "stemdrop:album:{}"  # hash: songs that were sent together, and their menu
ALBUMS_OF = "stemdrop:account:{}:albums"  # set: the albums that one account has sent or asked for
ALBUM_LIFETIME_S = 7 * DAY_S
RECEIVING = "stemdrop:chat:{}:receiving"  # sorted set: ids of jobs whose stems are being sent there, by move
OBSTRUCTED = (
    "stemdrop:chat:{}:obstructed"  # sorted set: ids of jobs whose stems could not be sent there, by move
)
PROGRESS = "stemdrop:chat:{}:progress"  # string: when a progress update was last sent to the group
ONCE_IN_A_WHILE = "stemdrop:throttle:{}"  # string: what must not be done again so soon, such as a message
INVITATION_LIFETIME_S = 7 * DAY_S
REQUEST_LIFETIME_S = 7 * DAY_S
REFUSAL_LIFETIME_S = 30 * DAY_S
COUNTED = "stemdrop:counted:{}"  # string: an update or a tap → JSON of the numbers that its answer names
# longer than an update is retried
COUNTED_LIFETIME_S = 2 * DAY_S
# A delivery that takes longer is in trouble; progress updates no longer leave the chat to it.
RECEIVING_LIFETIME_S = 300
# A group takes 20 messages a minute; progress updates of all its jobs use one of them.
PROGRESS_LIFETIME_S = 60

# The stem cache
KEPT = "stemdrop:kept:{}"  # string: JSON of the stems of one audio and mode
KEPT_OF = "stemdrop:user:{}:kept"  # sorted set: keys of the entries from one account's jobs, by time
KEPT_ALL = "stemdrop:kept"  # sorted set: keys of all entries, by time
KEPT_LIFETIME_S = 180 * DAY_S

# Remixes
REMIX = "stemdrop:remix:{}"  # hash: `Remix`, and what has arrived in the chat
REMIXES_OPEN = "stemdrop:remixes:open"  # sorted set: ids of all open remixes, by order
REMIXES_OF = "stemdrop:user:{}:remixes"  # sorted set: ids of one user's open remixes, by order
ALL_REMIXES_OF = "stemdrop:user:{}:remixes:all"  # sorted set: ids of one user's remixes, by order
DESK = "stemdrop:job:{}:desk"  # hash: user id → JSON of the `Draft` that this user is setting
DESKS_OF = "stemdrop:user:{}:desks"  # sorted set: jobs on whose desks this user has set something, by time
ORDERS_OF = "stemdrop:user:{}:remixes:orders"  # hash: what one user ordered → the tap that ordered it
REMIXED = "stemdrop:remixed:{}"  # hash: of one audio and mode: a recipe's digest → JSON of `Sent`
REMIX_LIFETIME_S = 2 * DAY_S

# Limits of users
LIMIT = "stemdrop:limit:{}:{}"  # hash: the token bucket of what a user asks for
# longer than any bucket needs to fill
LIMIT_LIFETIME_S = 300

# Job statistics
USED = "stemdrop:instruments:used"  # sorted set: instrument → how often it was picked
PACE = "stemdrop:pace:{}"  # list: seconds of the last jobs of a mode, newest first

# The providers
ABILITIES = "stemdrop:abilities:{}"  # string: host → JSON of what it can do, by its last answer
CIRCUIT = (
    "stemdrop:circuit:{}"  # hash: a provider's failures since its last success, and when it was first opened
)
CIRCUIT_OPEN = "stemdrop:circuit:{}:open"  # string: why a provider is not asked now; it expires
CIRCUIT_LIFETIME_S = 2 * 3600
CALL = "stemdrop:call:{}"  # hash: one create call: job, provider, price, task, outcome
CALL_SOURCE = "stemdrop:call:{}:source"  # string: its link to the song, while the call may be sent again
CALL_OF_TASK = "stemdrop:task:{}:call"  # string: the provider's task id → its create call
LEDGER = "stemdrop:calls"  # sorted set: all create calls by time, which `stemdrop jobs ledger` lists
CALL_LIFETIME_S = 400 * DAY_S

# Counters of all processes
COUNTS = "stemdrop:counts"  # hash: a metric with its labels → number, since the first start
# hash: the counters as they were before a slot of time, which is Unix time divided by its length
COUNTS_BEFORE = "stemdrop:counts:before:{}"
COUNTS_SLOT_S = 300
COUNTS_BEFORE_LIFETIME_S = 3600 + 2 * COUNTS_SLOT_S

# Telegram's flood limits
FLOOD = "stemdrop:flood:full:{}"  # string: when the token bucket of a chat, or of `all` chats, will be full
FLOOD_PAUSE = "stemdrop:flood:pause"  # string: when the pause that Telegram asked for began, and its seconds
