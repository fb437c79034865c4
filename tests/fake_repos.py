"""Repositories of a fake Hub: the requests of huggingface_hub that publishing and running need.

Modelled on huggingface_hub 2.4 and its client code; Xet storage is left out, as the client
leaves it out where `HF_HUB_DISABLE_XET` is set.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

OWNER = "tester"
WRITES, READS = "Bearer hf_writes", "Bearer hf_reads"
"""Headers of a token that may write, and of one that may only read."""


@dataclass
class Answer:
    """What goes back over the wire."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def as_json(value: Any) -> Answer:
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def refusal(status: int, code: str, message: str) -> Answer:
    return Answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})


@dataclass
class Repo:
    """A repository.

    Attributes:
        files: Bytes by path.
        n_commits: Commits so far; they make its name.
        settings: Hardware, secrets and variables as they were set.
        stages: What its runtime answers, one after the other; the last one stays. After @ stands
            the commit where it is not the newest.
        log: Lines of its build.
        host: Where a Space's app answers.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    n_commits: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    stages: list[str] = field(default_factory=lambda: ["BUILDING", "APP_STARTING", "RUNNING"])
    log: list[str] = field(default_factory=list)
    host: str = ""

    @property
    def commit(self) -> str:
        return hashlib.sha1(str(self.n_commits).encode()).hexdigest()

    @classmethod
    def of_folder(cls, folder: Path) -> "Repo":
        files = (path for path in folder.rglob("*") if path.is_file())
        return cls({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})


@dataclass
class FakeRepos:
    """All repositories, by kind and name such as `models/tester/voice`.

    Attributes:
        repos: What there is.
        blobs: What was uploaded beside the commits, by SHA-256.
        new: What a Space is like that is made here.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    new: Repo = field(default_factory=Repo)

    def answer(self, method: str, path: str, body: bytes, token: str, url: str) -> Answer:
        """Answer one request."""
        route = f"{method} {unquote(urlsplit(path).path)}"
        if method in ("POST", "PUT") and token != WRITES and "/lfs/" not in route:
            if token == READS:
                return refusal(403, "", "You have read access but not the required permissions")
            return refusal(401, "", "Invalid credentials in Authorization header")
        for pattern, respond in self._routes():
            if found := re.fullmatch(pattern, route):
                return respond(found, body, token, url)
        return refusal(404, "RepoNotFound", "Not found")

    def _routes(self) -> list[tuple[str, Callable[..., Answer]]]:
        kind_and_name = r"/api/(?P<repo>(?:models|spaces)/[^/]+/[^/]+)"
        return [
            (r"GET /api/whoami-v2", self._whoami),
            (r"POST /api/validate-yaml", lambda *_: as_json({"errors": [], "warnings": []})),
            (r"POST /api/repos/create", self._create),
            (rf"GET {kind_and_name}(?:/revision/\w+)?", self._about),
            (rf"GET {kind_and_name}/tree/\w+", self._tree),
            (rf"POST {kind_and_name}/preupload/\w+", self._preupload),
            (r"POST /(?P<repo>.+)\.git/info/lfs/objects/batch", self._batch),
            (r"PUT /lfs/(?P<oid>\w+)", self._upload),
            (rf"POST {kind_and_name}/commit/\w+", self._commit),
            (rf"POST {kind_and_name}/(?P<key>hardware|secrets|variables)", self._set),
            (rf"GET {kind_and_name}/runtime", self._runtime),
            (rf"GET {kind_and_name}/logs/(?:build|run)", self._logs),
            (r"(?:GET|HEAD) /(?P<repo>[^/]+/[^/]+)/resolve/(?P<at>[^/]+)/(?P<file>.+)", self._file),
        ]

    def _whoami(self, _found: re.Match[str], _body: bytes, token: str, _url: str) -> Answer:
        if token not in (WRITES, READS):
            return refusal(401, "", "Invalid credentials in Authorization header")
        return as_json({"type": "user", "name": OWNER, "orgs": []})

    def _create(self, _found: re.Match[str], body: bytes, _token: str, url: str) -> Answer:
        wanted = json.loads(body)
        owner = wanted["organization"] or OWNER
        if owner != OWNER:
            return refusal(403, "", f"You don't have the rights to create a repo under {owner}")
        name = f"{wanted.get('type', 'model')}s/{owner}/{wanted['name']}"
        if name in self.repos:
            return refusal(409, "", "You already created this repo")
        self.repos[name] = self.new
        self.new.settings |= {key: wanted[key] for key in ("sdk", "hardware") if key in wanted}
        return as_json({"url": f"{url}/{name}", "id": name})

    def _about(self, found: re.Match[str], _body: bytes, _token: str, _url: str) -> Answer:
        repo = self.repos.get(found["repo"])
        if repo is None:
            return refusal(404, "RepoNotFound", "Repository not found")
        name = found["repo"].partition("/")[2]
        about = {"id": name, "sha": repo.commit, "private": False, "host": repo.host}
        return as_json(about | {"siblings": [], "tags": []})

    def _tree(self, found: re.Match[str], _body: bytes, _token: str, _url: str) -> Answer:
        files = self.repos[found["repo"]].files
        return as_json(
            [{"type": "file", "path": p, "size": len(b), "oid": "0" * 40} for p, b in files.items()]
        )

    def _preupload(self, _found: re.Match[str], body: bytes, _token: str, _url: str) -> Answer:
        def mode(file: dict[str, Any]) -> str:
            return "lfs" if b"\0" in base64.b64decode(file["sample"]) else "regular"

        files = json.loads(body)["files"]
        modes = [{"path": f["path"], "uploadMode": mode(f), "shouldIgnore": False} for f in files]
        return as_json({"files": modes})

    def _batch(self, _found: re.Match[str], body: bytes, _token: str, url: str) -> Answer:
        objects = json.loads(body)["objects"]
        for wanted in objects:
            if wanted["oid"] not in self.blobs:
                wanted["actions"] = {"upload": {"href": f"{url}/lfs/{wanted['oid']}"}}
        return as_json({"transfer": "basic", "objects": objects})

    def _upload(self, found: re.Match[str], body: bytes, _token: str, _url: str) -> Answer:
        if hashlib.sha256(body).hexdigest() != found["oid"]:
            return refusal(400, "", "Another file than was announced")
        self.blobs[found["oid"]] = body
        return Answer()

    def _commit(self, found: re.Match[str], body: bytes, _token: str, url: str) -> Answer:
        repo = self.repos[found["repo"]]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repo.files[value["path"]] = self.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del repo.files[value["path"]]
        repo.n_commits += 1
        address = f"{url}/{found['repo']}/commit/{repo.commit}"
        return as_json({"commitUrl": address, "commitOid": repo.commit})

    def _set(self, found: re.Match[str], body: bytes, _token: str, _url: str) -> Answer:
        value, settings = json.loads(body), self.repos[found["repo"]].settings
        if found["key"] == "hardware":
            settings["hardware"] = value["flavor"]
            return as_json({"stage": "BUILDING", "hardware": {"requested": value["flavor"]}})
        settings.setdefault(found["key"], {})[value["key"]] = value["value"]
        return as_json({value["key"]: value})

    def _runtime(self, found: re.Match[str], _body: bytes, _token: str, _url: str) -> Answer:
        repo = self.repos[found["repo"]]
        told = repo.stages.pop(0) if len(repo.stages) > 1 else repo.stages[0]
        stage, _, commit = told.partition("@")
        hardware = {"current": repo.settings.get("hardware", "cpu-basic")}
        return as_json({"stage": stage, "hardware": hardware, "sha": commit or repo.commit})

    def _logs(self, found: re.Match[str], _body: bytes, _token: str, _url: str) -> Answer:
        lines = [json.dumps({"data": line}) for line in self.repos[found["repo"]].log]
        body = "".join(f"data: {line}\n\n" for line in lines)
        return Answer(200, body.encode(), {"Content-Type": "text/event-stream"})

    def _file(self, found: re.Match[str], _body: bytes, _token: str, _url: str) -> Answer:
        repo = self.repos.get(f"models/{found['repo']}")
        if repo is None:
            return refusal(401, "RepoNotFound", "Repository not found")
        if found["at"] not in ("main", repo.commit):
            return refusal(404, "RevisionNotFound", "Invalid rev id")
        content = repo.files.get(found["file"])
        if content is None:
            return Answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit})
        tag = hashlib.sha256(content).hexdigest()
        return Answer(200, content, {"X-Repo-Commit": repo.commit, "ETag": f'"{tag}"'})
