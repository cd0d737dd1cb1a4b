"""Writers and readers on one lake at once: a quick sample of ``tests/side_by_side.py``."""

from __future__ import annotations

import pytest
from side_by_side import as_page, put_on_page, run


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return run(tmp_path_factory.mktemp("side"), sessions=2, again=1)


def test_no_writer_fails_and_no_commit_is_lost(figures):
    assert figures["writers_failed"] == 0, figures["messages"]
    assert figures["same_bytes_as_serial"]
    assert figures["left_behind"] == 0
    assert figures["check_findings"] == 0


def test_readers_see_whole_sessions_and_no_error(figures):
    ours = figures["readers"]["maplake"]
    assert ours["queries"] > 0
    assert ours["errors"] == []
    assert ours["half"] == 0


def test_the_page_is_written_anew(figures, tmp_path):
    page = tmp_path / "page.md"
    put_on_page(page, "former figures")
    put_on_page(page, as_page(figures))
    text = page.read_text(encoding="utf-8")
    assert "former figures" not in text
    assert text.count("concurrency:begin") == 1
    assert "same bytes as by one process: yes" in text
