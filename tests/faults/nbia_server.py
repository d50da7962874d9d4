"""A server on loopback that speaks the NBIA REST API's calls that Quorum uses: for tests."""

import contextlib
import hashlib
import io
import json
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse


class Archive(ThreadingHTTPServer):
    """Series by UID, each a dict of file names and bytes; `fault` changes an answer's zip.

    `fault(archive, uid)` returns bytes to send, or an HTTP status as a number; `stall_s` is how
    long the server waits in the middle of an answer.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.series, self.fault, self.left, self.stall_s, self.log = {}, None, 0, 0.0, []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/nbia-api/services/v4"

    def spoil(self, fault, times: int = 1, stall_s: float = 0.0):
        self.fault, self.left, self.stall_s = fault, times, stall_s

    def handle_error(self, request, client_address):
        """Say nothing of connections that a client closed."""


class Handler(BaseHTTPRequestHandler):
    """Answers `getSeries` and `getImageWithMD5Hash`."""

    def do_GET(self):
        address = urlparse(self.path)
        uid = parse_qs(address.query).get("SeriesInstanceUID", [""])[0]
        self.server.log.append((address.path.rsplit("/", 1)[-1], uid))
        files = self.server.series.get(uid)
        if address.path.endswith("/getSeries"):
            known = [] if files is None else [{"SeriesInstanceUID": uid, "ImageCount": len(files)}]
            return self.answer(json.dumps(known).encode(), "application/json")
        if not address.path.endswith("/getImageWithMD5Hash") or files is None:
            return self.send_error(404)
        body = make_zip(files)
        if self.server.fault is not None and self.server.left > 0:
            self.server.left -= 1
            body = self.server.fault(body, uid)
            if isinstance(body, int):
                return self.send_error(body)
        return self.answer(body, "application/zip")

    def answer(self, body: bytes, kind: str):
        """Send a whole answer, or half of it and then nothing for a while."""
        kind = "text/html" if body.startswith(b"<html") else kind
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        if self.server.stall_s and kind == "application/zip":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            wait_s, self.server.stall_s = self.server.stall_s, 0.0
            time.sleep(wait_s)
            return
        self.wfile.write(body)

    def log_message(self, *words):
        """Say nothing."""


def make_zip(files: dict, *, hashes: dict | None = None, compression=zipfile.ZIP_STORED) -> bytes:
    """Return a zip as the archive makes them: images, a licence, and md5hashes.csv."""
    stream = io.BytesIO()
    rows = ["fileName,MD5Hash"]
    with zipfile.ZipFile(stream, "w", compression) as content:
        content.writestr("LICENSE", "Creative Commons Attribution 3.0")
        for name, data in files.items():
            content.writestr(name, data)
            digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
            rows.append(f"{name},{(hashes or {}).get(name, digest)}")
        content.writestr("md5hashes.csv", "\n".join(rows) + "\n")
    return stream.getvalue()


@contextlib.contextmanager
def archive():
    """Run the server; yield it."""
    server = Archive()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
