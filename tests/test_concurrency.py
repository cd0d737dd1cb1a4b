"""Writers and readers on one lake at once: a quick sample of ``tests/side_by_side.py``."""

from __future__ import annotations

from side_by_side import as_page, put_on_page, run


def test_no_writer_fails_no_commit_is_lost_and_maplakes_readers_see_whole_sessions(tmp_path):
    # One test, as each worker of pytest would do all of it again.
    figures = run(tmp_path, sessions=2, again=1)
    assert figures["writers_failed"] == 0, figures["messages"]
    assert figures["same_bytes_as_serial"]
    assert figures["left_behind"] == 0
    assert figures["check_findings"] == 0
    ours = figures["readers"]["maplake"]
    assert ours["queries"] > 0
    assert ours["errors"] == []
    assert ours["half"] == 0
    page = tmp_path / "page.md"
    put_on_page(page, "former figures")
    put_on_page(page, as_page(figures))
    text = page.read_text(encoding="utf-8")
    assert "former figures" not in text
    assert text.count("concurrency:begin") == 1
    assert "same bytes as by one process: yes" in text
