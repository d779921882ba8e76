"""Who may see the dashboard, and who may change anything.

Without `web.admin_password_file`, everyone who reaches the listener, which must be loopback or a
Unix socket, may see it, and nobody may change anything. With a password, a login (a form, then a
cookie) may see and change; HTTP's own password (RFC 7617, any user name) may see, so that scripts
can read pages. What a cookie contains is in `session.py`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import re
import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import urlencode

from fletching import log
from fletching.daemons.dashboard import pages
from fletching.daemons.dashboard.guesses import Guesses
from fletching.daemons.dashboard.request import Request
from fletching.daemons.dashboard.session import SECONDS, Sessions
from fletching.returning import visitor

LOGIN, LOGOUT = "/login", "/logout"
COOKIE = "fletching_session"

_CHALLENGE = (b"www-authenticate", b'Basic realm="Fletching", charset="UTF-8"')
_NEXT = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}")
"""A path of this host: no second slash, which would be another host; no backslash, which browsers
take for a slash."""

_ANOTHER_SITE = "The request does not come from this dashboard."
_NO_PASSWORD = "The dashboard is read-only: web.admin_password_file is not set."
_NO_LOGIN = "Log in first."
_OLD_FORM = "The form is of another session. Go back, reload the page and try again."


class Access:
    """Decides about each request. ``password``: None if none is configured."""

    def __init__(
        self,
        password: str | None,
        proxies: Sequence[visitor.Network] = (),
        guesses: Guesses | None = None,
    ) -> None:
        self._proxies = proxies
        self._guesses = guesses or Guesses()
        self._password: str | None = None
        self._sessions: Sessions | None = None
        self.take(password)

    def take(self, password: str | None) -> None:
        """Puts a password in force. If it is the same one, sessions that were ended stay so."""
        if password == self._password:
            return
        self._password = password
        self._sessions = Sessions(password) if password is not None else None

    async def admits(self, request: Request) -> bool:
        """Whether the request may go on. If not, it is answered."""
        if self._sessions is None:
            return await self._is_called_by_address(request)
        request.can_log_in = True
        if cookie := self._session(request):
            request.form_token = self._sessions.form_token(cookie)
            return True
        if not request.header(b"authorization"):
            await self._ask_for_login(request)
            return False
        return await self._has_password(request)

    def client(self, request: Request) -> str:
        """For the log: the client's address."""
        forwarded = b",".join(request.values(b"x-forwarded-for")).decode("latin-1")
        return visitor.address(request.client, forwarded, self._proxies)

    async def form(self, request: Request) -> Mapping[str, str] | None:
        """The form of an admitted POST request; None if it must change nothing. Then the request
        is answered.
        """
        if request.is_of_another_site:
            why = _ANOTHER_SITE
        elif not request.form_token:
            why = _NO_LOGIN if request.can_log_in else _NO_PASSWORD
        else:
            try:
                form = await request.form()
            except ValueError as error:
                await request.error(422, "Not changed", str(error))
                return None
            if hmac.compare_digest(form.get("token", "").encode(), request.form_token.encode()):
                return form
            why = _OLD_FORM
        await request.error(403, "Not changed", why)
        return None

    async def log_in(self, request: Request) -> None:
        """Answers a request for the login page: shows it, or begins a session."""
        if self._sessions is None:
            if await self._is_called_by_address(request):
                await request.page(pages.read_only)
            return
        request.can_log_in = True
        after = _after(request.query.get("next", ""))
        if request.method in ("GET", "HEAD"):
            await request.page(lambda frame: pages.login(after, "", frame))
        elif request.method != "POST":
            allow = (b"allow", b"GET, HEAD, POST")
            await request.error(405, "Method not allowed", "Use the form.", allow)
        elif request.is_of_another_site:
            await request.error(403, "Not logged in", _ANOTHER_SITE)
        else:
            await self._check_login(request, self._sessions)

    async def log_out(self, request: Request) -> None:
        """Ends the session of an admitted request."""
        if request.method != "POST":
            allow = (b"allow", b"POST")
            await request.error(405, "Method not allowed", "Use the form.", allow)
        elif await self.form(request) is not None and self._sessions is not None:
            self._sessions.end(self._session(request))
            await request.redirect(LOGIN, _cookie("", 0, request))

    async def _check_login(self, request: Request, sessions: Sessions) -> None:
        try:
            form = await request.form()
        except ValueError as error:
            await request.error(422, "Not logged in", str(error))
            return
        # After the form has arrived: until then, others may be checked that were sent with it.
        if await self._must_wait(request):
            return
        after = _after(form.get("next", ""))
        if self._is_password(form.get("password", "").encode("utf-8", "surrogateescape")):
            log.dashboard_login(self.client(request))
            value = sessions.begin(int(time.time()))
            await request.redirect(after, _cookie(value, SECONDS, request))
        else:
            self._count_wrong(request)
            await request.page(lambda frame: pages.login(after, "Wrong password.", frame), 403)

    def _session(self, request: Request) -> str:
        """The cookie of a session that is valid; empty if there is none."""
        for each in b";".join(request.values(b"cookie")).decode("latin-1").split(";"):
            name, _, value = each.strip().partition("=")
            if (
                name == COOKIE
                and self._sessions is not None
                and self._sessions.is_valid(value, int(time.time()))
            ):
                return value
        return ""

    async def _ask_for_login(self, request: Request) -> None:
        """A browser gets the login page; anything else, HTTP's question for a password."""
        if b"text/html" not in request.header(b"accept"):
            await self._refuse(request)
        elif request.method not in ("GET", "HEAD"):
            await request.error(403, "Not changed", _NO_LOGIN)
        else:
            query = urlencode({"next": request.target}) if request.target != "/" else ""
            await request.redirect(f"{LOGIN}?{query}" if query else LOGIN)

    async def _refuse(self, request: Request) -> None:
        await request.error(401, "Password required", "Any user name is accepted.", _CHALLENGE)

    async def _has_password(self, request: Request) -> bool:
        if await self._must_wait(request):
            return False
        if self._is_password(_password_in(request.header(b"authorization"))):
            return True
        self._count_wrong(request)
        await self._refuse(request)
        return False

    async def _must_wait(self, request: Request) -> bool:
        """Whether passwords of this client are not checked now, not even a correct one."""
        seconds = math.ceil(self._guesses.wait(self.client(request), time.monotonic()))
        if seconds > 0:
            after = (b"retry-after", b"%d" % seconds)
            text = f"Try again in {seconds} seconds."
            await request.error(429, "Too many wrong passwords", text, after)
        return seconds > 0

    def _count_wrong(self, request: Request) -> None:
        address = self.client(request)
        self._guesses.count_wrong(address, time.monotonic())
        log.dashboard_refused(address)

    def _is_password(self, given: bytes) -> bool:
        # Digests: otherwise the time taken would reveal the length of the password.
        right = (self._password or "").encode()
        return self._password is not None and hmac.compare_digest(_digest(given), _digest(right))

    async def _is_called_by_address(self, request: Request) -> bool:
        # With DNS rebinding, another site can make its host name point here, but not an IP address.
        if _is_address_or_localhost(request.header(b"host")):
            return True
        text = "Without a password, use an IP address or localhost in the URL."
        await request.error(421, "Host not allowed", text)
        return False


def _after(path: str) -> str:
    """Where a login leads to; the first page, if it is no page of this host."""
    return path if _NEXT.fullmatch(path) and not path.startswith((LOGIN, LOGOUT)) else "/"


def _cookie(value: str, seconds: int, request: Request) -> tuple[bytes, bytes]:
    """The header that sets the cookie of a session for so many seconds."""
    fields = f"{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict"
    if request.header(b"origin").startswith(b"https:"):
        fields += "; Secure"
    return b"set-cookie", fields.encode("ascii")


def _password_in(authorization: bytes) -> bytes:
    """The password of Basic credentials (RFC 7617, section 2); empty if there are none."""
    scheme, _, coded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(coded.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def _is_address_or_localhost(host: bytes) -> bool:
    """Whether a Host header (RFC 9110, section 7.2) is an address or localhost."""
    name = re.sub(r":[0-9]*$", "", host.decode("latin-1")).strip("[]")
    try:
        return name.lower() == "localhost" or bool(ip_address(name))
    except ValueError:
        return False
