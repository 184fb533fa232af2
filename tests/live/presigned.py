"""A door before moto that judges two kinds of request as S3 does; all others pass as they are.

moto that enforces policies reads the credentials from the Authorization header alone and answers
500 to a presigned URL: here such a request is signed anew, with the credentials that the URL names.
And it asks whether the *bucket* may be deleted from when several objects are deleted at once, where
S3 asks for each: here they become as many requests. The same role is judged in either case.
"""

import contextlib
import http.client
import http.server
import re
import threading
from collections.abc import Iterator, Mapping
from html import unescape
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


@contextlib.contextmanager
def door(endpoint: str, region: str, credentials: Mapping[str, str]) -> Iterator[str]:
    """Its address; ``credentials`` are those of the one who may presign, as boto3 takes them."""
    signer = Credentials(
        credentials["aws_access_key_id"],
        credentials["aws_secret_access_key"],
        credentials["aws_session_token"],
    )
    to = urlsplit(endpoint).netloc

    def sent(
        method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(to, timeout=60)
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        told = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return told

    def signed(
        method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        request = AWSRequest(method, f"{endpoint}{path}", data=body, headers={})
        S3SigV4Auth(signer, "s3", region).add_auth(request)
        return sent(method, path, body, {**headers, **dict(request.headers.items()), "Host": to})

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            if "X-Amz-Signature" in query:
                named = query["X-Amz-Credential"].partition("/")[0], query["X-Amz-Security-Token"]
                assert named == (signer.access_key, signer.token)
                rest = {key: value for key, value in query.items() if not key.startswith("X-Amz-")}
                path = url.path + (f"?{urlencode(rest)}" if rest else "")
                self._answer(*signed(self.command, path, body, dict(self.headers.items())))
            elif self.command == "POST" and "delete" in query:
                keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
                refused = [
                    key
                    for key in keys
                    if signed("DELETE", f"{url.path}/{quote(unescape(key))}", b"", {})[0] != 204
                ]
                errors = "".join(
                    f"<Error><Key>{key}</Key><Code>AccessDenied</Code></Error>" for key in refused
                )
                self._answer(200, {}, f"<DeleteResult>{errors}</DeleteResult>".encode())
            else:
                self._answer(*sent(self.command, self.path, body, dict(self.headers.items())))

        def _answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
            self.send_response(status)
            for key, value in headers.items():
                if key.lower() not in {"connection", "content-length", "transfer-encoding"}:
                    self.send_header(key, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing: urllib3 tells on the other side."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
