"""agents/transport/clients.py"""

from __future__ import annotations

import ssl
from pathlib import Path

import faust
import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from tidegate.agents.transport.clients import (
    broker_urls,
    faust_credentials,
    fetcher_settings,
    ssl_context,
)
from tidegate.schemas.errors import DefinitionError


def test_every_broker_of_the_list_is_handed_to_faust() -> None:
    """One broker of several may be away when a worker starts."""
    kafka = {"bootstrap.servers": "one:9092, two:9093,three,[::1]:9094,[::2]"}
    assert broker_urls(kafka, "tidegate") == [
        "tidegate://one:9092",
        "tidegate://two:9093",
        "tidegate://three:9092",
        "tidegate://[::1]:9094",
        "tidegate://[::2]:9092",
    ]


def test_an_empty_list_of_brokers_is_refused() -> None:
    """Faust would quietly look at localhost."""
    with pytest.raises(DefinitionError, match="names no broker"):
        broker_urls({"bootstrap.servers": " ,"}, "tidegate")


def test_a_plain_connection_needs_no_credentials() -> None:
    """Nothing is said about security: nothing is made up."""
    assert faust_credentials({"bootstrap.servers": "a:1"}) is None


@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
def test_password_and_mechanism_reach_aiokafka(name: str) -> None:
    """librdkafka's two spellings of the mechanism mean the same."""
    credentials = faust_credentials(
        {
            "security.protocol": "SASL_PLAINTEXT",
            name: "SCRAM-SHA-512",
            "sasl.username": "joiner",
            "sasl.password": "secret",
        }
    )
    assert credentials_to_aiokafka_auth(credentials) == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "joiner",
        "sasl_plain_password": "secret",
        "ssl_context": None,
    }


def test_kerberos_reaches_aiokafka() -> None:
    """GSSAPI is the mechanism when none is named, as in librdkafka."""
    credentials = faust_credentials(
        {
            "security.protocol": "sasl_plaintext",
            "sasl.kerberos.service.name": "brokers",
        }
    )
    auth = credentials_to_aiokafka_auth(credentials)
    assert auth["sasl_mechanism"] == "GSSAPI"
    assert auth["sasl_kerberos_service_name"] == "brokers"


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_encrypted_connections_verify_the_broker(protocol: str) -> None:
    """Certificate and host name are checked unless the operator says otherwise."""
    credentials = faust_credentials({"security.protocol": protocol, "sasl.mechanism": "PLAIN"})
    auth = credentials_to_aiokafka_auth(credentials)
    assert auth["security_protocol"] == protocol
    assert auth["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    assert auth["ssl_context"].check_hostname


def test_the_host_name_check_can_be_switched_off_as_in_librdkafka() -> None:
    """`ssl.endpoint.identification.algorithm: none`; the certificate is still verified."""
    context = ssl_context({"ssl.endpoint.identification.algorithm": "none"})
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_certificates_that_cannot_be_read_are_the_operators_fault(tmp_path: Path) -> None:
    """The message says which setting to look at."""
    with pytest.raises(DefinitionError, match="certificates cannot be read"):
        ssl_context({"ssl.ca.location": str(tmp_path / "missing.pem")})


def test_security_settings_that_one_client_would_ignore_are_refused() -> None:
    """All at once: a client that passed over one would connect otherwise than written."""
    with pytest.raises(DefinitionError) as caught:
        faust_credentials(
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "OAUTHBEARER",
                "ssl.crl.location": "x",
                "sasl.oauthbearer.config": "y",
            }
        )
    faults = caught.value.faults
    assert len(faults) == 3
    assert "sasl.oauthbearer.config" in faults[0]
    assert "ssl.crl.location" in faults[1]
    assert "OAUTHBEARER" in faults[2]


def test_an_unknown_security_protocol_is_refused() -> None:
    """A typing error must not end in a plain connection."""
    with pytest.raises(DefinitionError) as caught:
        faust_credentials({"security.protocol": "TLS"})
    assert "TLS" in caught.value.faults[0]


def test_operators_may_tune_fetching_but_not_where_it_reads() -> None:
    """What decides which records a fold sees is not a setting."""
    settings = fetcher_settings(
        {
            "bootstrap.servers": "a:1",
            "fetch.wait.max.ms": "10",
            "auto.offset.reset": "latest",
            "enable.auto.commit": "true",
            "group.id": "mine",
            "security.protocol": "SSL",
        },
        "tidegate.joiner",
    )
    assert settings["bootstrap.servers"] == "a:1"
    assert settings["security.protocol"] == "SSL"
    assert settings["fetch.wait.max.ms"] == "10"
    assert settings["fetch.queue.backoff.ms"] == 5
    assert settings["auto.offset.reset"] == "error"
    assert settings["enable.auto.commit"] is False
    assert settings["group.id"] == "tidegate.joiner-fetch"


def test_credentials_are_fausts_own_classes() -> None:
    """Faust's producer and consumer both take them."""
    assert isinstance(faust_credentials({"security.protocol": "SSL"}), faust.SSLCredentials)
