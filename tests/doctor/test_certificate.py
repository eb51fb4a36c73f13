"""The public URL's certificate, with a real TLS server."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ops.config import Settings
from ops.doctor import certificate
from ops.world import World


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """A TLS server with a certificate that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(9))
    built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    pem = tmp_path / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def _world(root: Path, url: str) -> World:
    settings = Settings.load(root, {"PUBLIC_URL": url})
    return World.of(settings, today=date(2026, 11, 23))


def test_a_certificate_that_nobody_signed_is_refused(root: Path, tls_port: int) -> None:
    """Self-signed: the reason is told as TLS tells it."""
    found = certificate.verified(_world(root, f"https://localhost:{tls_port}"))
    assert found.status == "fail"
    assert "self-signed" in found.summary


def test_a_certificate_that_is_trusted_is_judged_by_its_days(
    root: Path, tls_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its authority trusted the certificate verifies, and nine days are too few."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    found = certificate.verified(_world(root, f"https://localhost:{tls_port}"))
    assert found.status == "warn"
    assert "ends in 9 days" in found.summary
    assert certificate.judge("a.test", 60).status == "ok"


def test_nobody_there_is_unknown(root: Path) -> None:
    """A certificate that could not be asked for is not a bad one."""
    assert certificate.verified(_world(root, "https://localhost:1")).status == "unknown"


def test_plain_http_on_this_machine_has_none(root: Path) -> None:
    """The simulated tunnel needs no certificate."""
    assert certificate.verified(_world(root, "http://127.0.0.1:8103")).status == "ok"
