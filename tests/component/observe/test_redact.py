"""What must not be seen is not seen, and the rest is."""

from __future__ import annotations

import base64
import gc
import math
import time
from collections.abc import Callable

import pytest

from csi_cinderlib.backend import catalogue
from csi_cinderlib.errors import BackendError, HostError
from csi_cinderlib.model.verbatim import Verbatim
from csi_cinderlib.observe import redact
from csi_cinderlib.observe.spellings import Spelling

CANARY = "hunter2-canary"


@pytest.mark.parametrize(
    "key",
    ["auth_password", "san_password", "chap_password", "password", "token", "session_token", "client_secret", "secrets",
     "encryption_key", "private_key", "discovery_auth_password", "keyring", "passphrase", "db-pass", "Authorization",
     "lightos_jwt", "synology_device_id", "serverToken", "iBaseToken", "sessionKey", "JSESSIONID", "Set-Cookie", "userPwd"],
)  # fmt: skip
def test_a_key_that_names_a_secret_hides_its_value(key: str) -> None:
    assert redact.mapping({key: CANARY, "other": "seen"}) == {key: "***", "other": "seen"}


@pytest.mark.parametrize(
    "key",
    [
        "auth_method",
        "auth_username",
        "volume_id",
        "target_iqn",
        "bypass",
        "keys",
        "tokens_seen",
        "metro_replication_session_id",
    ],
)
def test_a_key_that_names_no_secret_shows_its_value(key: str) -> None:
    assert redact.mapping({key: "seen"}) == {key: "seen"}


def test_secrets_are_hidden_at_any_depth() -> None:
    shown = redact.mapping({"data": {"targets": [{"auth_password": CANARY, "lun": 1}]}, "empty": {"password": ""}})
    assert shown == {"data": {"targets": [{"auth_password": "***", "lun": 1}]}, "empty": {"password": ""}}


@pytest.mark.parametrize(
    "text",
    [
        f"login failed: password={CANARY}",
        f"{{'auth_password': '{CANARY}', 'auth_method': 'CHAP'}}",
        f'{{"chap_secret": "{CANARY}"}}',
        f"postgresql://cinder:{CANARY}@db/cinder",
        f"cryptsetup --password {CANARY}",
        f"iscsiadm -m node -o update -n node.session.auth.password -v {CANARY}",
        f"['iscsiadm', '-n', 'node.session.auth.password', '-v', '{CANARY}']",
        f"session_token => {CANARY}; next",
        f"password: '{CANARY}'",
        f"SAN_PASSWORD={CANARY}",
        f"pa\u017f\u017fword={CANARY}",
        f"API_\u212aEY={CANARY}",
        f"CREDENT\u0130AL={CANARY}",
        f"credent\u0131al={CANARY}",
        f"passphrase={CANARY}",
        f"--credential-file {CANARY}",
        f"<password>{CANARY}</password>",
        f'<ns:adminPassword type="clear">{CANARY}</ns:adminPassword>',
        f'{{\\"password\\": \\"{CANARY}\\"}}',
        f"{{\\\\\\'api_token\\\\\\': \\\\\\'{CANARY} x\\\\\\'}}",
        f'{{"password": "a \\"{CANARY}"}}',
        f"{{'password': 'a \\'{CANARY}'}}",
        f"password='a\\\n{CANARY}'",
        f"{{'password': '{CANARY}",
        f"jwt={CANARY}",
    ],
)
def test_text_is_shown_without_the_values_that_are_called_secret(text: str) -> None:
    assert CANARY not in redact.text(text)
    assert "***" in redact.text(text)


@pytest.mark.parametrize(
    "text",
    [
        f"send: b'GET / HTTP/1.1\\r\\nAuthorization: Basic {CANARY}\\r\\nHost: a'",
        f"{{'Authorization': 'Bearer {CANARY}', 'Host': 'a'}}",
        f'curl -H "Proxy-Authorization: Basic {CANARY}" a',
    ],
)
def test_a_header_is_shown_without_its_credentials(text: str) -> None:
    shown = redact.text(text)
    assert CANARY not in shown
    assert "***" in shown and "a" in shown.rpartition("***")[2]


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", [b"", b"a:", b"ab:", b"abc:", b"admin:"])
@pytest.mark.parametrize("after", [b"", b"\n", b":realm"])
@pytest.mark.parametrize("password", [CANARY, "~~~?>?>?x", "pässwörd"])
def test_an_option_that_is_secret_is_hidden_in_base64(
    encode: Callable[[bytes], bytes], before: bytes, after: bytes, password: str
) -> None:
    whole = encode(before + password.encode() + after).decode()
    with redact.hiding(redact.secrets_in({"san_password": password})):
        shown = redact.text(f"sent {whole} to the array")
    assert shown.startswith("sent ") and shown.endswith(" to the array")
    assert "***" in shown
    left, right = shown.split()[1].split("***")
    assert len(left) <= math.ceil(len(before) * 8 / 6)
    assert len(right) <= len(whole) - len(before + password.encode()) * 8 // 6


