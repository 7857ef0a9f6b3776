"""All patterns of apps in several regions in one run; each file is a scenario by itself, too."""

from caches import CacheHit, CacheMiss, Session
from jobs import FullQueue, Jobs
from kitchen import Kitchen
from mixed import Visit
from n_plus_one import NPlusOne
from peers import Conflicts, Lag, Tally
from sessions import Eviction, SessionMoves
from staleness import Staleness
from uploads import Uploads
from writes import (
    CreateAndShow,
    CreateAndShowForgetful,
    DoubleEffect,
    OnPrimary,
    WriteOnGet,
)

__all__ = [
    "CacheHit",
    "CacheMiss",
    "Conflicts",
    "CreateAndShow",
    "CreateAndShowForgetful",
    "DoubleEffect",
    "Eviction",
    "FullQueue",
    "Jobs",
    "Kitchen",
    "Lag",
    "NPlusOne",
    "OnPrimary",
    "Session",
    "SessionMoves",
    "Staleness",
    "Tally",
    "Uploads",
    "Visit",
    "WriteOnGet",
]
