"""The page of an explorer, for this machine only: one address with a secret, and nothing that writes."""

import json
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from vae_lab.errors import ConfigError, UserError, to_install
from vae_lab.exploring.space import LatentSpace, QuestionError

HERE = Path(__file__).resolve().parent
STYLES, SCRIPTS = ("explorer.css",), ("plane.js", "explorer.js")
HOST = "127.0.0.1"
USUAL_PORT = 80  # browsers leave it out of a host's name
LONGEST_QUESTION = 1_000_000  # bytes
QUICK = 0.02  # seconds of one image, up to which nothing else need be answered meanwhile

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Server:
    """Answers an explorer's page at ``url`` until it is stopped.

    Args:
        space: latent space that is explored.
        port: port of 127.0.0.1; 0 takes a free one.

    Raises:
        ConfigError: if the port is taken.
        UserError: if the packages of the extra ``explore`` are missing.
    """

    def __init__(self, space: LatentSpace, port: int = 0) -> None:
        try:
            import uvicorn
        except ImportError as error:
            raise UserError(f"explore needs a web server: {to_install(error)}, or '.[explore]'") from error
        # by this name of the protocol asyncio knows to send answers at once; else each waits 40 ms
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind((HOST, port))
            self.socket.listen()
        except OSError as error:
            self.close()
            raise ConfigError(
                "explore.port", port, f"cannot be used ({error.strerror}); use 0 for a free one"
            ) from error
        self.port, self.token = self.socket.getsockname()[1], secrets.token_urlsafe(32)
        self.url = f"http://{HOST}:{self.port}/?token={self.token}"
        guarded = Guard(_application(space), self.token, self.port)
        quiet: dict[str, Any] = {"log_config": None, "log_level": "warning", "access_log": False}
        self._server = uvicorn.Server(uvicorn.Config(guarded, lifespan="off", server_header=False, **quiet))

    def run(self) -> None:
        """Answer until ``stop`` or a signal."""
        self._server.run(sockets=[self.socket])

    def stop(self) -> None:
        """Let ``run`` end."""
        self._server.should_exit = True

    def close(self) -> None:
        """Give the port back."""
        self.socket.close()


class Guard:
    """Lets only requests pass that have the token, and that name this machine as their host.

    Without the second a page of a stranger, whose name was made to lead to 127.0.0.1, could ask in the user's browser.

    Args:
        application: what answers the others.
        token: the secret, in the address or in the header ``X-Token``.
        port: port of the server.
    """

    def __init__(self, application: Any, token: str, port: int) -> None:
        self.application, self.token = application, token.encode()
        names = (HOST, "localhost")
        self.hosts = {f"{name}:{port}".encode() for name in names}
        if port == USUAL_PORT:
            self.hosts |= {name.encode() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        from starlette.requests import HTTPConnection
        from starlette.responses import PlainTextResponse

        request = HTTPConnection(scope)
        given = request.headers.get("x-token") or request.query_params.get("token") or ""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        is_known = len(hosts) == 1 and hosts[0] in self.hosts
        if scope["type"] == "http" and is_known and secrets.compare_digest(given.encode(), self.token):
            await self.application(scope, receive, send)
        else:
            await PlainTextResponse("forbidden: open the address that the program printed", 403)(scope, receive, send)


def _application(space: LatentSpace) -> Any:
    """The page at /, and answers at /ask."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    nonce = secrets.token_urlsafe(16)
    headers = {
        "Content-Security-Policy": f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    async def page(_: Request) -> Response:
        return HTMLResponse(page_of(nonce), headers=headers)

    async def ask(request: Request) -> Response:
        content = b""
        async for part in request.stream():
            content += part
            if len(content) > LONGEST_QUESTION:
                return JSONResponse({"error": "too long"}, 413, headers)
        try:
            question = json.loads(content)
            # most decoders take a millisecond for an image, and another thread makes it two
            is_quick = space.seconds < QUICK and isinstance(question, dict) and question.get("ask") == "decode"
            found = space.answer(question) if is_quick else await run_in_threadpool(space.answer, question)
            return JSONResponse(found, headers=headers)
        except (ValueError, RecursionError) as error:
            said = str(error) if isinstance(error, QuestionError) else "not a question"
            return JSONResponse({"error": said}, 400, headers)

    return Starlette(routes=[Route("/", page), Route("/ask", ask, methods=["POST"])])


def page_of(nonce: str) -> str:
    """The page, with its style and its script inside.

    Args:
        nonce: mark of what the browser may use and run.
    """
    page = text_of("page.html").replace("NONCE", nonce)
    return page.replace("/* STYLE */", text_of(*STYLES)).replace("/* SCRIPT */", text_of(*SCRIPTS))


def text_of(*names: str) -> str:
    """The text of files beside this one, one after the other."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)
