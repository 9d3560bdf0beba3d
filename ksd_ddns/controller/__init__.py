"""The controller: keeps zones as the VMIs are, at a cost proportional to the change."""

from ksd_ddns.controller.fleet import Fleet, Source
from ksd_ddns.controller.loop import Controller, Options

__all__ = ["Controller", "Fleet", "Options", "Source"]
