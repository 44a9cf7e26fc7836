"""Does this machine compute the truth? What training and evaluation compute, beside plain NumPy in float64."""

from jaxdae.verification.canary import canaries
from jaxdae.verification.checks import Outcome, run_checks
