# SPDX-License-Identifier: Apache-2.0
"""The how-to pages for company primaries show what their commands print."""

from pathlib import Path

import pytest

from tests import companies, examples


@pytest.mark.parametrize("page", companies.PAGES)
def test_the_steps_of_the_page_work(page: str, tmp_path: Path) -> None:
    text, said = companies.play(page, tmp_path)
    assert companies.comparable(said) == companies.comparable(text), f"python -m tests.companies {page}"
    assert "Traceback" not in said


def test_every_page_is_tested() -> None:
    assert companies.PAGES.keys() <= examples.SPECIAL
