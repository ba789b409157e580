"""LXD's API: the one door to the daemon. No pylxd object leaves this module.

pylxd waits for an operation without an end, and its socket gives up after 60 s while LXD goes on.
So operations are begun, and then waited for in slices until a deadline of the caller's.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import pylxd
import requests
from pylxd.exceptions import ClientConnectionFailed, LXDAPIException

from lab.errors import LabError

REQUEST_TIMEOUT_S = 60
UPLOAD_TIMEOUT_S = 600
WAIT_SLICE_S = 10


class LxdUnreachable(LabError):
    """No daemon answers."""


class LxdSilent(LxdUnreachable):
    """The daemon took a request and did not answer it in time: it may be busy."""


class LxdRefused(LabError):
    """LXD answered that it cannot."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Lxd:
    """A project of an LXD daemon. May be used from several threads; each has a client of its own.

    Paths are those of the REST API below `/1.0`, like `instances/web-1/state`.
    """

    def __init__(self, project: str) -> None:
        self._project = project
        self._local = threading.local()

    def get(self, path: str, **query: str | int) -> Any:
        """The metadata of the answer."""
        return self._call("get", path, query)

    def find(self, path: str) -> Any | None:
        """The metadata of the answer; None where there is nothing."""
        try:
            return self.get(path)
        except LxdRefused as refusal:
            if refusal.status == 404:
                return None
            raise

    def post(self, path: str, body: dict[str, Any], deadline_s: float = 60) -> Any:
        return self._finish(self._call("post", path, {}, json=body), deadline_s)

    def put(self, path: str, body: dict[str, Any], deadline_s: float = 60) -> Any:
        return self._finish(self._call("put", path, {}, json=body), deadline_s)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self._finish(self._call("patch", path, {}, json=body), 60)

    def delete(self, path: str, deadline_s: float = 60) -> None:
        """Nothing happens if there is no such thing."""
        try:
            self._finish(self._call("delete", path, {}), deadline_s)
        except LxdRefused as refusal:
            if refusal.status != 404:
                raise

    def upload(self, path: str, content: IO[bytes], headers: dict[str, str]) -> Any:
        """Send a file's content and wait for what LXD makes of it."""
        answer = self._call(
            "post", path, {}, data=content, headers=headers, timeout=UPLOAD_TIMEOUT_S
        )
        return self._finish(answer, UPLOAD_TIMEOUT_S)

    def download(self, path: str, target: IO[bytes]) -> str:
        """Write what is at `path` to a file; its content type."""
        node = self._node(path)
        try:
            answer = node.get(
                is_api=False,
                stream=True,
                params={"project": self._project},
                timeout=UPLOAD_TIMEOUT_S,
            )
            for block in answer.iter_content(1024 * 1024):
                target.write(block)
        except (LXDAPIException, requests.RequestException) as error:
            raise LabError(f"cannot read {path} from LXD: {error}") from None
        kind: str = answer.headers["Content-Type"]
        return kind

    def execute(self, instance: str, command: list[str], deadline_s: float) -> str:
        """Run a command in an instance; what it printed. LabError if it failed or took longer."""
        body = {
            "command": command,
            "record-output": True,
            "wait-for-websocket": False,
            "interactive": False,
        }
        result = self.post(f"instances/{instance}/exec", body, deadline_s)
        output = {
            stream: self._log_text(path) for stream, path in (result.get("output") or {}).items()
        }
        if result["return"] != 0:
            words = (output.get("2") or output.get("1") or "").strip().splitlines()
            raise LabError(
                f"{' '.join(command)} failed in {instance} with {result['return']}: "
                f"{words[-1] if words else 'nothing printed'}"
            )
        return output.get("1", "")

    def push(self, instance: str, target: str, content: bytes, mode: int) -> None:
        """Write a file in an instance, and the directories above it."""
        client = self._client()
        try:
            files = client.instances.get(instance).files
            for parent in reversed(Path(target).parents[:-1]):
                files.mk_dir(str(parent), mode=0o755, uid=0, gid=0)
            files.put(target, content, mode=mode, uid=0, gid=0)
        except (LXDAPIException, requests.RequestException) as error:
            raise LabError(f"cannot write {target} in {instance}: {error}") from None

    def server(self) -> dict[str, Any]:
        """Version, storage drivers, kernel features."""
        environment: dict[str, Any] = self.get("")["environment"]
        return environment

    def _log_text(self, path: str) -> str:
        node = self._node(path.removeprefix("/1.0/"))
        text: str = node.get(is_api=False).text
        node.delete()
        return text

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            try:
                client = pylxd.Client(project=self._project, timeout=REQUEST_TIMEOUT_S)
            except (ClientConnectionFailed, requests.RequestException, OSError):
                raise LxdUnreachable(
                    "LXD does not answer: ./lab.sh installs and starts it; "
                    "`lab doctor` says what is missing"
                ) from None
            self._local.client = client
        return client

    def _node(self, path: str) -> Any:
        node = self._client().api
        for part in path.split("/"):
            if part:
                node = node[quote(part, safe="")]
        return node

    def _call(self, method: str, path: str, query: dict[str, Any], **sent: Any) -> Any:
        node = self._node(path)
        try:
            answer = getattr(node, method)(params={"project": self._project, **query}, **sent)
        except LXDAPIException as refusal:
            response = refusal.response
            raise LxdRefused(f"LXD: {refusal} ({path})", response.status_code) from None
        except requests.Timeout:
            self._local.client = None
            raise LxdSilent(f"LXD did not answer within {REQUEST_TIMEOUT_S} s ({path})") from None
        except requests.RequestException as error:
            self._local.client = None
            raise LxdUnreachable(f"LXD does not answer: {error}") from None
        document = answer.json()
        return document if document.get("type") == "async" else document["metadata"]

    def _finish(self, answer: Any, deadline_s: float) -> Any:
        if not (isinstance(answer, dict) and answer.get("type") == "async"):
            return answer
        operation = answer["operation"].removeprefix("/1.0/").split("?")[0]
        until = time.monotonic() + deadline_s
        while True:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise LabError(f"LXD is still busy after {deadline_s:g} s: {operation}")
            slice_s = max(1, round(min(left_s, WAIT_SLICE_S)))
            try:
                state = self.get(f"{operation}/wait", timeout=slice_s)
            except LxdSilent:
                continue
            if state["status"] == "Success":
                return state["metadata"]
            if state["status"] in ("Failure", "Cancelled"):
                raise LxdRefused(f"LXD: {state['err']}", int(state.get("status_code", 400)))
