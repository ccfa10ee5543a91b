"""All misconfigurations, in the order of the doctor's subjects; each subject has its own module."""

import misconfigured_address
import misconfigured_api
import misconfigured_machine
import misconfigured_processes
import misconfigured_redis
import misconfigured_settings
import misconfigured_telegram
from misconfiguration import Misconfiguration, misconfigurations_of

MISCONFIGURATIONS: list[Misconfiguration] = [
    *misconfigurations_of(misconfigured_settings),
    *misconfigurations_of(misconfigured_redis),
    *misconfigurations_of(misconfigured_telegram),
    *misconfigurations_of(misconfigured_api),
    *misconfigurations_of(misconfigured_address),
    *misconfigurations_of(misconfigured_machine),
    *misconfigurations_of(misconfigured_processes),
]
