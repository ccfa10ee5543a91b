"""The whole table of refusals."""

from refusals.destinations import CHATS
from refusals.messages import EDITS, FILES
from refusals.methods import OTHERS
from refusals.texts import BUTTONS, TEXTS

REFUSALS = [*CHATS, *TEXTS, *BUTTONS, *EDITS, *FILES, *OTHERS]
