# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real browser without a screen, told what to do through two pipes (Chrome DevTools Protocol)."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAM = "chromium-headless-shell"
# No account, no update, no component, no network of its own.
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
]
PATIENCE = 120  # seconds without a word, after which it is taken for dead


class Browser:
    def __init__(self, folder: Path) -> None:
        assert shutil.which(PROGRAM), f"{PROGRAM} is not installed; run tests/setup as root"
        inputs, outputs = os.pipe(), os.pipe()
        # The browser takes orders at 3 and answers at 4. Numbers that are not in the way while they are moved there.
        order, answer = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in (inputs[0], outputs[1]))
        self._log = (folder / "browser.log").open("w")
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$@" 3<&{order} 4>&{answer}',
                "-",
                PROGRAM,
                *ARGUMENTS,
                f"--user-data-dir={folder}/profile",
            ],
            pass_fds=(order, answer),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        for fd in (inputs[0], outputs[1], order, answer):
            os.close(fd)
        self._to, self._from = inputs[1], outputs[0]
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        os.close(self._to)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)
        self._log.close()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready = select.select([self._from], [], [], PATIENCE)[0]
            data = os.read(self._from, 1 << 20) if ready else b""
            assert data, "the browser " + ("has ended" if ready else "says nothing")
            self._rest += data
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        text = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while text:
            text = text[os.write(self._to, text) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def wait(self, method: str, fits: Callable[[dict[str, Any]], bool] = lambda params: True) -> dict[str, Any]:
        """The next event of this kind, or one that has come already; it is taken off the list."""
        while True:
            for event in self.events:
                if event.get("method") == method and fits(event["params"]):
                    self.events.remove(event)
                    return event["params"]
            self.events.append(self._next())

    def open(self, url: str, width: int = 1300, height: int = 1000, dark: bool = False) -> Tab:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable", session)
        tab = Tab(self, session, target)
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        tab.media("screen", dark)
        tab.call("Page.navigate", url=url)
        self.wait("Page.loadEventFired")
        return tab


class Tab:
    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self.browser, self.session, self.target = browser, session, target

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def close(self) -> None:
        self.browser.call("Target.closeTarget", targetId=self.target)

    def media(self, kind: str, dark: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=kind, features=[scheme])

    def ask(self, script: str) -> Any:
        """What a script says of the page, once it is drawn."""
        whole = f"new Promise(done => requestAnimationFrame(() => done((() => {{ {script} }})())))"
        answer = self.call("Runtime.evaluate", expression=whole, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> bytes:
        picture = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(picture)
        return picture

    def requests(self) -> list[str]:
        """What was asked for so far, except what an address holds itself (data:)."""
        urls = [event["params"]["request"]["url"] for event in self._events("Network.requestWillBeSent")]
        return [url for url in urls if not url.startswith("data:")]

    def complaints(self) -> list[str]:
        """What was written to the console, by whomever."""
        logged = [event["params"]["entry"]["text"] for event in self._events("Log.entryAdded")]
        said = [str(event["params"]["args"]) for event in self._events("Runtime.consoleAPICalled")]
        thrown = [str(event["params"]["exceptionDetails"]) for event in self._events("Runtime.exceptionThrown")]
        return logged + said + thrown

    def _events(self, method: str) -> list[dict[str, Any]]:
        self.ask("return 0")  # what came before is heard before the answer
        every = self.browser.events
        return [one for one in every if one.get("method") == method and one.get("sessionId") == self.session]
