# SPDX-License-Identifier: Apache-2.0
"""Settings -> primaries and secondaries, with their keys and TLS."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from ksd_ddns.config.fields import server
from ksd_ddns.config.settings import Settings, flag_of
from ksd_ddns.errors import SettingsError
from ksd_ddns.primary import keys
from ksd_ddns.primary.connection import Server
from ksd_ddns.primary.gss import NegotiatedKey
from ksd_ddns.primary.keys import Key, KeySource, RotatingKey
from ksd_ddns.primary.session import Peer
from ksd_ddns.primary.tls import Tls, tls
from ksd_ddns.printable import MASK, looks_secret

_HOSTNAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?\Z")


def servers(chosen: Settings) -> tuple[Server, ...]:
    """Return the primaries, in the order in which they are tried."""
    return tuple(server(text, chosen.dns_port) for text in chosen.dns_server)


def secondaries(chosen: Settings) -> tuple[Server, ...]:
    """Return the secondaries that NOTIFY is sent to."""
    return tuple(
        server(text, 53, where="NOTIFY_SECONDARIES (--notify-secondaries)") for text in chosen.notify_secondaries
    )


def peers(chosen: Settings) -> tuple[Peer, ...]:
    """Return the primaries with their keys and TLS, in the order in which they are tried.

    Raises SettingsError if no key is set, or a key or certificate cannot be read.
    """
    addresses = servers(chosen)
    updates = _update_keys(chosen, addresses)
    transfers = _keys(chosen, "transfer_tsig", len(addresses)) or updates
    return tuple(
        Peer(server, update, transfer, _tls(chosen, server))
        for server, update, transfer in zip(addresses, updates, transfers, strict=True)
    )


def _update_keys(chosen: Settings, servers: Sequence[Server]) -> Sequence[KeySource]:
    shared = _keys(chosen, "tsig", len(servers))
    if not chosen.gss_tsig:
        if not shared:
            raise SettingsError(
                "no TSIG key is set: set TSIG_KEY_FILE to a file written by tsig-keygen, or TSIG_KEY_NAME and "
                "TSIG_SECRET (or TSIG_SECRET_FILE), or GSS_TSIG=true to negotiate a key by Kerberos"
            )
        if chosen.gss_tsig_hostname:
            raise SettingsError("GSS_TSIG_HOSTNAME is set without GSS_TSIG=true: set both, or none")
        return shared
    if shared:
        raise SettingsError("GSS_TSIG=true and a TSIG key are set: set one or the other")
    hosts = chosen.gss_tsig_hostname or tuple(server.host for server in servers)
    if len(hosts) not in {1, len(servers)}:
        raise SettingsError(f"GSS_TSIG_HOSTNAME has {len(hosts)} names: one is needed, or one for each server")
    for host in hosts:
        if not _HOSTNAME.match(host) or host.replace(".", "").isdigit():
            raise SettingsError(
                f"GSS_TSIG=true: Kerberos needs the host name of the primary, and {host!r} is not one: set "
                "GSS_TSIG_HOSTNAME, or a host name in DNS_SERVER"
            )
    # One per server, even if they share a name: a server knows only the keys negotiated with it.
    return [NegotiatedKey(hosts[i % len(hosts)].rstrip(".")) for i in range(len(servers))]


def shared_keys(chosen: Settings) -> tuple[RotatingKey, ...]:
    """Return the TSIG keys that a primary may sign NOTIFY with."""
    count = len(chosen.dns_server)
    return (*_keys(chosen, "transfer_tsig", count), *_keys(chosen, "tsig", count))


def secret_files(chosen: Settings) -> tuple[Path, ...]:
    """Return the files that hold secrets."""
    files = (*chosen.tsig_key_file, *chosen.transfer_tsig_key_file)
    more = (chosen.tsig_secret_file, chosen.transfer_tsig_secret_file, chosen.dns_tls_key or chosen.dns_tls_cert)
    return tuple(dict.fromkeys(map(Path, (*files, *(file for file in more if file is not None)))))


def _tls(chosen: Settings, server: Server) -> Tls | None:
    files = {"DNS_TLS_CA": chosen.dns_tls_ca, "DNS_TLS_CERT": chosen.dns_tls_cert, "DNS_TLS_KEY": chosen.dns_tls_key}
    if not chosen.dns_tls:
        for name, value in {**files, "DNS_TLS_HOSTNAME": chosen.dns_tls_hostname}.items():
            if value is not None:
                raise SettingsError(f"{name} is set without DNS_TLS=true: nothing would be encrypted; set both")
        return None
    if chosen.dns_tls_key is not None and chosen.dns_tls_cert is None:
        raise SettingsError("DNS_TLS_KEY is set without DNS_TLS_CERT: set the certificate that it belongs to, too")
    hostname = chosen.dns_tls_hostname or server.host
    return tls(hostname, ca=chosen.dns_tls_ca, certificate=chosen.dns_tls_cert, key=chosen.dns_tls_key)


def _keys(chosen: Settings, prefix: str, count: int) -> tuple[RotatingKey, ...]:
    """Return a key for each of `count` servers, () if none is set."""
    files: tuple[Path, ...] = tuple(map(Path, getattr(chosen, f"{prefix}_key_file")))
    name: str | None = getattr(chosen, f"{prefix}_key_name")
    secret: SecretStr | None = getattr(chosen, f"{prefix}_secret")
    secret_file: Path | None = getattr(chosen, f"{prefix}_secret_file")
    text = prefix.upper()
    for setting, file in (*((f"{text}_KEY_FILE", file) for file in files), (f"{text}_SECRET_FILE", secret_file)):
        _check_path(setting, file)
    if files:
        if name or secret or secret_file:
            raise SettingsError(f"{text}_KEY_FILE and {text}_KEY_NAME or {text}_SECRET are set: set one or the other")
        if len(files) not in {1, count}:
            raise SettingsError(f"{text}_KEY_FILE names {len(files)} files: one is needed, or one for each server")
        found = [RotatingKey(f"key file {file}", partial(keys.read_key_file, file), [file]) for file in files]
        return tuple(found * count if len(found) == 1 else found)
    if name is None:
        if secret or secret_file:
            raise SettingsError(f"{text}_SECRET is set without {text}_KEY_NAME: set the name of the key, too")
        return ()
    if (secret is None) == (secret_file is None):
        raise SettingsError(f"{text}_KEY_NAME is set: exactly one of {text}_SECRET and {text}_SECRET_FILE must be, too")
    algorithm: str = getattr(chosen, f"{prefix}_algorithm")

    def load() -> Key:
        return keys.key(name, algorithm, _secret(secret, secret_file, text))

    return (RotatingKey(f"key {name}", load, [secret_file]),) * count


def _check_path(setting: str, file: Path | None) -> None:
    """Raise SettingsError without showing the value if `file` may be a secret instead of a path."""
    if file is None or _exists(file):
        return
    text = str(file)
    if looks_secret(text) or "=" in text or ("/" not in text and "." not in text):
        raise SettingsError(f"{setting} ({flag_of(setting.lower())}) = {MASK}: there is no such file; a path is needed")


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except (OSError, ValueError):  # too long to be a path
        return False


def _secret(secret: SecretStr | None, file: Path | None, prefix: str) -> str:
    if secret is not None or file is None:
        return secret.get_secret_value() if secret is not None else ""
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as e:
        reason = getattr(e, "strerror", None) or "it is not text in base64"
        raise SettingsError(f"{prefix}_SECRET_FILE: {file} cannot be read: {reason}") from None
