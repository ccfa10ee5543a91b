"""Wrong set-ups, each really set up: what is spoiled, which line of the doctor must tell, and its advice.

They are in the `ailing_…` modules, one a subject.
"""

import ailing_address
import ailing_api
import ailing_machine
import ailing_processes
import ailing_redis
import ailing_settings
import ailing_telegram
from ailment import Ailment, ailments_of

# In the order of the doctor's subjects.
AILMENTS: list[Ailment] = [
    *ailments_of(ailing_settings),
    *ailments_of(ailing_redis),
    *ailments_of(ailing_telegram),
    *ailments_of(ailing_api),
    *ailments_of(ailing_address),
    *ailments_of(ailing_machine),
    *ailments_of(ailing_processes),
]
