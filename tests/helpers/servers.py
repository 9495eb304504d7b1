"""Servers of others on this machine: keys, and what goes wrong with fetching them over HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
#: alg -> the key that signs with it
KEYS: dict[str, Any] = {
    "RS256": RSA_KEY,
    "RS512": RSA_KEY,
    "PS256": RSA_KEY,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def jwk(key: Any, algorithm: str = "RS256", **members: Any) -> dict[str, Any]:
    """Return a public key as it is published."""
    written: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    written.pop("key_ops", None)
    return {**written, "kid": "one", **members}


def certificate_for(*names: str) -> bytes:
    """Return a certificate that is valid for an hour and signed by itself, and its key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(RSA_KEY.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=1))
        .add_extension(alternatives, critical=False)
        .sign(RSA_KEY, SHA256())
    )
    key = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM) + key


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serve(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve HTTP on a free port, and yield the address of the server without a trailing slash."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answer(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the site had enough

        do_POST = do_GET

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def refuse(handler: BaseHTTPRequestHandler) -> None:
    send(handler, b"", 503)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def send_nonsense(handler: BaseHTTPRequestHandler) -> None:
    send(handler, b"\xff<html>")


def send_deep(handler: BaseHTTPRequestHandler) -> None:
    send(handler, b"[" * 100_000)


def send_too_much(handler: BaseHTTPRequestHandler) -> None:
    send(handler, json.dumps({"keys": [jwk(RSA_KEY)], "x": "x" * 1024 * 1024}).encode())


def send_without_end(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 65_536)


def stall(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(5)


def _drip(handler: BaseHTTPRequestHandler, text: bytes) -> None:
    for byte in text:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.05)


def trickle(handler: BaseHTTPRequestHandler) -> None:
    body = json.dumps({"keys": [jwk(RSA_KEY)]}).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    _drip(handler, body)


def drip_status_line(handler: BaseHTTPRequestHandler) -> None:
    _drip(handler, b"HTTP/1.1 200 " + b"O" * 100)


def drip_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    _drip(handler, b"X-Header: x\r\n" * 10)


def put_off(handler: BaseHTTPRequestHandler) -> None:
    """Tell the client again and again to go on (RFC 9110 section 15.2.1)."""
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.05)


FAILURES = [
    refuse,
    hang_up,
    send_nonsense,
    send_deep,
    send_too_much,
    send_without_end,
    stall,
    drip_status_line,
    drip_headers,
    put_off,
    trickle,
]
