"""Settings: ini file, ``.env`` beside it and environment -> one frozen ``Settings``."""

from .keys import ENVIRONMENT, KEYS
from .loading import from_mapping, load
from .types import DEMO_ADDRESS, NO_LIMITS, Plan, Settings

__all__ = [
    "DEMO_ADDRESS",
    "ENVIRONMENT",
    "KEYS",
    "NO_LIMITS",
    "Plan",
    "Settings",
    "from_mapping",
    "load",
]
