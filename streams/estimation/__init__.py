"""Facts -> statistics per variant and routing version."""

from tidegate.streams.estimation.ledger import Ledger
from tidegate.streams.estimation.moments import Moments
from tidegate.streams.estimation.plan import Measurement, Plan, plan_of
from tidegate.streams.estimation.strata import Arm, Pair
from tidegate.streams.estimation.summary import Summary
from tidegate.streams.estimation.tally import ShadowTally, Tally

__all__ = ["Arm", "Ledger", "Measurement", "Moments", "Pair", "Plan", "ShadowTally", "Summary",
           "Tally", "plan_of"]
