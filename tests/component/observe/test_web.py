"""Who is answered over HTTP, and that nobody who is not keeps others waiting: real sockets, real TLS."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe import web
from csi_cinderlib.observe.web import UNPROTECTED, Protection
from tests.support.certificates import make_certificate
from tests.support.ports import free_port

Serve = Callable[..., int]
TOKEN = "s3cret-token"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer `/page` on a free port until the test ends; returns the port."""
    with ExitStack() as undo:

        def started(protection: Protection = UNPROTECTED, page: Callable[[], web.Answer] | None = None) -> int:
            port = free_port()
            pages = {"/page": page or (lambda: (200, "text/plain", b"figures"))}
            undo.callback(web.serve("k", f"127.0.0.1:{port}", pages, protection))
            return port

        yield started


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def get(port: int, path: str = "/page", *, authorization: str | None = None, trusted: Path | None = None) -> bytes:
    """Raises HTTPError for every status but 200."""
    request = urllib.request.Request(f"{'https' if trusted else 'http'}://127.0.0.1:{port}{path}")
    if authorization is not None:
        request.add_header("Authorization", authorization)
    context = ssl.create_default_context(cafile=str(trusted)) if trusted else None
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer  {TOKEN} "])
def test_who_has_the_token_is_answered(authorization: str, serve: Serve, token: Path) -> None:
    assert get(serve(Protection(token_file=str(token))), authorization=authorization) == b"figures"


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xe9"],
)
def test_nobody_else_is_told_even_which_pages_there_are(authorization: str | None, serve: Serve, token: Path) -> None:
    port = serve(Protection(token_file=str(token)))
    for path in ("/page", "/else"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(port, path, authorization=authorization)
        with refused.value as answer:
            assert (answer.code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert TOKEN.encode() not in answer.read()


def test_a_token_that_was_exchanged_counts_at_once(serve: Serve, token: Path) -> None:
    port = serve(Protection(token_file=str(token)))
    token.write_text("another")
    assert get(port, authorization="Bearer another") == b"figures"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(port, authorization=f"Bearer {TOKEN}")


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text(""), lambda path: path.write_text("\n")])
def test_without_a_token_in_its_file_nobody_is_admitted(
    harm: Callable[[Path], object], serve: Serve, token: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = serve(Protection(token_file=str(token)))
    harm(token)
    for authorization in (f"Bearer {TOKEN}", "Bearer ", None):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(port, authorization=authorization)
    assert caplog.text.count("bearer token not usable") == 1
    token.write_text(TOKEN)
    assert get(port, authorization=f"Bearer {TOKEN}") == b"figures"


@pytest.mark.parametrize("text", ["", "  \n", "two words", "\xe9"])
def test_a_file_without_a_usable_token_is_refused_at_the_start(text: str, serve: Serve, token: Path) -> None:
    token.write_text(text)
    with pytest.raises(ConfigurationError, match="must contain a token"):
        serve(Protection(token_file=str(token)))


def test_pages_are_encrypted_with_the_certificate(serve: Serve, tmp_path: Path) -> None:
    protection = make_certificate(tmp_path, "a")
    port = serve(protection)
    assert get(port, trusted=Path(protection.certificate_file)) == b"figures"
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        get(port)


def test_old_versions_of_tls_are_refused(serve: Serve, tmp_path: Path) -> None:
    port = serve(make_certificate(tmp_path, "a"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", port)) as connection, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(connection)


def test_a_certificate_that_was_exchanged_is_used_at_once(serve: Serve, tmp_path: Path) -> None:
    """By a link, as the kubelet exchanges a mounted Secret."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        make_certificate(tmp_path / name, "tls")
    data = tmp_path / "data"
    data.symlink_to("old")
    port = serve(Protection(certificate_file=str(data / "tls.crt"), key_file=str(data / "tls.key")))
    assert get(port, trusted=tmp_path / "old/tls.crt") == b"figures"
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(data)
    assert get(port, trusted=tmp_path / "new/tls.crt") == b"figures"


def test_half_an_exchange_leaves_the_certificate_of_before(serve: Serve, tmp_path: Path) -> None:
    protection = make_certificate(tmp_path, "a")
    old = tmp_path / "old.crt"
    old.write_bytes(Path(protection.certificate_file).read_bytes())
    port = serve(protection)
    other = make_certificate(tmp_path, "b")
    Path(other.certificate_file).replace(protection.certificate_file)
    assert get(port, trusted=old) == b"figures"
    Path(other.key_file).replace(protection.key_file)
    assert get(port, trusted=Path(protection.certificate_file)) == b"figures"
    Path(protection.key_file).unlink()
    assert get(port, trusted=Path(protection.certificate_file)) == b"figures"


def test_a_certificate_that_cannot_be_used_is_named(serve: Serve, tmp_path: Path) -> None:
    first, second = (make_certificate(tmp_path, name) for name in "ab")
    with pytest.raises(ConfigurationError, match=r"a\.crt and .*b\.key: cannot be used for TLS"):
        serve(Protection(certificate_file=first.certificate_file, key_file=second.key_file))
    with pytest.raises(ConfigurationError, match="cannot be used for TLS: No such file"):
        serve(Protection(certificate_file=first.certificate_file, key_file=str(tmp_path / "none")))


def test_a_key_with_a_password_is_refused_and_not_asked_for_on_the_terminal(serve: Serve, tmp_path: Path) -> None:
    protection = make_certificate(tmp_path, "a")
    path = Path(protection.key_file)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    form, locked = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"password")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))
    with pytest.raises(ConfigurationError, match="cannot be used for TLS"):
        serve(protection)


@pytest.mark.parametrize("encrypted", [False, True])
def test_silent_clients_keep_nobody_waiting_however_many_they_are(
    encrypted: bool, serve: Serve, tmp_path: Path
) -> None:
    protection = make_certificate(tmp_path, "a") if encrypted else UNPROTECTED
    port = serve(protection)
    with ExitStack() as undo:
        silent = [
            undo.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(web.MOST_CLIENTS + 20)
        ]
        answer = get(port, trusted=Path(protection.certificate_file) if encrypted else None)
        assert answer == b"figures"
        silent[0].settimeout(60)
        assert silent[0].recv(1) == b"", "the oldest has to go"
        deadline = time.monotonic() + 60
        while clients() >= web.MOST_CLIENTS + 20:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def clients() -> int:
    """The threads that have one; those of whom had to go may take a moment to end."""
    return len([thread for thread in threading.enumerate() if thread.name.startswith("Thread-")])


def test_a_page_that_fails_costs_its_own_answer_alone(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[web.Answer] = [(200, "text/plain", b"figures")]
    port = serve(page=answers.pop)
    assert get(port) == b"figures"
    with pytest.raises(ConnectionError):
        get(port)
    answers.append((200, "text/plain", b"again"))
    assert get(port) == b"again"
    assert "HTTP page failed" in caplog.text


@pytest.mark.parametrize("said", [b"\x00\xff" * 500, b"GET /page\r\n", b"GET " + b"a" * 70_000, b"POST /page HTTP/1.1\r\n\r\n", b""])  # fmt: skip
def test_what_is_no_request_costs_nobody_else(said: bytes, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    port = serve()
    with socket.create_connection(("127.0.0.1", port)) as odd:
        odd.sendall(said)
    assert get(port) == b"figures"
    assert "Traceback" not in capsys.readouterr().err
