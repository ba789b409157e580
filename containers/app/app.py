#!/usr/bin/env python3
"""The web application that every clone serves: a fixed number of workers, and little else.

Any request but `/healthz` holds one worker from its first byte to its last, so a clone can serve
`workers / service time` requests a second, whatever the machine. Requests beyond that wait for a
worker, as they would in a real application server.

    /             who answers, and the page in the shared directory
    /work?ms=N    holds a worker for N ms without using the CPU (a slow database, say)
    /cpu?ms=N     burns N ms of CPU time
    /healthz      200 when requests can be served, 503 and the reason when they cannot

Settings come from the environment: LAB_WORKERS, LAB_PORT, LAB_ADDRESS, LAB_SHARE, LAB_NAME.
Python's standard library only, so that an image with python3 needs nothing installed.
"""

import os
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

MAX_MS = 60_000


class Application(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: str, port: int, workers: int, share: str, name: str) -> None:
        self.workers = threading.BoundedSemaphore(workers)
        self.share = share
        self.host_name = name
        super().__init__((address, port), Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the resolver for this host's name, which waits seconds without DNS.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of ours."""


class Handler(BaseHTTPRequestHandler):
    server: Application
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/healthz":
            self.healthz()
            return
        with self.server.workers:
            if url.path == "/":
                self.answer(HTTPStatus.OK, self.page(), "text/html; charset=utf-8")
            elif url.path in ("/work", "/cpu"):
                self.hold(url.path, url.query)
            else:
                self.answer(HTTPStatus.NOT_FOUND, "try /, /work?ms=100, /cpu?ms=100 or /healthz\n")

    do_HEAD = do_GET

    def healthz(self) -> None:
        if os.access(self.server.share, os.R_OK | os.X_OK):
            self.answer(HTTPStatus.OK, "ready\n")
        else:
            reason = f"the shared directory {self.server.share} cannot be read\n"
            self.answer(HTTPStatus.SERVICE_UNAVAILABLE, reason)

    def hold(self, path: str, query: str) -> None:
        text = parse_qs(query).get("ms", ["100"])[0]
        if not text.isdecimal() or int(text) > MAX_MS:
            self.answer(HTTPStatus.BAD_REQUEST, f"ms is a whole number from 0 to {MAX_MS}\n")
            return
        seconds = int(text) / 1000
        if path == "/work":
            time.sleep(seconds)
        else:
            until = time.thread_time() + seconds
            while time.thread_time() < until:
                pass
        self.answer(HTTPStatus.OK, f"{self.server.host_name} held a worker for {text} ms\n")

    def page(self) -> str:
        address = self.connection.getsockname()[0]
        try:
            with open(os.path.join(self.server.share, "index.html"), encoding="utf-8") as page:
                shared = page.read()
        except OSError as error:
            shared = f"<p>no shared page: {error.strerror}</p>"
        return (
            f"<!doctype html><title>{self.server.host_name}</title>\n"
            f"<h1>Hello from {self.server.host_name}!</h1>\n"
            f"<p>This is server: {address}</p>\n{shared}"
        )

    def answer(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Served-By", self.server.host_name)
        if self.request_version == "HTTP/1.0" and not self.close_connection:
            # `ab -k` speaks HTTP/1.0 and waits for the end of an answer that does not say so.
            self.send_header("Connection", "keep-alive")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """HAProxy logs every request; a second log would only cost time."""


def main() -> None:
    setting = os.environ.get
    Application(
        address=setting("LAB_ADDRESS", ""),
        port=int(setting("LAB_PORT", "80")),
        workers=int(setting("LAB_WORKERS", "4")),
        share=setting("LAB_SHARE", "/srv/share"),
        name=setting("LAB_NAME") or socket.gethostname(),
    ).serve_forever()


if __name__ == "__main__":
    main()
