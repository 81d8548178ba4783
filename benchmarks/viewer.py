"""Open bags in a real viewer and look: python benchmarks/viewer.py --app WEB_BUILD BAG... --out DIR

The viewer is Lichtblick, the open fork of Foxglove, in headless Chromium. For each bag (mcap), with the layout that
ships here, it takes pictures of the image panel with the markers over it and of the 3D panel in base_link, at some
moments, of detections and, where the bag has them, of tracks. It fails where the viewer lists an alert, or where
markers change nothing in one of the panels. What is right about the pictures is for people to see.

Needs `pip install playwright`, Chromium (--chromium), and a web build of Lichtblick: in a clone of
github.com/lichtblick-suite/lichtblick with Node 20 or newer, `corepack enable && yarn install && yarn web:build:prod`
leaves it in web/.webpack. (Where the registry lacks the versions that its package.json files ask for, lower them.)
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import cv2
import numpy as np

from add_ros.bags.reading import open_bag, raw_messages

LAYOUT = Path(__file__).resolve().parents[1] / "config" / "foxglove.json"
_GL = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
       "--ignore-gpu-blocklist"]  # fmt: skip
_SIZE = (1100, 800)
_PATIENCE = 300  # seconds for a picture: software draws it
_LEAST_CHANGE = 5e-4  # share of a panel's pixels that markers must change
_VIEWS = {"detections": "markers", "tracks": "track_markers"}
_IMAGE = "/camera/image_rect"
_NO_ALERTS = "No alerts found"


class _Handler(SimpleHTTPRequestHandler):
    """Files below several roots, with byte ranges, which the viewer reads remote bags by."""

    protocol_version = "HTTP/1.1"
    roots: dict[str, Path]

    def translate_path(self, path: str) -> str:
        path = unquote(path.split("?")[0])
        for prefix, root in self.roots.items():
            if path.startswith(prefix):
                full = (root / (path[len(prefix) :] or "index.html")).resolve()
                if full.is_relative_to(root.resolve()):
                    return str(full)
        return "/nonexistent"

    def end_headers(self) -> None:
        for name, value in (
            ("Access-Control-Expose-Headers", "*"),
            ("Cache-Control", "no-store"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Embedder-Policy", "credentialless"),
            ("Accept-Ranges", "bytes"),
        ):
            self.send_header(name, value)
        super().end_headers()

    def do_GET(self) -> None:
        with suppress(ConnectionError):  # the viewer asks for more than it waits for
            self._answer()

    def _answer(self) -> None:
        path, wanted = Path(self.translate_path(self.path)), self.headers.get("Range")
        if not wanted or not path.is_file():
            super().do_GET()
            return
        size = path.stat().st_size
        first, last = re.match(r"bytes=(\d*)-(\d*)", wanted).groups()
        start = int(first) if first else size - int(last)
        end = min(int(last or size - 1), size - 1) if first else size - 1
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(start)
            self.wfile.write(file.read(end - start + 1))

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serve(roots: dict[str, Path]) -> Iterator[str]:
    """A server of these folders, by the first part of the address; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"roots": roots}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def layout_with(shown: str | None) -> dict[str, Any]:
    """The layout that ships, with one topic of markers alone; None for no markers at all."""
    layout = json.loads(LAYOUT.read_text(encoding="utf-8"))
    for panel in layout["configById"].values():
        for topic, settings in panel["topics"].items():
            if topic.endswith("markers"):
                settings["visible"] = topic == f"/camera/{shown}"
    return layout


def panels(picture: np.ndarray) -> dict[str, np.ndarray]:
    """A picture of the window -> its two panels, the image above the scene; what stands beside them is cut off."""
    height, width = picture.shape[:2]
    left, top, bottom = round(0.3 * width), round(0.06 * height), round(0.92 * height)
    middle = round(top + 0.45 * (bottom - top))
    return {"image": picture[top : middle - 20, left:], "3D": picture[middle + 20 : bottom, left:]}


