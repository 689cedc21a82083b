"""A hub on loopback: enough of the HTTP interface for downloads of a snapshot and for uploads of small files."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "a" * 40


class FakeHub:
    """Repositories of files by name, and what was asked for."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._get(body=False)

    def do_GET(self) -> None:
        self._get(body=True)

    def _get(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"{self.command} {path}")
        if path.startswith("/api/models/"):
            repo, _, what = path.removeprefix("/api/models/").partition(
                "/revision/" if "/revision/" in path else "/tree/"
            )
            self._about(repo, what, "/tree/" in path)
            return
        repo, _, rest = path.removeprefix("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        content = self.hub.repos.get(repo, {}).get(name)
        if content is None or revision != COMMIT:
            self._reply(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        else:
            tag = hashlib.sha256(content).hexdigest()
            self._reply(200, content if body else b"", {"X-Repo-Commit": COMMIT, "ETag": f'"{tag}"'}, len(content))

    def _about(self, repo: str, revision: str, tree: bool) -> None:
        files = self.hub.repos.get(repo)
        if files is None:
            self._reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", "v1", COMMIT):
            self._reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif tree:
            self._json([{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in files.items()])
        else:
            self._json({"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})

    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"POST {path}")
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            asked = json.loads(sent)
            repo = f"{asked['organization']}/{asked['name']}"
            self.hub.repos.setdefault(repo, {})
            self._json({"url": f"{self.hub.url}/{repo}", "name": repo})
        elif "/preupload/" in path:
            files = json.loads(sent)["files"]
            self._json({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})
        elif "/commit/" in path:
            repo = path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in sent.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.hub.repos[repo][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self._json(
                {"commitUrl": f"{self.hub.url}/{repo}/commit/{COMMIT}", "commitOid": COMMIT, "pullRequestUrl": None}
            )
        else:
            self._json({"errors": [], "warnings": []})

    def _json(self, data: Any) -> None:
        self._reply(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def _reply(self, code: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving() -> Iterator[FakeHub]:
    """A hub that answers until the end of the block."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