@pytest.mark.parametrize(
    "text",
    [
        "secrets: holds 5000 bytes, and 4096 are allowed",
        "starting_token: is not one of this driver's",
        "http://host:8080/path",
        "volume x=1",
        "Basic authentication failed",
        "set <password> to the password of <user>",
    ],
)
def test_prose_about_secrets_stays_readable(text: str) -> None:
    assert redact.text(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        "é",
        "a.",
        "password",
        "password ",
        "--a",
        "x://",
        "'",
        "token:'",
        "token='\\'",
        '<secret a="',
        "<token></",
        'password=\\"',
    ],
)
def test_much_text_of_any_kind_is_looked_through_at_once(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    began = time.monotonic()
    assert redact.text(text)
    assert time.monotonic() - began < 20, "minutes, if it were quadratic"


def test_every_option_that_cinder_calls_secret_has_a_name_that_says_so() -> None:
    """Paths of files are to be read in messages; the keys of a `replication_device` say which of its values are secret."""
    drivers = (catalogue.load().common, *(driver.options for driver in catalogue.load().drivers))
    secret = {option.name for options in drivers for option in options if option.secret}
    names = {name for name in secret if not redact.is_secret_key(name)}
    assert names == {
        "netapp_ca_certificate_file",
        "netapp_certificate_file",
        "netapp_private_key_file",
        "replication_device",
    }
    assert "lightos_jwt" in secret


@pytest.mark.parametrize(
    "options",
    [
        {"san_password": CANARY},
        {"san_password": [CANARY, "another"]},
        {"credentials": {"key": {"value": [CANARY]}}},
        {"replication_device": [{"backend_id": "b", "targets": [[{"api_token": CANARY}]]}]},
        {"replication_device": [f"backend_id:b,api_token:{CANARY},pool:p"]},
        {"replication_device": {"backend_id": "b", "nested": {"chap": {"password": CANARY}}}},
        {"devices": [[f"user:u, password : '{CANARY}'"]]},
        {"san_url": f"https://admin:{CANARY}@array/api"},
        {"san_url": f"https://admin:{CANARY.replace('-', '%2D')}@array/api"},
        {"san_password": Verbatim("$other", resolved=CANARY)},
        {"san_url": Verbatim("https://$san_password@a", referred={"b.san_password": CANARY})},
        {"replication_device": [Verbatim("password:$other", resolved=f"backend_id:b,password:{CANARY}")]},
    ],
)
def test_the_secrets_of_options_are_found_at_any_depth(options: dict[str, object]) -> None:
    with redact.hiding(redact.secrets_in(options)):
        assert redact.known(f"the array said {CANARY}, go on") == "the array said ***, go on"


def test_what_is_no_secret_is_not_taken_for_one() -> None:
    options = {
        "use_secret": True,
        "password": None,
        "replication_device": [{"backend_id": "array2", "san_login": "admin"}],
        "san_url": "https://array:8443/api",
    }
    assert list(redact.secrets_in(options)) == []


def test_an_error_of_a_back_end_is_shown_without_its_secrets() -> None:
    options = [*redact.secrets_in({"san_password": CANARY})]
    assert redact.of_backend(BackendError("array1", f"no session for {CANARY}"), options) == "no session for ***"
    assert redact.of_backend(HostError(f"/run/{CANARY} is full"), options) == "/run/*** is full"


def test_the_values_of_the_current_call_are_hidden_wherever_they_turn_up() -> None:
    with redact.hiding([CANARY, "on"]):
        assert redact.text(f"the array said {CANARY!r}, go on") == "the array said '***', go on"
    assert CANARY in redact.text(f"the array said {CANARY!r}")


def test_the_values_of_a_call_are_forgotten_with_it() -> None:
    value = f"canary {'of one call ' * 300}ends"
    with redact.hiding([value]), redact.hiding([value]):
        assert redact.text(f"it said {value}") == f"it said {redact.HIDDEN}"
        assert redact.hidden() == (value, value)
        assert kept(value)
    assert not kept(value)


def kept(value: str) -> bool:
    """Whether spellings of the value are in memory."""
    return any(isinstance(item, Spelling) and item.secret == value for item in gc.get_objects())


def test_what_is_hidden_in_the_process_is_hidden_until_it_is_taken_back() -> None:
    ends = [redact.hide_in_process([word]) for word in ("canary", "canary-long", "other-word")]
    assert redact.text("canary-long canary other-word") == "*** *** ***"
    with redact.hiding(["canary-long-too"]):
        assert redact.text("canary-long-too canary") == "*** ***"
    for end in ends[:2]:
        end()
    assert redact.text("canary-long canary other-word") == "canary-long canary ***"
    ends[2]()
    assert redact.text("other-word") == "other-word"


def test_a_secret_that_contains_another_is_hidden_whole() -> None:
    with redact.hiding(["canary", "canary-long"]):
        assert redact.text("canary-long canary") == "*** ***"


@pytest.mark.parametrize(
    "command",
    [
        "cinder-rtstool create /dev/vg/volume-1 iqn.2010-10.org.openstack:volume-1 user pa55word False -p3260",
        "cinder-rtstool add-initiator iqn.2010-10.org.openstack:volume-1 user pa55word iqn.1993-08.org.debian:01:1",
    ],
)
def test_passwords_that_a_command_takes_by_place_are_hidden(command: str) -> None:
    shown = redact.text(f"Unexpected error while running command.\nCommand: {command}\nExit code: 1")
    assert "pa55word" not in shown
    assert shown.endswith("Exit code: 1")
    assert "cinder-rtstool" in shown
