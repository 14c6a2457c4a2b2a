"""Layers: experiments of one never share a unit, those of different ones are independent."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from tidegate.schemas.manifest.schedule import DERIVED
from tidegate.schemas.manifest.types import Model, Name, ShareBp, Text

Slot = Annotated[tuple[int, int], Strict(False)]


class LayerShare(Model):
    """The part of a layer that an experiment takes: `share_bp` of all units.

    `salt` and `slots` (half-open ranges of the layer's buckets) are what the layer has allotted;
    `apply` asks for them and writes them here.
    """

    name: Name
    share_bp: Annotated[ShareBp, Field(alias="share", gt=0)]
    salt: Annotated[Text | None, *DERIVED] = None
    slots: Annotated[tuple[Slot, ...] | None, Strict(False), *DERIVED] = None

    @property
    def is_allotted(self) -> bool:
        """Whether the layer has said which units they are."""
        return self.salt is not None and bool(self.slots)


class LayerSpec(Model):
    """A layer: the salt its units are hashed with, by default its name."""

    salt: Text | None = None


class LayerMetadata(Model):
    """Whose layer it is."""

    name: Name
    owner: Text | None = None


class LayerModel(Model):
    """The manifest of a layer."""

    api_version: Annotated[Literal["tidegate.dev/v1"], Field(alias="apiVersion")]
    kind: Literal["Layer"]
    metadata: LayerMetadata
    spec: LayerSpec = LayerSpec()
