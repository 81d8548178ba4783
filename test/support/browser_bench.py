"""Pages in a real browser: headless Chromium, driven by a script that is put into a copy of the page."""

import json
import re
import shutil
import subprocess

import pytest


def driven(page, script, size, profile):
    """What the script wrote as JSON into an element `result`: of a window of size "W,H", without an error or overflow.

    script: HTML for the page's head; it gives `faults` and `overflow`. Skips where there is no Chromium.
    """
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    copy = page.with_name(f"driven_{page.name}")
    copy.write_text(page.read_text(encoding="utf-8").replace("<head>", "<head>" + script, 1), encoding="utf-8")
    run = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom",
         "--enable-logging=stderr", f"--window-size={size}", "--virtual-time-budget=8000", copy.as_uri()],
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    seen = json.loads(re.search(r'<pre id="result">(.*?)</pre>', run.stdout, re.DOTALL)[1])
    assert seen["faults"] == []
    assert "CONSOLE" not in run.stderr
    assert seen["overflow"] <= 0
    return seen
