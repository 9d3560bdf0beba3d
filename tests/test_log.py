# SPDX-License-Identifier: Apache-2.0
"""The log: a reader that hangs costs lines but no time, and no message can forge another."""

import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.servers import Bind, Port
from harness.vmis import vmi
from ksd_ddns.cli.log import Writer
from tests.controller.running import answer

_F_SETPIPE_SZ = 1031


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Yield both ends of a small pipe."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, _F_SETPIPE_SZ, 4096)
    yield reader, writer
    for end in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(end)


def dropped(count: int) -> str:
    return f"dropped {count}"


def read_until(reader: int, until: Callable[[bytes], bool]) -> list[str]:
    """Return the lines that arrive until `until` is true of them all."""
    found = b""
    deadline = time.monotonic() + 20
    while not until(found):
        assert time.monotonic() < deadline, found[-200:]
        found += os.read(reader, 65_536)
    return found.decode().splitlines()


def test_lines_arrive_in_order(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    writer = Writer(end, dropped)
    for number in range(5_000):
        writer.put(f"line {number}")
    lines = read_until(reader, lambda found: b"line 4999\n" in found)
    assert lines == [f"line {number}" for number in range(5_000)]
    assert writer.flush(20)


def test_lines_dropped_for_a_hanging_reader_are_counted(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    writer = Writer(end, dropped, capacity=20_000)
    began = time.monotonic()
    for number in range(50_000):
        writer.put(f"line {number}")
    assert not writer.flush(0.2)
    assert time.monotonic() - began < 10, "it waited"
    lines = read_until(reader, lambda found: b"dropped" in found)
    assert writer.flush(20)
    writer.put("the last")
    lines += read_until(reader, lambda found: b"the last\n" in found)
    kept = [line for line in lines if line.startswith("line ")]
    lost = sum(int(line.split()[1]) for line in lines if line.startswith("dropped "))
    assert len(kept) + lost == 50_000
    assert kept[0] == "line 0"
    assert len(kept) < 5_000
    assert lines[-1] == "the last"


@pytest.mark.parametrize("how", ["reader-gone", "closed"])
def test_an_unwritable_log_blocks_nothing(pipe: tuple[int, int], how: str) -> None:
    reader, end = pipe
    writer = Writer(end, dropped)
    os.close(reader if how == "reader-gone" else end)
    for number in range(1_000):
        writer.put(f"line {number}")
    assert writer.flush(20), "nothing waits for ever"


def test_logging_resumes_when_a_full_disk_has_space_again(tmp_path: Path, pipe: tuple[int, int]) -> None:
    reader, end = pipe
    full = os.open("/dev/full", os.O_WRONLY)
    descriptor = os.dup(full)
    writer = Writer(descriptor, dropped)
    for number in range(10):
        writer.put(f"line {number}")
    assert writer.flush(20)
    os.dup2(end, descriptor)
    writer.put("again")
    lines = read_until(reader, lambda found: b"again\n" in found)
    assert lines[-1] == "again"
    assert sum(int(line.split()[1]) for line in lines[:-1]) == 10
    os.close(full)
    os.close(descriptor)


def test_a_nonblocking_pipe_gets_complete_lines(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    os.set_blocking(end, False)
    writer = Writer(end, dropped)
    for number in range(3_000):
        writer.put(f"line {number}")
    time.sleep(0.1)
    lines = read_until(reader, lambda found: b"line 2999\n" in found)
    assert lines == [f"line {number}" for number in range(3_000)]


def test_threads_and_signal_handlers_can_write_at_once(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    writer = Writer(end, dropped)

    def put() -> None:
        for _ in range(1_000):
            writer.put("x" * 50)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    lines = read_until(reader, lambda found: found.count(b"\n") == 8_000)
    for thread in threads:
        thread.join()
    assert set(lines) == {"x" * 50}


# The whole program

HOSTILE = "a\x1b[31m\nb\x9b31m\u2028\u202e\udcff"

FIELDS = {
    "zone": "vm.",
    "names": 3,
    "signed": True,
    "seconds": 0.5,
    "servers": ["10.0.0.1:53", "10.0.0.2:53"],
    "error": "connection refused",
    "quoted": 'say "no"',
    "hostile": HOSTILE,
    "nothing": None,
    "empty": "",
    "time": "now",
    "level": "high",
    "message": "mine",
}

PROGRAM = f"""
import logging, sys
FIELDS = {FIELDS!r}
from ksd_ddns.cli import log
log.set_up(verbose=True, lines=LINES)
logging.getLogger("x").warning("hostile %s", {HOSTILE!r})
logging.getLogger("x").warning("too few %s %s", 1)
logging.getLogger("x").warning("update failed", extra={{"fields": FIELDS}})
print("printed", file=sys.stderr)
log.flush()
"""


def logged(*, lines: bool) -> str:
    program = PROGRAM.replace("LINES", str(lines))
    return subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, check=True).stderr.decode()


def test_a_json_line_contains_no_control_characters() -> None:
    text = logged(lines=True)
    first, bug, event, printed = text.splitlines()
    assert first.isprintable()
    assert event.isprintable()
    assert json.loads(first)["message"] == r"hostile a\x1b[31m\nb\x9b31m\u2028\u202e\udcff"
    assert json.loads(bug)["message"] == "BUG: cannot format a log line"
    assert json.loads(bug)["event"] == "too few %s %s"
    assert printed == "printed"


def test_a_text_line_contains_no_control_characters() -> None:
    first, second, *_ = logged(lines=False).split("\n")
    assert first.endswith(r"WARNING x: hostile a\x1b[31m")
    assert second == r"  b\x9b31m\u2028\u202e\udcff"


def test_fields_are_keys_of_a_json_line() -> None:
    event = json.loads(logged(lines=True).splitlines()[2])
    assert event.pop("time").endswith("+00:00")
    assert event == {
        "level": "warning",
        "logger": "x",
        "message": "update failed",
        "zone": "vm.",
        "names": 3,
        "signed": True,
        "seconds": 0.5,
        "servers": ["10.0.0.1:53", "10.0.0.2:53"],
        "error": "connection refused",
        "quoted": 'say "no"',
        "hostile": r"a\x1b[31m\nb\x9b31m\u2028\u202e\udcff",
        "nothing": None,
        "empty": "",
        "time_": "now",
        "level_": "high",
        "message_": "mine",
    }


def test_fields_are_key_value_text_on_a_terminal() -> None:
    event = next(line for line in logged(lines=False).split("\n") if "update failed" in line)
    assert event.isprintable()
    assert event.partition("WARNING x: ")[2] == (
        "update failed  zone=vm. names=3 signed=true seconds=0.5 servers=10.0.0.1:53,10.0.0.2:53 "
        r"""error="connection refused" quoted="say \"no\"" hostile="a\\x1b[31m\\nb\\x9b31m\\u2028\\u202e\\udcff" """
        'nothing=- empty="" time=now level=high message=mine'
    )


def settings_for(bind: Bind, status: Port) -> dict[str, str]:
    return {
        **os.environ,
        "DNS_SERVER": f"{bind.address}:{bind.port}",
        "TSIG_KEY_FILE": str(bind.key_file),
        "OWNER_ID": "test",
        "STATUS_ADDRESS": f"127.0.0.1:{status.number}",
    }


def until(condition: Callable[[], object], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("how", ["stuck", "reader-gone", "closed"])
def test_a_controller_works_and_exits_regardless_of_the_reader_of_its_log(
    bind: Bind, tmp_path: Path, pipe: tuple[int, int], how: str
) -> None:
    reader, end = pipe
    source = tmp_path / "vmis.json"

    def put(address: str) -> None:
        # Each unpublishable name is logged: together more than the pipe can hold.
        bad = [vmi(f"bad-{number}", "prod", {"net1": ["no address at all"]}) for number in range(50)]
        new = tmp_path / "new.json"
        new.write_text(json.dumps({"kind": "List", "items": [vmi("db", "prod", {"net1": [address]}), *bad]}))
        new.replace(source)

    put("10.1.0.1")
    status = Port.reserve()
    command = [sys.executable, "-m", "ksd_ddns", "run", "--from", str(source)]
    if how == "closed":
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    os.set_blocking(end, True)
    if how == "stuck":
        os.set_blocking(end, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(end, b"x" * 4096)
        os.set_blocking(end, True)
    process = subprocess.Popen(command, env=settings_for(bind, status), stdout=subprocess.DEVNULL, stderr=end)
    try:
        if how == "reader-gone":
            os.close(reader)
        for number in range(1, 20):
            put(f"10.1.0.{number}")
            wanted = [f"10.1.0.{number}"]
            assert until(lambda wanted=wanted: answer(bind, "net1.db.prod.vm.", "A") == wanted), number  # type: ignore[misc]
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        status.release()


def test_the_last_lines_are_written_before_exit(bind: Bind, tmp_path: Path) -> None:
    status = Port.reserve()
    source = tmp_path / "vmis.json"
    source.write_text(json.dumps({"kind": "List", "items": []}))
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ksd_ddns", "run", "--from", str(source)],
            env=settings_for(bind, status),
            stderr=file,
        )
    try:
        assert until(lambda: '"running' in log.read_text())
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        status.release()
    assert re.search(r'"message": "(ended|shutdown complete)[^\n]*\n\Z', log.read_text())
