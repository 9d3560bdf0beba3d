# SPDX-License-Identifier: Apache-2.0
"""Key files in common formats, and every algorithm against real servers; no error shows a secret."""

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.servers import Key, Server, program
from harness.vmis import vmi
from ksd_ddns.errors import SettingsError
from ksd_ddns.primary import keys
from tests.e2e.command import Command, settings_of

SECRET = base64.b64encode(b"these octets are never shown").decode()
SLASHES = base64.b64encode(b"\xff\xff\xff" * 8).decode()  # ////...: two slashes begin a comment, outside of quotes


def written(directory: Path, text: str | bytes) -> Path:
    """Write a key file."""
    path = directory / "the.key"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# Files


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f'key "ksd" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n', id="tsig-keygen"),
        pytest.param(f"key ksd {{ algorithm hmac-sha256; secret {SECRET}; }};", id="one-line-without-quotes"),
        pytest.param(f'key "ksd."{{algorithm "hmac-sha256";secret "{SECRET}";}};', id="few-spaces"),
        pytest.param(f'KEY "KSD" {{ ALGORITHM HMAC-SHA256; SECRET "{SECRET}"; }};', id="upper-case"),
        pytest.param(f'key "ksd" {{ secret "{SECRET}"; algorithm hmac-sha256; }};', id="other-order"),
        pytest.param(f'key "ksd" {{ algorithm hmac-sha256.; secret "{SECRET}"; }};', id="algorithm-with-dot"),
        pytest.param(f'key "ksd" {{\r\n algorithm hmac-sha256;\r\n secret "{SECRET}";\r\n}};\r\n', id="crlf"),
        pytest.param(f'\ufeffkey "ksd" {{ algorithm hmac-sha256; secret "{SECRET}"; }};', id="byte-order-mark"),
        pytest.param(
            '// the key of ksd-ddns\n# key "old" { };\n/* key "older" {\n  secret "eA=="; }; */\n'
            f'key "ksd" {{ // its name\n algorithm hmac-sha256; # strong\n secret "{SECRET}"; /* quiet */ }};',
            id="comments",
        ),
        pytest.param(
            f'key "ksd" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n'
            'server 127.0.0.1 { keys { "ksd"; }; };\ncontrols { };\n',
            id="beside-other-statements",
        ),
    ],
)
def test_key_files_are_parsed_as_bind_parses_them(tmp_path: Path, text: str) -> None:
    key = keys.read_key_file(written(tmp_path, text))
    assert (key.name, key.algorithm) == ("ksd.", "hmac-sha256")
    assert key.sign(bytes(12))[1] == keys.key("ksd", "hmac-sha256", SECRET).sign(bytes(12))[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", ("no key clause",), id="empty"),
        pytest.param("hmac-sha256:ksd:" + SECRET, ("no key clause", "tsig-keygen"), id="the-form-of-knsupdate"),
        pytest.param(
            f'# key "ksd" {{ algorithm hmac-sha256; secret "{SECRET}"; }};', ("no key clause",), id="commented"
        ),
        pytest.param(
            f'key "a" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n'
            f'key "b" {{ algorithm hmac-sha256; secret "{SECRET}"; }};',
            ("2 key clauses", "exactly one"),
            id="two-clauses",
        ),
        pytest.param('key "ksd" { algorithm hmac-sha256; };', ("no secret",), id="no-secret"),
        pytest.param(f'key "ksd" {{ secret "{SECRET}"; }};', ("no algorithm",), id="no-algorithm"),
        pytest.param(f'key "ksd" {{ algorithm hmac-sha256; secret "{SECRET[:-2]}"; }};', ("base64",), id="cut-off"),
        pytest.param(f'key "ksd" {{ algorithm hmac-md5; secret "{SECRET}"; }};', ("MD5", "tsig-keygen -a"), id="md5"),
        pytest.param(
            f'key "ksd" {{ algorithm hmac-md5.sig-alg.reg.int; secret "{SECRET}"; }};', ("MD5",), id="md5-in-full"
        ),
        pytest.param(
            f'key "ksd" {{ algorithm none; secret "{SECRET}"; }};',
            ("TSIG algorithm is not supported", "hmac-sha512"),
            id="unknown",
        ),
        pytest.param(
            f'key "k..d" {{ algorithm hmac-sha256; secret "{SECRET}"; }};', ("k..d", "domain name"), id="name"
        ),
        pytest.param(b"\x00\xff\xfe\x80" * 20, ("not text",), id="binary"),
    ],
)
def test_an_invalid_key_file_is_an_error(tmp_path: Path, text: str | bytes, words: tuple[str, ...]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as e:
        keys.read_key_file(path)
    for word in words:
        assert word in str(e.value)
    assert SECRET[:-2] not in str(e.value)
    cause: BaseException | None = e.value
    while cause is not None:  # what a traceback would show, too
        assert SECRET[:-2] not in repr(cause)
        cause = cause.__cause__ or cause.__context__


def test_an_unreadable_key_file_is_an_error(tmp_path: Path) -> None:
    file = written(tmp_path, Key().bind())
    paths = ((tmp_path / "missing", "No such file"), (tmp_path, "Is a directory"), (file / "x", "Not a directory"))
    for path, words in paths:
        with pytest.raises(SettingsError, match=words) as e:
            keys.read_key_file(path)
        assert str(path) in str(e.value)


def test_a_key_file_without_read_permission_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, Key().bind())
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        done = Command(tmp_path, {"TSIG_KEY_FILE": str(path)})("plan", vmi=[])
        assert done.code == 2
        assert f"key file {path} cannot be read: Permission denied; check its path, owner and mode" in done.err
    else:
        pytest.skip("root reads everything")


