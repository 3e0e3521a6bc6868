"""Chromium, driven over the pipe of its DevTools protocol: real clicks and keys, what pages say, screens.

No library is needed for that: messages are JSON that end with a zero byte, on the descriptors 3 and 4.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from waiting import HANG

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
ABSENT = "there is no Chromium here (Debian: apt-get install chromium)"
# axe-core's script, e.g. of `npm pack axe-core`; the rules of accessibility are checked where it is there.
AXE = Path(os.environ.get("MMPRM_AXE", "/usr/share/javascript/axe-core/axe.min.js"))
_FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
    *("--disable-extensions", "--disable-features=Translate,OptimizationHints,MediaRouter", "--hide-scrollbars"),
]
_CODES = {"/": 191, "?": 191, "Enter": 13, "Tab": 9, "Escape": 27, " ": 32, "ArrowUp": 38, "ArrowDown": 40}


class Browser:
    """A browser of its own profile; pages are opened one after another in one tab."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        read, self._out = os.pipe()
        self._in, write = os.pipe()
        start = ["bash", "-c", 'exec "${@:3}" 3<&"$1" 4>&"$2"', "bash", str(read), str(write), CHROMIUM, *_FLAGS]
        self._process = subprocess.Popen(
            [*start, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            pass_fds=(read, write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read)
        os.close(write)
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        self.said: list[str] = []  # errors of the page that is open
        self._buffer, self._number = b"", 0
        self._loads: set[str] = set()  # loads that have ended
        self._session: str | None = None
        self._theme: list[dict[str, str]] = []
        self._send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._send(f"{domain}.enable")
        self._send("Page.setLifecycleEventsEnabled", enabled=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Killed alone, it would leave helpers that still write into the profile while that is being deleted.
        with contextlib.suppress(AssertionError, OSError):  # it has ended already
            self._send("Browser.close")
            self._process.wait(HANG)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def _send(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._receive()
            if reply.get("id") == self._number:
                assert "error" not in reply, f"{method}: {reply['error']}"
                result: dict[str, Any] = reply["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._in], [], [], HANG)[0], "the browser says nothing"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.said.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.said.append(" ".join(str(value.get("value", "")) for value in params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.said.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Page.lifecycleEvent" if params["name"] == "load":
                self._loads.add(params["loaderId"])

    def open(self, page: Path, address: str = "") -> None:
        """Open a page anew from its file, and wait until it has loaded; address: what stands behind the #."""
        self._load("about:blank")
        self.said.clear()
        self._load(page.as_uri() + (f"#{address}" if address else ""))

    def _load(self, url: str) -> None:
        loader = self._send("Page.navigate", url=url)["loaderId"]
        while loader not in self._loads:
            self._receive()

    def js(self, expression: str) -> Any:
        """Return the value of an expression, of a promise what it is resolved with."""
        done = self._send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + HANG
        while not self.js(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never true: {expression}; the page said {self.said}"
            self.js("new Promise(done => setTimeout(done, 20))")

    def text(self, selector: str = "body") -> str:
        """Return the visible text of the first element that the selector finds."""
        return str(self.js(f"document.querySelector({json.dumps(selector)}).innerText"))

    def texts(self, selector: str) -> list[str]:
        """Return the visible texts of all elements that the selector finds."""
        return list(self.js(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.innerText)"))

    def click(self, selector: str) -> None:
        """Click with the mouse on the middle of the first element that the selector finds."""
        where = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'});"
            " const box = e.getClientRects()[0]; return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)

    def key(self, key: str, times: int = 1) -> None:
        """Press a key: a letter, or a name such as Tab, Enter, ArrowDown."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = _CODES.get(key, ord(key.upper()[0]))
        for _ in range(times):
            kind = "keyDown" if text else "rawKeyDown"
            down = {"type": kind, "key": key, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
            self._send("Input.dispatchKeyEvent", **down)
            self._send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text: str) -> None:
        """Type a text where the focus is."""
        self._send("Input.insertText", text=text)

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a select, as its keys do."""
        self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.value = {json.dumps(value)};"
            " e.dispatchEvent(new Event('change')); })()"
        )

    def look(self, width: int = 1440, height: int = 900, dark: bool = False) -> None:
        """Give the window a size and the theme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self._send("Emulation.setDeviceMetricsOverride", **size)
        self._theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._send("Emulation.setEmulatedMedia", features=self._theme)

    def print_media(self) -> None:
        """Show the page as it is printed, in the theme that the window has."""
        self._send("Emulation.setEmulatedMedia", media="print", features=self._theme)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Write what is seen, or the whole page, as PNG."""
        picture = self._send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(picture))

    def serious(self) -> list[str]:
        """Return what axe-core finds serious or critical on the page as it is now; AXE has to be there."""
        self._send("Page.setBypassCSP", enabled=True)  # axe reads the page by means that the page denies itself
        self.js(AXE.read_text(encoding="utf-8") + "\n;0")
        found = self.js("axe.run(document, {resultTypes: ['violations']}).then(result => result.violations)")
        self._send("Page.setBypassCSP", enabled=False)
        return [
            f"{rule['id']}: {rule['help']}: {[node['target'] for node in rule['nodes'][:5]]}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
        ]

    def downloaded(self, name: str) -> str:
        """Wait for a file that a page saves, and return its text."""
        path, end = self.downloads / name, time.monotonic() + HANG
        while not path.is_file():
            assert time.monotonic() < end, f"{name} was not saved; there are {list(self.downloads.iterdir())}"
            self.js("new Promise(done => setTimeout(done, 20))")
        return path.read_text(encoding="utf-8")
