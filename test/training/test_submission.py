"""The archive for KITTI's test server."""

from __future__ import annotations

import zipfile

from training.submission import write_submission


def test_the_archive_holds_the_result_files_and_no_folder(tmp_path):
    results = tmp_path / "test"
    results.mkdir()
    lines = {"000000.txt": "Car -1 -1 0 1 2 3 4 1.5 1.6 3.9 1 1.7 20 0 0.9\n", "000001.txt": ""}
    for name, text in lines.items():
        (results / name).write_text(text)
    (results / "notes.md").write_text("not a result")
    path = write_submission(results)
    first = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == lines
    assert path == tmp_path / "submission.zip" and write_submission(results).read_bytes() == first
