"""The errors of an engine, with messages for users.

EngineError                 the engine failed
└── UnreadableSourceError   the file is at fault: no audio, damaged, too long
"""

import errno

# The disk is full or away: the same may succeed later.
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ENOENT})


class EngineError(Exception):
    """The engine failed."""


class UnreadableSourceError(EngineError):
    """The source is not audio, is damaged or is too long."""


class ModelError(Exception):
    """A model is missing, damaged or not the one expected; the message says what to do."""