def test_a_key_prints_only_its_name() -> None:
    key = keys.key("ksd", "hmac-sha256", SECRET)
    for text in (repr(key), str(key), f"{key}"):
        assert "ksd" in text
        assert SECRET not in text
        assert "octets are never" not in text


# Against servers


@pytest.mark.parametrize("form", ["file", "settings", "secret-file"])
def test_every_algorithm_works(make_either: Callable[..., Server], tmp_path: Path, form: str) -> None:
    every = [Key(f"key{i}.", name) for i, name in enumerate(keys.ALGORITHMS)] + [Key("slashes.", secret=SLASHES)]
    grants = " ".join(f'grant "{key.name}" zonesub ANY;' for key in every)
    may_read = " ".join(f'key "{key.name}";' for key in every)
    bind = {"zone_options": f"allow-transfer {{ {may_read} }}; update-policy {{ {grants} }};"}
    primary = make_either(zones={"vm.": ""}, keys=every, bind=bind, knot={})
    for i, key in enumerate(every):
        settings = settings_of(primary)
        secret = tmp_path / f"secret-{i}"
        secret.write_text(f"{key.secret}\n")
        if form == "file":
            settings["TSIG_KEY_FILE"] = str(key.file(primary.directory))
        else:
            del settings["TSIG_KEY_FILE"]
            settings |= {"TSIG_KEY_NAME": key.name.upper(), "TSIG_ALGORITHM": key.algorithm}
            settings |= {"TSIG_SECRET": key.secret} if form == "settings" else {"TSIG_SECRET_FILE": str(secret)}
        done = Command(tmp_path, settings)("apply", vmi=[vmi("db", "prod", {"net1": [f"10.0.0.{i}"]})])
        assert done.code == 0, done.err
        assert primary.query("db.prod.vm", "A") == [f"10.0.0.{i}"]
        weak = key.algorithm == "hmac-sha1"
        assert ("weak algorithm hmac-sha1: make a new one with tsig-keygen" in done.err) == weak
        assert bool(done.err) == weak


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
def test_files_from_tsig_keygen_are_parsed(algorithm: str, tmp_path: Path) -> None:
    text = subprocess.run(
        [program("tsig-keygen"), "-a", algorithm, "ksd.example"], capture_output=True, check=True
    ).stdout
    key = keys.read_key_file(written(tmp_path, text))
    assert (key.name, key.algorithm) == ("ksd.example.", algorithm)
