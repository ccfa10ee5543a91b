"""Wrong set-ups, each really set up: what is spoiled, which line of the doctor must tell, and its advice.

They are in the `ailing_…` modules, one a subject.
"""

import misconfigured_address
import misconfigured_api
import misconfigured_machine
import misconfigured_processes
import misconfigured_redis
import misconfigured_settings
import misconfigured_telegram
from misconfiguration import Misconfiguration, ailments_of

# In the order of the doctor's subjects.
AILMENTS: list[Misconfiguration] = [
    *ailments_of(misconfigured_settings),
    *ailments_of(misconfigured_redis),
    *ailments_of(misconfigured_telegram),
    *ailments_of(misconfigured_api),
    *ailments_of(misconfigured_address),
    *ailments_of(misconfigured_machine),
    *ailments_of(misconfigured_processes),
]
