"""Debian's Chromium without a window, told what to do over a pipe.

Here lives the little of the DevTools protocol that the tests need. The pipe carries JSON that ends
with NUL, so no WebSocket library is needed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from sandbox.processes import PATIENCE, DidNotHappenError, program


class Chromium:
    """The browser, while its ``with`` block runs, with a profile of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self._sent = 0
        self._held = b""
        self.heard: list[dict[str, Any]] = []
        """Everything that was not an answer, oldest first."""

    def __enter__(self) -> Self:
        # It reads commands from descriptor 3 and writes answers to 4.
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [
            program("chromium", "chromium"),
            "--headless=new",
            "--no-sandbox",  # the tests run as root
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            f"--user-data-dir={self._folder.name}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        shell = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "chromium", *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.ask("Browser.close")
            self._process.wait(PATIENCE)
        except (DidNotHappenError, OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()

    def ask(self, method: str, session: str | None = None, **told: Any) -> dict[str, Any]:
        """The answer to a command; an error where Chromium has one."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": told}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            answer = self._next(f"no answer to {method}", end)
            if answer.get("id") == self._sent:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self.heard.append(answer)

    def wait(self, what: str, happened: Callable[[dict[str, Any]], bool]) -> None:
        """Until something was heard, from now on."""
        end = time.monotonic() + PATIENCE
        while True:
            heard = self._next(what, end)
            self.heard.append(heard)
            if happened(heard):
                return

    def _next(self, what: str, end: float) -> dict[str, Any]:
        """The next message; a page that keeps talking does not put off the end."""
        if time.monotonic() > end:
            raise DidNotHappenError(f"Chromium: {what}")
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self._in, 1 << 20) if ready else b""
            if not piece:
                raise DidNotHappenError(f"Chromium: {what}")
            self._held += piece
        message, _, self._held = self._held.partition(b"\0")
        return dict(json.loads(message))

    def open(self, url: str, width: int = 1280, *, dark: bool = False, height: int = 800) -> Page:
        """A page in a tab of its own, loaded."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, str(session))
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            page.ask(f"{domain}.enable")
        page.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.ask("Emulation.setEmulatedMedia", features=[scheme])
        page.go(url)
        return page


class Page:
    """A tab."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session

    def ask(self, method: str, **told: Any) -> dict[str, Any]:
        """A command for this tab."""
        return self._browser.ask(method, self._session, **told)

    def go(self, url: str) -> None:
        """Loads an address."""
        self.ask("Page.navigate", url=url)
        self._wait_for_load(url)

    def follow(self, script: str) -> None:
        """Runs a script that leads to another page, until that is loaded."""
        # Later than the answer to this command: a page that is left gives none.
        self.value(f"void setTimeout(() => {{ {script} }})")
        self._wait_for_load(script)

    def _wait_for_load(self, what: str) -> None:
        self._browser.wait(f"{what} is not loaded", self._is_load)

    def _is_load(self, heard: dict[str, Any]) -> bool:
        loaded = {"method": "Page.loadEventFired", "sessionId": self._session}
        return loaded.items() <= heard.items()

    def resize(self, width: int, height: int) -> None:
        """Makes the window this large, in CSS pixels; a narrow one is a telephone's."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.ask("Emulation.setDeviceMetricsOverride", mobile=width < 600, **size)

    def value(self, script: str) -> Any:
        """What an expression of JavaScript is worth."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Waits until an expression is true: the page itself looks, at every change of it."""
        awaited = (
            "new Promise((done) => { const look = () => { if ("
            f"{script}) {{ watcher.disconnect(); done(true); }} }};"
            "const watcher = new MutationObserver(look);"
            "watcher.observe(document, {subtree: true, childList: true, characterData: true,"
            " attributes: true}); look(); })"
        )
        found = self.ask("Runtime.evaluate", expression=awaited, awaitPromise=True)
        assert "exceptionDetails" not in found, found

    def press(self, key: str) -> None:
        """A key goes down and up."""
        for kind in ("keyDown", "keyUp"):
            code = {"Tab": 9, "Enter": 13}[key]
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.ask(
                "Input.dispatchKeyEvent",
                **{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, **text},
            )

    def press_to_follow(self, key: str) -> None:
        """Presses a key that leads to another page, until that is loaded."""
        before = len(self._browser.heard)
        self.press(key)
        # It may be loaded before the last answer to the key.
        if not any(map(self._is_load, self._browser.heard[before:])):
            self._browser.wait(f"{key} leads nowhere", self._is_load)

    def picture(self) -> bytes:
        """The whole page as PNG."""
        told = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(told["data"])

    def named(self) -> list[tuple[str, str]]:
        """Role and name of everything that assistive programs are told of."""
        nodes = self.ask("Accessibility.getFullAXTree")["nodes"]
        seen = [node for node in nodes if not node["ignored"]]
        return [
            (str(node["role"]["value"]), str(node.get("name", {}).get("value", "")))
            for node in seen
        ]

    def _heard(self, *methods: str) -> list[dict[str, Any]]:
        mine = [each for each in self._browser.heard if each.get("sessionId") == self._session]
        return [each["params"] for each in mine if each["method"] in methods]

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """Errors of scripts and of the policy of what may be loaded."""
        return self._heard("Runtime.exceptionThrown", "Log.entryAdded")

    @property
    def requests(self) -> list[str]:
        """The URLs that it asked for."""
        return [each["request"]["url"] for each in self._heard("Network.requestWillBeSent")]
