"""What the parts of a plan are made of: what a name, a share or a path may be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Millis = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
Path = Annotated[str, Field(pattern=r"^/[!-~]*$")]
DatabaseName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]
Slug = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$")]
AppPrefix = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]{0,30})?$")]
Variable = Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")]
ScenarioName = Annotated[str, Field(min_length=1, max_length=100)]
Environment = dict[str, str]
Http = Literal["auto", "1.1", "2"]
Scheme = Literal["", "http", "https"]


class Frozen(BaseModel):
    """Base of every part of a plan: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
