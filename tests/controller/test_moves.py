# SPDX-License-Identifier: Apache-2.0
"""A change of INTERFACE_NAME and DEFAULT_NAME, with a real controller: clients always find the old or the new name."""

from pathlib import Path

import pytest

from harness import vmis
from harness.servers import Server
from tests.controller.conftest import Run
from tests.e2e.test_templates import NEW, VMS, asking, owners, pairs


@pytest.mark.parametrize("ownership", ["txt", "zone"])
def test_all_names_move_without_a_gap(primary: Server, run: Run, tmp_path: Path, ownership: str) -> None:
    file = tmp_path / "vmis.json"
    file.write_bytes(vmis.as_json(vmis.listing(VMS)))
    old, new = ({pair[index] for pair in pairs()} for index in (0, 1))
    before = run(primary, source=file, OWNERSHIP=ownership)
    before.wait_ready()
    assert owners(primary) >= old
    assert before.stop() == 0
    with asking(primary) as lost:
        after = run(primary, source=file, OWNERSHIP=ownership, UPDATE_BATCH=7, **NEW)
        after.wait(lambda: old.isdisjoint(owners(primary)), "the old names are gone")
    assert lost == []
    assert owners(primary) >= new
    assert after.problems() == {}
