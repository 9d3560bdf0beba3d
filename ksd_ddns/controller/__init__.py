"""The controller: keeps a zone as its source of VMIs says, at a cost proportional to the change."""

from ksd_ddns.controller.loop import Controller, Options

__all__ = ["Controller", "Options"]
