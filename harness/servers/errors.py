"""What goes wrong with a server of the tests."""


class NotServing(AssertionError):
    """The server did not come up, or a command against it failed."""


class PortTaken(NotServing):
    """Another process uses the port."""
