"""The machine on which the cases that are validated against were recorded."""

from sharesim.spec.scenario import Costs

COSTS = Costs(profile="linux-6.18")
CPUS = 2
HZ = 250
NICE_5 = 335
"""The weight of ksmd, which runs at nice 5, where 1024 is that of an ordinary process."""