class Viewer:
    """A page of the viewer; `faults` is what its script failed with."""

    def __init__(self, browser: Any, address: str, patience: float) -> None:
        self._page = browser.new_page(viewport={"width": _SIZE[0], "height": _SIZE[1]})
        self._address, self._patience = address, patience
        self.faults: list[str] = []
        self._page.set_default_timeout(1000 * _PATIENCE)
        self._page.on("pageerror", lambda error: self.faults.append(str(error)[:300]))

    def picture(self, bag: str, layout: str, time: str) -> np.ndarray:
        """The window as RGB (H, W, 3), when it has stopped to change."""
        query = {"ds": "remote-file", "ds.url": f"{self._address}/data/{bag}", "time": time}
        query["layoutUrl"] = f"{self._address}/layouts/{layout}"
        self._page.goto(f"{self._address}/app/?{urlencode(query)}")
        before, waited = None, 0.0
        while True:
            self._page.wait_for_timeout(4000)
            waited += 4
            now = _decoded(self._page.screenshot())
            if before is not None and waited >= 12 and not (now != before).any() and panels(now)["image"].std() > 10:
                return now
            if waited > self._patience:
                return now
            before = now

    def alerts(self) -> tuple[str, np.ndarray]:
        """What the tab of alerts says, and a picture of it."""
        self._page.get_by_text("Alerts", exact=True).first.click()
        self._page.wait_for_timeout(2500)
        return self._page.inner_text("body"), _decoded(self._page.screenshot())


def _decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def _written(path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(path), picture[..., ::-1])


def look(viewer: Viewer, bag: Path, name: str, out: Path, moments: list[float]) -> list[str]:
    """Take the pictures of one bag, when these shares of its images have passed; returns what is wrong."""
    with open_bag(bag) as reader:
        topics = set(reader.topics)
        images = [c for c in reader.connections if c.topic == _IMAGE]
        times = [time for _, time, _ in raw_messages(reader, images)]
    if not times:
        return [f"{name}: no messages on {_IMAGE}"]
    wrong = []
    for view, markers in _VIEWS.items():
        if f"/camera/{markers}" not in topics:
            print(f"{name}: has no {markers}")
            continue
        for moment in moments:
            time = times[round(moment * (len(times) - 1))]
            stamp = f"{np.datetime64(time // 10**6, 'ms')}Z"
            bare = viewer.picture(f"{name}.mcap", "none.json", stamp)
            drawn = viewer.picture(f"{name}.mcap", f"{markers}.json", stamp)
            _written(out / f"{name}_{view}_{round(100 * moment)}.png", drawn)
            for panel, pixels in panels(drawn).items():
                changed = float((pixels != panels(bare)[panel]).any(axis=2).mean())
                print(f"{name}, {view} at {moment:.0%}: {changed:.2%} of the {panel} panel are markers", flush=True)
                if changed < _LEAST_CHANGE:
                    wrong.append(f"{name}: no {view} in the {panel} panel at {moment:.0%}")
    said, picture = viewer.alerts()
    _written(out / f"{name}_alerts.png", picture)
    if _NO_ALERTS.lower() not in said.lower():
        wrong.append(f"{name}: the viewer has alerts, see {name}_alerts.png")
    wrong += [f"{name}: {fault}" for fault in viewer.faults]
    return wrong


def main() -> int:
    """Look at what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="mcap bags: folders or files")
    parser.add_argument("--app", type=Path, required=True, metavar="DIR", help="web build of Lichtblick")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pictures")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser (%(default)s)")
    parser.add_argument("--patience", type=float, default=60, help="seconds for a page to stand still (%(default)s)")
    parser.add_argument(
        "--moments", type=float, nargs="+", default=[0.3, 0.6, 0.9], help="shares of a bag's images (0.3 0.6 0.9)"
    )
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    options.out.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data, layouts = Path(folder) / "data", Path(folder) / "layouts"
        for made in (data, layouts):
            made.mkdir()
        for shown in ("none", *_VIEWS.values()):
            (layouts / f"{shown}.json").write_text(json.dumps(layout_with(shown)), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=options.chromium, args=_GL)
        with serve({"/app/": options.app, "/data/": data, "/layouts/": layouts}) as address:
            for bag in options.bags:
                file = next(iter(sorted(bag.glob("*.mcap"))), None) if bag.is_dir() else bag
                if file is None:
                    wrong.append(f"{bag}: no mcap file in it")
                    continue
                name = bag.stem
                shutil.copyfile(file, data / f"{name}.mcap")
                wrong += look(Viewer(browser, address, options.patience), bag, name, options.out, options.moments)
        browser.close()
    print("\n".join(wrong) or "nothing is wrong that a script can see; look at the pictures")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
