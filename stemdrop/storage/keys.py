"""Every key of the stores in Redis, with its form and its lifetime in seconds.

The scripts (`scripts.py`) write the same names. All begin with `stemdrop:`. The engine's begin
with its queue's name; the flood limiter's are in `flood.py`.
"""

DAY_S = 24 * 3600

# Jobs
JOB = "stemdrop:job:{}"  # hash: one field per attribute of `Job`, and the counters of `store.py`
SENT = "stemdrop:job:{}:sent"  # hash: stem key → JSON of `Sent`
SENDING = "stemdrop:job:{}:sending"  # string: somebody sends the job's message now
PACKED = "stemdrop:job:{}:packed"  # hash: what was made of its stems → JSON of `Sent`
TASK = "stemdrop:task:{}"  # string: the provider's task id → job id
ONCE = "stemdrop:once:{}"  # string: what may start only one job → that job's id
OPEN = "stemdrop:jobs:open"  # sorted set: ids of jobs that were picked and whose end is not shown, by move
FAILED = "stemdrop:jobs:failed"  # sorted set: ids of the last jobs that failed, by move
LATE = "stemdrop:jobs:late"  # sorted set: ids of jobs that ran out of time, by when to ask for them again
INCOMPLETE = "stemdrop:jobs:incomplete"  # sorted set: ids of delivered jobs that lack stems, by move
DELIVERED = "stemdrop:jobs:delivered"  # sorted set: ids of the last jobs that were delivered, by move
# longer than the provider keeps results (14 days)
JOB_LIFETIME_S = 30 * DAY_S
# unless it is renewed: who dies while sending is followed then
SENDING_LIFETIME_S = 9

# Tasks that were given up, for the operator
GIVEN_UP = "stemdrop:tasks:given-up"  # hash: a task's key → JSON of `Letter`, of the last so many
GIVEN_UP_MOST = 200
GIVEN_UP_LIFETIME_S = JOB_LIFETIME_S
TRIES = "stemdrop:tries:{}"  # string: how often a task has failed that may come to be given up
TRIES_LIFETIME_S = 2 * 3600

# Processes of ours
PRESENT = "stemdrop:processes"  # hash: a process and role → JSON of `Presence`
# who has said nothing for so long is gone
PRESENT_LIFETIME_S = 60

# Probes of `stemdrop doctor`
PROBE = "stemdrop:probe:{}"  # string: a webhook may be asked for this, once
PROBE_LIFETIME_S = 60

# Accounts: a user's, or a group's where nobody in particular asked
OF_ACCOUNT = "stemdrop:account:{}:jobs"  # sorted set: ids of its jobs, by creation
FLIGHT = "stemdrop:account:{}:flight"  # sorted set: ids of its jobs that are under way
QUEUE = "stemdrop:account:{}:queue"  # sorted set: ids of its jobs that wait for those, by pick
SPENT = "stemdrop:account:{}:{}"  # hash: of one day (UTC, ISO): job id → credits held or settled
SPENT_LIFETIME_S = 8 * DAY_S

# People and groups
USER = "stemdrop:user:{}"  # hash: name, language, telegram_language, daily_credits
ADMINS = "stemdrop:people:admins"  # set: user ids
ALLOWED = "stemdrop:people:allowed"  # set: user and chat ids that an admin let in
ADMIN_LINK = "stemdrop:people:admin-link"  # string: the one-time word that makes the first admin
ADMIN_LINK_USED = "stemdrop:people:admin-link:used"  # string: the word and whom it has just made the admin
INVITATION = "stemdrop:people:invitation:{}"  # string: a one-time word → the admin who invited
CHAT = "stemdrop:chat:{}"  # hash: a group's settings
ONCE_IN_A_WHILE = "stemdrop:throttle:{}"  # string: what is not to be said again so soon
INVITATION_LIFETIME_S = 7 * DAY_S
COUNTED = "stemdrop:counted:{}"  # string: an update or a tap → JSON of what was there when it came
# longer than an update is handled again and again
COUNTED_LIFETIME_S = 2 * DAY_S

# The shelf: stems that Telegram keeps
KEPT = "stemdrop:kept:{}"  # string: JSON of the stems of one audio and mode
KEPT_OF = "stemdrop:user:{}:kept"  # sorted set: which of them came from one account's jobs, by time
KEPT_ALL = "stemdrop:kept"  # sorted set: all of them, by time
KEPT_LIFETIME_S = 180 * DAY_S

# What was learned from jobs
USED = "stemdrop:instruments:used"  # sorted set: instrument → how often it was picked
PACE = "stemdrop:pace:{}"  # list: seconds of the last jobs of a mode, newest first

# What is counted (`metrics.py`), over all processes
COUNTS = "stemdrop:counts"  # hash: a metric with its labels → number, since the first start
COUNTS_LATELY = "stemdrop:counts:{}"  # hash: the same of some minutes: a Unix time over the slot's length
COUNTS_SLOT_S = 300
COUNTS_LATELY_LIFETIME_S = 2 * 3600
