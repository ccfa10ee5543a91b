"""What can go wrong in an engine; the texts may be shown to a person.

Errors::

    EngineError                 the engine failed
    └── UnreadableSourceError   the file is at fault: no audio, damaged, too long
"""


class EngineError(Exception):
    """An engine could not do its work; the text may be shown to a person."""


class UnreadableSourceError(EngineError):
    """The source is no audio, or none that this service takes."""
