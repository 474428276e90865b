"""A program that uses the JSON API, as small as one can be."""

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.pace import within


class APIError(AssertionError):
    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


class API:
    """``api.post("lists", {"name": "Friends"})`` returns the JSON; raises ``APIError`` for 4xx and 5xx."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url, self.token = url.rstrip("/"), token

    def login(self, email: str, **fields: Any) -> dict[str, Any]:
        answer = self.post("login", {"email": email, **fields})
        self.token = answer["token"]
        return answer

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def post(self, path: str, body: Any = None, key: str = "") -> Any:
        return self._ask("POST", path, body, {"Idempotency-Key": key} if key else {})

    def patch(self, path: str, body: Any) -> Any:
        return self._ask("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path)

    def upload(self, path: str, name: str, content: bytes, **fields: str) -> Any:
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
            for field, value in fields.items()
        ]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: text/csv\r\n\r\n".encode()
            + content
            + b"\r\n"
        )
        data = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return self._send("POST", path, data, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def items(self, path: str, limit: int = 500) -> Iterator[Any]:
        """Yield every item of a collection, page by page."""
        after, mark = "", "&" if "?" in path else "?"
        while after is not None:
            page = self.get(f"{path}{mark}limit={limit}" + (f"&after={after}" if after else ""))
            yield from page["items"]
            after = page["next"]

    def wait(self, path: str, until: Callable[[Any], bool], seconds: float = 60) -> Any:
        """Repeat a request until the response is as expected."""
        began = time.monotonic()
        while not until(answer := self.get(path)):
            assert time.monotonic() - began < within(seconds), f"{path} after {seconds} s: {answer}"
            time.sleep(0.2)
        return answer

    def _ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        headers = dict(headers or {})
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        return self._send(method, path, data, headers)

    def _send(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Any:
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}", data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                kind = answer.headers.get_content_type()
                return json.loads(text) if kind == "application/json" and text else text.decode()
        except urllib.error.HTTPError as error:
            with error:
                raise APIError(error.code, json.loads(error.read() or b"{}")) from None
