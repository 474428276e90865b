"""Send one campaign without an installation: the same plan, ledger and lane, over a state file.

The state is an SQLite database with one account, one list, one sender and one campaign. Running the same
campaign with the same state again continues where it stopped, however it stopped.
"""

from .preparation import BadRows
from .standalone_campaign import StandaloneCampaign, StandaloneProgress
from .standalone_request import StandaloneRequest
from .state_file import open_standalone_campaign, remove_state

__all__ = [
    "BadRows",
    "StandaloneCampaign",
    "StandaloneProgress",
    "StandaloneRequest",
    "open_standalone_campaign",
    "remove_state",
]
