"""Sealing: rotation, tampering, and errors that name the key id and never the text."""

import subprocess
import sys
import types

import pytest
from cryptography import fernet

from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.errors import ConfigurationError, InvalidRequest
from csi_cinderlib.sealing import Sealer, generate_key

OLD = SealingKey(id="old", key=generate_key())
NEW = SealingKey(id="new", key=generate_key())
SECRET = b'{"auth_password":"s3cret-canary"}'


def test_what_is_sealed_opens_again_and_does_not_show() -> None:
    text = Sealer([OLD]).seal(SECRET)
    assert text.startswith("k:old:")
    assert "canary" not in text
    assert Sealer([OLD]).open(text) == SECRET
    assert Sealer([OLD]).active


def test_the_first_key_writes_and_all_keys_read() -> None:
    both = Sealer([NEW, OLD])
    assert both.seal(b"x").startswith("k:new:")
    assert both.open(Sealer([OLD]).seal(SECRET)) == SECRET


def test_without_keys_the_text_is_only_wrapped() -> None:
    sealer = Sealer()
    assert not sealer.active
    assert sealer.seal(b"x") == "plain:eA=="
    assert sealer.open("plain:eA==") == b"x"


def test_a_process_with_keys_refuses_what_is_not_sealed() -> None:
    with pytest.raises(InvalidRequest, match=r"is not sealed.*'old'"):
        Sealer([OLD]).open(Sealer().seal(SECRET))


def test_a_missing_key_is_named_and_the_text_is_not_shown() -> None:
    text = Sealer([OLD]).seal(SECRET)
    with pytest.raises(InvalidRequest, match=r"key 'old', which is not configured; configured keys: 'new'") as caught:
        Sealer([NEW]).open(text)
    assert text.split(":")[2] not in str(caught.value)
    with pytest.raises(InvalidRequest, match="configured keys: none"):
        Sealer().open(text)


def test_another_key_under_the_same_id_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"cannot be unsealed with key 'old'"):
        Sealer([SealingKey(id="old", key=NEW.key)]).open(Sealer([OLD]).seal(SECRET))


def test_a_changed_text_is_refused() -> None:
    text = Sealer([OLD]).seal(SECRET)
    flipped = text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:]
    with pytest.raises(InvalidRequest, match="text was modified"):
        Sealer([OLD]).open(flipped)


@pytest.mark.parametrize("text", ["", "hello", "k:", "k:old", "k:old:", "plain:%%%", "plain:ä", "k:old:ä"])
def test_what_this_driver_did_not_make_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Sealer([OLD]).open(text)
    with pytest.raises(InvalidRequest):
        Sealer().open(text)


@pytest.mark.parametrize("text", ["", "hello", "hello:old:x", "plain:%%%", "plain:ä"])
def test_what_this_driver_did_not_make_is_said_to_be_foreign(text: str) -> None:
    with pytest.raises(InvalidRequest, match="was not created by this driver's controller"):
        Sealer().open(text)


def test_a_token_with_a_colon_is_that_of_the_key_before_the_first() -> None:
    with pytest.raises(InvalidRequest, match="cannot be unsealed with key 'old'"):
        Sealer([OLD]).open("k:old:not:a:token")


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ([SealingKey(id="", key=OLD.key)], r"sealing_keys\.0\.id"),
        ([SealingKey(id="a:b", key=OLD.key)], r"sealing_keys\.0\.id"),
        ([OLD, OLD], r"sealing_keys\.1\.id: duplicate key id 'old'"),
        ([SealingKey(id="short", key="QUJD")], r"sealing_keys\.0\.key: key 'short'"),
        ([SealingKey(id="junk", key="ä")], r"sealing_keys\.0\.key"),
    ],
)
def test_a_wrong_key_is_a_configuration_error_that_names_it(keys: list[SealingKey], where: str) -> None:
    with pytest.raises(ConfigurationError, match=where):
        Sealer(keys)


def test_cryptography_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys; from csi_cinderlib.sealing import Sealer; s = Sealer(); s.open(s.seal(b'x'));"
        "sys.exit(any(m.startswith('cryptography') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_key_is_looked_for_once_more_before_it_is_refused() -> None:
    old, new = SealingKey(id="old", key=generate_key()), SealingKey(id="new", key=generate_key())
    looked: list[str] = []

    def reread() -> None:
        looked.append("again")
        node.rotate([new, old])

    node = Sealer([old], reread=reread)
    assert node.open(Sealer([new]).seal(b"x")) == b"x"
    with pytest.raises(InvalidRequest, match="'third', which is not configured;"):
        node.open(Sealer([SealingKey(id="third", key=generate_key())]).seal(b"x"))
    assert looked == ["again", "again"]


class ExchangedMeanwhile(types.ModuleType):
    """Fernet's module, whose use is the moment at which another thread exchanges the keys."""

    def __init__(self, sealer: Sealer) -> None:
        super().__init__("cryptography.fernet")
        self.InvalidToken = fernet.InvalidToken
        self._sealer = sealer

    def __getattr__(self, name: str) -> object:
        if name != "Fernet":
            raise AttributeError(name)
        self._sealer.rotate([NEW])
        return fernet.Fernet


def test_a_call_that_seals_or_opens_while_the_keys_are_exchanged_ends_with_those_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sealer, text = Sealer([OLD]), Sealer([OLD]).seal(SECRET)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cryptography.fernet", ExchangedMeanwhile(sealer))
        sealed = sealer.seal(SECRET)
        sealer.rotate([OLD])
        assert sealer.open(text) == SECRET
    assert Sealer([OLD]).open(sealed) == SECRET
    assert sealer.writer == "new"
