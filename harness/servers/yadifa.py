# SPDX-License-Identifier: Apache-2.0
"""YADIFA: yadifad as a primary."""

from harness.servers.programs import server_program
from harness.servers.server import Server


class Yadifa(Server):
    """yadifad; `zone_options` are lines of its `<zone>` sections, `extra` are further sections."""

    kind = "yadifa"
    program = "yadifad"

    def _command(self) -> list[str]:
        return [server_program("yadifad"), "-c", str(self.configuration)]

    def _prepare(self) -> None:
        assert self.zones is not None, "YADIFA is never bundled: it needs `zones`"
        for name in ("keys", "logs", "xfr"):
            (self.directory / name).mkdir()
        super()._prepare()

    def _configuration(self) -> str:
        zone_options = "allow-transfer ours\nallow-update ours" if self.zone_options is None else self.zone_options
        keys = "".join(
            f"<key>\n    name {key.name}\n    algorithm {key.algorithm}\n    secret {key.secret}\n</key>\n"
            for key in self.keys
        )
        zones = "".join(
            f"<zone>\n    type primary\n    domain {name}\n    file {self.zone_path(name).name}\n"
            f"{zone_options}\n</zone>\n"
            for name in self.zone_names
        )
        return f"""\
<main>
    daemon off
    chroot off
    logpath "{self.directory}/logs"
    pidfile "{self.directory}/yadifad.pid"
    datapath "{self.directory}"
    keyspath "{self.directory}/keys"
    xfrpath "{self.directory}/xfr"
    user root
    group root
    listen {self.address} port {self.port}
    statistics off
    allow-query any
    allow-update none
    allow-transfer none
    allow-notify none
    allow-control none
    {self.options}
</main>
<rrl>
    enabled false
</rrl>
<channels>
    stderr STDERR
</channels>
<loggers>
    system,server,zone,database EMERG,ALERT,CRIT,ERR,WARNING,NOTICE,INFO stderr
</loggers>
{keys}
<acl>
    ours key {self.keys[0].name}
</acl>
{self.extra}
{zones}"""

    def reload(self) -> None:
        """Do nothing: the tests change no files of this server."""

    def flush(self) -> None:
        """Do nothing: the tests read no files of this server."""
