"""The page: shows the choices and how they stand, and hands votes on to the API."""
import html
import json
import os
import secrets
import signal
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

API = os.environ.get("API", "http://api")
CHOICES = Path(os.environ.get("CHOICES", "/choices")).read_text().split()


def ask(path, body=None):
    """What the API answers; with a body, a POST."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(API + path, data), timeout=5) as answer:
        return json.load(answer)


class Front(BaseHTTPRequestHandler):
    """GET / shows the page, POST / votes, GET /health says that the server is there."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, text, **headers):
        """One whole answer."""
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, "ok\n")
        try:
            counts = ask("/results")
        except (OSError, ValueError) as problem:
            return self.answer(503, f"the API at {html.escape(API)} gives no results: {html.escape(str(problem))}\n")
        rows = "\n".join(
            f'<button name="choice" value="{html.escape(choice)}">{html.escape(choice)}</button> {counts.get(choice, 0)}<br>' for choice in CHOICES)
        return self.answer(200, f'<title>Vote</title>\n<form method="post">\n{rows}\n</form>\n<p>by {socket.gethostname()}</p>\n')

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1000)).decode(errors="replace"))
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("voter")
        voter = cookie.value if cookie else form.get("voter", [secrets.token_hex(8)])[0]
        try:
            ask("/votes", {"voter": voter, "choice": form.get("choice", [""])[0]})
        except urllib.error.HTTPError as problem:
            return self.answer(problem.code, f"the vote was refused: {html.escape(problem.read().decode(errors='replace'))}\n")
        except (OSError, ValueError) as problem:
            return self.answer(503, f"the API at {html.escape(API)} took no vote: {html.escape(str(problem))}\n")
        return self.answer(303, "", Location="/", Set_Cookie=f"voter={voter}; Path=/; HttpOnly")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "80"))), Front).serve_forever()
