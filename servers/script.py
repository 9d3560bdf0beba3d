# SPDX-License-Identifier: Apache-2.0
"""The script: steps that show what works with a server, each with an effect that the server is asked about."""

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from typing import Any

from harness.hostile import Proxy, is_update, once_before, only
from harness.servers import Answer, NotServing, Port
from harness.vmis import vmi
from ksd_ddns.errors import KsdError
from ksd_ddns.primary import keys
from ksd_ddns.primary.connection import Server as Address
from ksd_ddns.primary.keys import RotatingKey
from ksd_ddns.primary.notify import Listener
from ksd_ddns.primary.session import Peer, Session
from ksd_ddns.wire import names
from servers import ksd
from servers.outcome import Outcome, Step, Verdict
from servers.trial import ALLOWED, Candidate, Shape, Trial, in_environment

SETTLE_SECONDS = 1.5
NOTIFY_SECONDS = 10.0
MANY = 300

_OURS = '"heritage=ksd-ddns,owner=default,vmi=other/db"'


class StepFailed(Exception):
    """A step did not work; the text says what happened instead."""


def outcomes(candidate: Candidate, wanted: Collection[Step] = tuple(Step)) -> Iterator[tuple[Step, Outcome]]:
    """Run the `wanted` steps of the script against `candidate`; yield the outcome of each."""
    added = Verdict.NOT_APPLICABLE
    for shape, script in _SCRIPT.items():
        steps = {step: run for step, run in script.items() if step in wanted}
        if not steps:
            continue
        if shape is Shape.KERBEROS and candidate.negotiates:
            yield Step.GSS, Outcome(added)
            continue
        if shape not in candidate.shapes:
            yield from ((step, Outcome(Verdict.NOT_APPLICABLE)) for step in steps)
            continue
        with contextlib.ExitStack() as stack:
            port = Port.reserve()
            stack.callback(port.release)
            try:
                trial = stack.enter_context(candidate.open(shape, port.number))
            except NotServing as e:
                yield from ((step, Outcome(Verdict.NO, _line(str(e)))) for step in steps)
                continue
            in_environment(trial)
            stopped: Outcome | None = None
            for step, run in steps.items():
                outcome = stopped if stopped and step is not Step.AXFR else _outcome(run, trial, port.number)
                yield step, outcome
                added = outcome.verdict if step is Step.ADD and shape is Shape.PLAIN else added
                if step is Step.ADD and outcome.verdict is Verdict.NO:
                    stopped = outcome  # the other steps need names


def _outcome(run: "_Run", trial: Trial, port: int) -> Outcome:
    try:
        note = run(trial, port)
    except (StepFailed, KsdError, NotServing, TimeoutError) as e:
        return Outcome(Verdict.NO, _line(_portless(str(e), trial)))
    return Outcome(Verdict.YES, note or "")


def _line(text: str) -> str:
    """Return the beginning of `text` as the cell of a table."""
    line = " ".join(text.split()).replace("|", "/")
    return line if len(line) <= 300 else f"{line[:297]}..."


# Steps


def _check(trial: Trial, _: int) -> None:
    done = ksd.run(trial.settings, "check", vmis=[_db("10.1.0.9", "fd00::9")])
    _require(done.code == 0, _portless(done.failures, trial))


def _add(trial: Trial, _: int) -> None:
    wanted = [_db("10.1.0.9", "fd00::9")]
    _apply(trial, wanted)
    _answers(trial, "net1.db.prod", "A", "10.1.0.9")
    _answers(trial, "net1.db.prod", "AAAA", "fd00::9")
    again = ksd.run(trial.settings, "plan", "--exit-code", vmis=wanted)
    _require(again.code == 0, f"after apply: {_portless(again.summary, trial)}")


def _change(trial: Trial, _: int) -> None:
    _apply(trial, [_db("10.1.0.12", "fd00::12")])
    _answers(trial, "net1.db.prod", "A", "10.1.0.12")
    _answers(trial, "net1.db.prod", "AAAA", "fd00::12")


def _change_ttl(trial: Trial, _: int) -> None:
    _apply(trial, [_db("10.1.0.12", "fd00::12", ttl="30")])
    ttl = trial.server.ttl(f"net1.db.prod.{trial.base}", "A")
    _require(ttl == 30, f"the TTL is {ttl}, not 30")


def _delete(trial: Trial, _: int) -> None:
    _apply(trial, [])
    _answers(trial, "net1.db.prod", "A")


