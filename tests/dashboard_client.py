"""Requests to the dashboard as a browser sends them from its pages, with the cookie of a login."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from email.message import Message
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import urlencode

PASSWORD = "correct horse battery"


class Response(NamedTuple):
    status: int
    headers: Message
    text: str


class Browser:
    """A browser. ``token``: what it sends with forms; that of the last page with one."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.cookie = ""
        self.token = ""

    def get(self, path: str, **query: object) -> Response:
        return self.request("GET", f"{path}?{urlencode(query)}" if query else path, {})

    def post(self, path: str, headers: Mapping[str, str] | None = None, **form: str) -> Response:
        """Sends a form, with the token of this session unless it has one."""
        own = {"Origin": f"http://{self.host}", "Sec-Fetch-Site": "same-origin"}
        given = own if headers is None else headers
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request(
            "POST", path, {**given, **kind}, urlencode({"token": self.token} | form)
        )

    def log_in(self, password: str = PASSWORD, after: str = "/") -> Response:
        answer = self.post("/login", password=password, next=after)
        if answer.status == 303:
            self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
            found = re.search('name="token" value="([0-9a-f]+)"', self.get("/suppression").text)
            assert found
            self.token = found[1]
        return answer

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None = None
    ) -> Response:
        sent = {"Accept": "text/html,*/*;q=0.8", **headers}
        if self.cookie:
            sent["Cookie"] = self.cookie
        with closing(HTTPConnection(self.host, timeout=30)) as client:
            client.request(method, path, body, sent)
            response = client.getresponse()
            return Response(response.status, response.headers, response.read().decode())


def logged_in(port: int) -> Browser:
    """A browser after its login."""
    browser = Browser(port)
    assert browser.log_in().status == 303
    return browser
