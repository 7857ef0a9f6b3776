"""All patterns of apps in several regions in one run; each file is a scenario by itself, too."""

from caches import CacheHit, CacheMiss, Session
from jobs import Jobs
from mixed import Visit
from n_plus_one import NPlusOne
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
    "CreateAndShow",
    "CreateAndShowForgetful",
    "DoubleEffect",
    "Jobs",
    "NPlusOne",
    "OnPrimary",
    "Session",
    "Staleness",
    "Uploads",
    "Visit",
    "WriteOnGet",
]
