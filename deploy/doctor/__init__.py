"""`chaintrue doctor`: everything that a deployment stands on, looked at one by one; a failure ends nothing but its own check."""

from deploy.doctor.checks import Check, Examination
from deploy.doctor.rounds import examine

__all__ = ["Check", "Examination", "examine"]
