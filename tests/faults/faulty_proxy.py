"""A TCP proxy that speaks just enough HTTP to spoil chosen answers on their way: for tests.

It passes requests on to a real server and hands each answer (head, body) to a fault, which sends
what it likes. A fault acts on as many object requests as it is told, then the network is sound.
"""

import contextlib
import socket
import socketserver
import struct
import threading
import time

LISTING = "list-type="
BLOCK = 1 << 16


class Request:
    """One request: its head as text, and whether it asks for a listing."""

    def __init__(self, head: bytes):
        self.head = head
        self.path = head.split(b" ", 2)[1].decode() if b" " in head else ""
        self.is_listing = LISTING in self.path or "prefix=" in self.path


class Proxy(socketserver.ThreadingTCPServer):
    """The proxy; `fault(connection, request, answer)` is used while `left` is above zero.

    Parameters
    ----------
    upstream : (str, int)
        The real server.
    """

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, upstream: tuple, port: int = 0):
        super().__init__(("127.0.0.1", port), Handler)
        self.upstream, self.fault, self.left, self.on_listing = upstream, None, 0, False
        self.hits, self.log, self.lock = 0, [], threading.Lock()

    def handle_error(self, request, client_address):
        """Say nothing of connections that a client or a fault closed."""

    def spoil(self, fault, *, times: int, listing: bool = False):
        """Use a fault on the next answers to object requests, or to listings."""
        self.fault, self.left, self.on_listing, self.hits = fault, times, listing, 0
        self.log = []

    def takes(self, request: Request):
        """Return the fault for this request, or None; counts down."""
        with self.lock:
            self.log.append(request.path)
            if self.left > 0 and request.is_listing == self.on_listing:
                self.left -= 1
                self.hits += 1
                return self.fault
        return None


class Handler(socketserver.BaseRequestHandler):
    """One client's connection: one request, one answer, closed."""

    def handle(self):
        head = read_head(self.request)
        if not head:
            return
        request = Request(head)
        fault = self.server.takes(request)
        with contextlib.suppress(OSError):
            if fault is None or not getattr(fault, "is_early", False):
                answer = ask(self.server.upstream, head)
            else:
                answer = b""
            if fault is None:
                self.request.sendall(answer)
            else:
                fault(self.request, request, answer)


def read_head(connection) -> bytes:
    """Return a request up to its empty line."""
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(BLOCK)
        if not block:
            return b""
        data += block
    return data


def ask(upstream: tuple, head: bytes) -> bytes:
    """Return the upstream's whole answer to a request without a body."""
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    lines.insert(1, b"Connection: close")
    with socket.create_connection(upstream, timeout=30) as stream:
        stream.sendall(b"\r\n".join(lines))
        data = b""
        while block := stream.recv(BLOCK):
            data += block
    return data


def split(answer: bytes) -> tuple:
    """Return head (with its empty line) and body of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def page(status: str, body: bytes, kind: str = "application/xml") -> bytes:
    """Return an answer of our own."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def with_body(answer: bytes, body: bytes) -> bytes:
    """Return an answer with another body and its length."""
    head, _ = split(answer)
    lines = [
        line
        for line in head.rstrip().split(b"\r\n")
        if not line.lower().startswith((b"content-length:", b"content-range:"))
    ]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body)]) + b"\r\n\r\n" + body


def status(code: str, name: str):
    """Answer with an S3 error of that status."""

    def fault(connection, request, answer):
        body = f"<Error><Code>{name}</Code><Message>spoilt</Message></Error>".encode()
        connection.sendall(page(code, body))

    return fault


def reset(share: float):
    """Send a share of the answer, then reset the connection."""

    def fault(connection, request, answer):
        connection.sendall(answer[: int(len(answer) * share)])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return fault


def close(share: float):
    """Send a share of the answer, then close the connection in good order."""

    def fault(connection, request, answer):
        connection.sendall(answer[: int(len(answer) * share)])

    return fault


def stall(share: float, seconds: float = 60.0):
    """Send a share of the answer, then nothing."""

    def fault(connection, request, answer):
        connection.sendall(answer[: int(len(answer) * share)])
        connection.settimeout(seconds)
        with contextlib.suppress(OSError):
            connection.recv(1)

    return fault


def throttle(bytes_a_second: int):
    """Send the answer slowly."""

    def fault(connection, request, answer):
        step = max(1, bytes_a_second // 20)
        for start in range(0, len(answer), step):
            connection.sendall(answer[start : start + step])
            time.sleep(step / bytes_a_second)

    return fault


def slow_head(seconds: float):
    """Wait before the first byte of the answer."""

    def fault(connection, request, answer):
        time.sleep(seconds)
        connection.sendall(answer)

    return fault


def change(alter):
    """Send the answer with its body altered by a function, its length told right."""

    def fault(connection, request, answer):
        connection.sendall(with_body(answer, alter(split(answer)[1])))

    return fault


def wrong_length(extra: int):
    """Tell another length than the body has."""

    def fault(connection, request, answer):
        head, body = split(answer)
        told = b"Content-Length: %d" % (len(body) + extra)
        lines = [
            told if line.lower().startswith(b"content-length:") else line
            for line in head.rstrip().split(b"\r\n")
        ]
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    return fault


def garbage(connection, request, answer):
    """Answer with what is no HTTP."""
    connection.sendall(b"\x00\x01\x02 this is no HTTP\r\n\r\n" * 20)


def html(connection, request, answer):
    """Answer with a page, as a captive portal does."""
    connection.sendall(page("200 OK", b"<html><body>Please log in</body></html>", "text/html"))


@contextlib.contextmanager
def proxy(endpoint: str, port: int = 0):
    """Run a proxy before a server; yield it and its endpoint URL."""
    host, _, number = endpoint.removeprefix("http://").partition(":")
    server = Proxy((host, int(number)), port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
