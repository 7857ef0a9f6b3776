"""What a plan says of the client is checked with it, files and passphrase included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from loadtest.errors import PlanError
from loadtest.plan.client import ClientSettings, client_words, passphrase_of, read_resolve
from loadtest.plan.resolve import load_plan

SECRET = "an open word"


def faults(**keys: Any) -> str:
    with pytest.raises(PlanError) as caught:
        load_plan(None, {f"client.{key}": value for key, value in keys.items()})
    return str(caught.value)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"resolve": {"http://a": "127.0.0.1"}}, "no host name"),
        ({"resolve": {"a.example": "b.example"}}, "no address"),
        ({"ca_file": "/nowhere.pem"}, "no file '/nowhere.pem'"),
        ({"key": __file__}, "belongs to a certificate"),
        ({"ca_file": __file__, "insecure": True}, "leave one out"),
        ({"passphrase": SECRET}, "must not stand in a plan"),
        ({"lookups": "never"}, "client.lookups"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(keys: dict[str, Any], said: str) -> None:
    sentence = faults(**keys)
    assert said in sentence
    assert SECRET not in sentence


def test_a_certificate_is_tried_with_its_key_and_passphrase(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("me@example.test")
    certificate, key = tmp_path / "me.pem", tmp_path / "me.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    private = load_pem_private_key(issued.private_key_pem.bytes(), None)
    key.write_bytes(
        private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET.encode())
        )
    )
    client = ClientSettings(certificate=str(certificate), key=str(key), passphrase="${WORD}")

    assert passphrase_of(client, {"WORD": SECRET}) == SECRET
    with pytest.raises(PlanError, match=r"\$\{WORD\} is not set"):
        passphrase_of(client, {})
    with pytest.raises(PlanError, match="passphrase is wrong"):
        passphrase_of(client, {"WORD": "another"})
    with pytest.raises(PlanError, match="no PEM file"):
        passphrase_of(ClientSettings(ca_file=__file__), {})


def test_addresses_are_read_as_ours_and_as_curls() -> None:
    given = read_resolve(["a.example=127.0.0.1", "b.example:443:[::1]"])
    assert given == {"a.example": "127.0.0.1", "b.example": "::1"}
    assert read_resolve([]) is None
    with pytest.raises(PlanError, match="HOST=ADDRESS"):
        read_resolve(["a.example"])


def test_an_insecure_client_is_told_of() -> None:
    assert client_words(ClientSettings()) == ()
    assert "not verified" in client_words(ClientSettings(insecure=True))[0]
