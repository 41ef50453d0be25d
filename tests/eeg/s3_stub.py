"""An S3 server of one bucket whose answers can be spoilt: busy, cut short, or a mere trickle."""

import contextlib
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class Store:
    """Objects by key, and the faults of the next GET requests, in order."""

    def __init__(self):
        self.objects: dict[str, bytes] = {}
        self.faults: deque[str] = deque()
        self.num_gets = 0
        self.closing = threading.Event()


@contextlib.contextmanager
def serve():
    """Yield the store and its address."""
    store = Store()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            content = store.objects.get(self.path.partition("?")[0].lstrip("/"))
            self.begin(404 if content is None else 200, len(content or b""))

        def do_GET(self):
            content = store.objects[self.path.partition("?")[0].lstrip("/")]
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            part = content[int(first) : int(last) + 1]
            store.num_gets += 1
            fault = store.faults.popleft() if store.faults else ""
            if fault == "busy":
                self.begin(503, len(BUSY))
                self.wfile.write(BUSY)
                return
            self.begin(206, len(part))
            self.wfile.write(part[: len(part) // 2] if fault else part)
            self.wfile.flush()
            for sample in part[len(part) // 2 :] if fault == "trickle" else b"":
                self.wfile.write(bytes([sample]))
                if store.closing.wait(0.1):
                    break
            self.close_connection = bool(fault)

        def begin(self, status, length):
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
            self.end_headers()

        def handle(self):
            with contextlib.suppress(ConnectionError):  # a client that gave up
                super().handle()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store, f"http://127.0.0.1:{server.server_port}"
    finally:
        store.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