def _many(trial: Trial, _: int) -> None:
    wanted = [vmi(f"vm{i}", "prod", {"net1": [f"10.2.{i >> 8}.{i & 255}"]}) for i in range(MANY // 2)]
    _apply(trial, wanted)
    _answers(trial, f"net1.vm{MANY // 2 - 1}.prod", "A", f"10.2.{(MANY // 2 - 1) >> 8}.{(MANY // 2 - 1) & 255}")
    _apply(trial, [])


def _conflict(trial: Trial, _: int) -> None:
    _foreign(trial, f"update add net1.taken.prod.{trial.base} 60 A 192.0.2.9")
    done = ksd.run(trial.settings, "apply", vmis=[vmi("taken", "prod", {"net1": ["10.1.0.9"]})])
    _require_conflict(trial, "taken", done)


def _race(trial: Trial, _: int) -> None:
    script = f"update add net1.raced.prod.{trial.base} 60 A 192.0.2.9"
    before_update = only(is_update, once_before(lambda: _foreign(trial, script)))
    with Proxy(trial.server, request=before_update) as proxy:
        settings = {**trial.settings, "DNS_SERVER": str(proxy.address)}
        done = ksd.run(settings, "apply", vmis=[vmi("raced", "prod", {"net1": ["10.1.0.9"]})])
    _require_conflict(trial, "raced", done)


def _require_conflict(trial: Trial, name: str, done: ksd.Done) -> None:
    """Require that the name of the interface has the address of others, and that of the VM ours."""
    _answers(trial, f"net1.{name}.prod", "A", "192.0.2.9")
    _answers(trial, f"{name}.prod", "A", "10.1.0.9")
    _require(done.code == 1 and "conflict" in done.out, _portless(done.summary, trial))
    _foreign(trial, f"update delete net1.{name}.prod.{trial.base} A")
    _apply(trial, [])


def _axfr(trial: Trial, _: int) -> None:
    with _session(trial) as session:
        session.read(names.from_text(trial.zone))


def _ixfr(trial: Trial, _: int) -> None:
    zone = names.from_text(trial.zone)
    wanted = [vmi(f"vm{i}", "prod", {"net1": [f"10.2.0.{i}"]}) for i in range(100)]
    _apply(trial, wanted)
    with _session(trial) as session:
        serial = session.serial(zone)
        # The same session must have read the zone: it asks for changes only where it read the serial.
        session.transfer(zone)
        _apply(trial, [*wanted[:-1], vmi("vm99", "prod", {"net1": ["10.3.0.99"]})])
        session.transfer(zone, serial)
        changes = session.transfers["ixfr", "success"]
    _apply(trial, [])
    _require(changes == 1, "the server answers with the full zone")


def _refused(trial: Trial, _: int) -> None:
    if trial.environment:
        # A name of another account, with our ownership record.
        name = f"net1.db.other.{trial.base}"
        _foreign(trial, f"update add {name} 60 A 192.0.2.9\nupdate add {name} 60 TXT {_OURS}")
    wanted = [_db("10.1.0.9"), vmi("db", "other", {"net1": ["10.1.0.10"]})]
    done = ksd.run(trial.settings, "apply", vmis=wanted)
    _answers(trial, f"net1.db.{ALLOWED}", "A", "10.1.0.9")
    _require("refused" in done.out and done.code == 1, _portless(done.summary, trial))


def _notify(trial: Trial, port: int) -> None:
    path = trial.server.key_file
    key = RotatingKey("the key", lambda: keys.read_key_file(path), [path])
    reported = threading.Event()
    listener = Listener(Address("127.0.0.1", port), primaries=(), keys=[key], received=lambda _: reported.set())
    listener.start()
    try:
        time.sleep(SETTLE_SECONDS)  # the server may report that it started
        reported.clear()
        _apply(trial, [_db("10.1.0.9")])
        _require(reported.wait(NOTIFY_SECONDS), f"no NOTIFY with a valid signature within {NOTIFY_SECONDS:g} s")
    finally:
        listener.close()


def _all_steps(trial: Trial, port: int) -> None:
    for step in (_check, _add, _change, _change_ttl, _delete):
        step(trial, port)


_Run = Callable[[Trial, int], str | None]
_SCRIPT: dict[Shape, dict[Step, _Run]] = {
    Shape.PLAIN: {
        Step.CHECK: _check,
        Step.ADD: _add,
        Step.CHANGE: _change,
        Step.TTL: _change_ttl,
        Step.DELETE: _delete,
        Step.MANY: _many,
        Step.CONFLICT: _conflict,
        Step.RACE: _race,
        Step.AXFR: _axfr,
        Step.IXFR: _ixfr,
    },
    Shape.LIMITED: {Step.REFUSED: _refused},
    Shape.NOTIFYING: {Step.NOTIFY: _notify},
    Shape.KERBEROS: {Step.GSS: _all_steps},
    Shape.BUNDLED: {Step.BUNDLED: _all_steps},
}


# Parts of steps


def _db(*addresses: str, ttl: str = "60") -> dict[str, Any]:
    return vmi("db", "prod", {"net1": addresses}, annotations={"ksd-ddns/ttl": ttl})


def _apply(trial: Trial, wanted: Sequence[dict[str, Any]]) -> None:
    """Apply `wanted`, of which nothing may be refused; apply itself reads the zone back."""
    done = ksd.run(trial.settings, "apply", vmis=wanted)
    _require(done.code == 0, _portless(done.summary, trial))


def _answers(trial: Trial, label: str, rdtype: str, *rdatas: str) -> None:
    found = trial.server.query(f"{label}.{trial.base}", rdtype)
    _require(found == sorted(rdatas), f"{label} {rdtype} is {found}, not {sorted(rdatas)}")


def _foreign(trial: Trial, script: str) -> Answer:
    answer = trial.update(script)
    _require(answer.returncode == 0, f"nsupdate: {answer.stderr or answer.stdout}")
    return answer


@contextlib.contextmanager
def _session(trial: Trial) -> Iterator[Session]:
    server = trial.server
    with closing(Session([Peer(Address(server.address, server.port), trial.key())], timeout=5.0)) as session:
        yield session


def _portless(text: str, trial: Trial) -> str:
    """Return `text` without the address of the server, which differs from run to run."""
    return text.replace(f"{trial.server.address}:{trial.server.port}", "the server")


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise StepFailed(text)
