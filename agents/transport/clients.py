"""One `kafka:` map, two clients: librdkafka takes it verbatim, Faust's aiokafka translated."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import faust

from tidegate.schemas.errors import DefinitionError

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
_DEFAULT_PORT = 9092

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI")
# What both clients do alike. Other `sasl.` and `ssl.` settings are refused: a client that passed
# over one would connect in another way than the operator wrote.
_TRANSLATED = frozenset(
    {
        "sasl.kerberos.service.name",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.password",
        "sasl.username",
        "ssl.ca.location",
        "ssl.ca.pem",
        "ssl.certificate.location",
        "ssl.endpoint.identification.algorithm",
        "ssl.key.location",
        "ssl.key.password",
    }
)
_FETCHER_DEFAULTS: Mapping[str, Any] = {
    "check.crcs": True,
    # The default of a second stops fetching for so long whenever the queue was full.
    "fetch.queue.backoff.ms": 5,
    "fetch.wait.max.ms": 50,
    "max.partition.fetch.bytes": 262_144,
    "queued.max.messages.kbytes": 65_536,
    # A pause throws away what is queued: with 20,000 a backlog was fetched nearly twice.
    "queued.min.messages": 1_000,
}


def broker_urls(kafka: Mapping[str, str], scheme: str) -> list[str]:
    """Faust's broker addresses from `bootstrap.servers`.

    >>> broker_urls({"bootstrap.servers": "a:1, b"}, "tidegate")
    ['tidegate://a:1', 'tidegate://b:9092']
    """
    servers = kafka.get("bootstrap.servers", DEFAULT_BOOTSTRAP).split(",")
    hosts = [server.strip() for server in servers if server.strip()]
    if not hosts:
        raise DefinitionError("kafka: bootstrap.servers names no broker; write HOST:PORT")
    return [f"{scheme}://{_with_port(host)}" for host in hosts]


def _with_port(host: str) -> str:
    # An IPv6 address has colons of its own, and stands in brackets.
    return host if ":" in host.rpartition("]")[2] else f"{host}:{_DEFAULT_PORT}"


def faust_credentials(kafka: Mapping[str, str]) -> Any:
    """Faust's credentials for `kafka`; None for a plain connection.

    Raises:
        DefinitionError: a setting that aiokafka has no counterpart for, all of them at once.
    """
    protocol = kafka.get("security.protocol", "PLAINTEXT").upper()
    faults = [
        f"kafka: {name} is not understood by both clients; known are "
        + ", ".join(sorted(_TRANSLATED))
        for name in sorted(kafka)
        if name.startswith(("sasl.", "ssl.")) and name not in _TRANSLATED
    ]
    if protocol not in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"):
        faults.append(f"kafka: security.protocol {protocol} is not one of Kafka's")
    mechanism = kafka.get("sasl.mechanism", kafka.get("sasl.mechanisms", "GSSAPI")).upper()
    if protocol.startswith("SASL") and mechanism not in _MECHANISMS:
        faults.append(f"kafka: sasl.mechanism {mechanism} is not one of {', '.join(_MECHANISMS)}")
    if faults:
        raise DefinitionError("the Kafka settings cannot be used", tuple(faults))
    context = ssl_context(kafka) if protocol.endswith("SSL") else None
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    if mechanism == "GSSAPI":
        return faust.GSSAPICredentials(
            kerberos_service_name=kafka.get("sasl.kerberos.service.name", "kafka"),
            ssl_context=context,
            mechanism=mechanism,
        )
    return faust.SASLCredentials(
        username=kafka.get("sasl.username"),
        password=kafka.get("sasl.password"),
        ssl_context=context,
        mechanism=mechanism,
    )


def ssl_context(kafka: Mapping[str, str]) -> ssl.SSLContext:
    """What librdkafka makes of the `ssl.` settings, as a context.

    Raises:
        DefinitionError: a file of certificates cannot be read.
    """
    try:
        context = ssl.create_default_context(
            cafile=kafka.get("ssl.ca.location"), cadata=kafka.get("ssl.ca.pem")
        )
        certificate = kafka.get("ssl.certificate.location")
        if certificate is not None:
            context.load_cert_chain(
                certificate, kafka.get("ssl.key.location"), kafka.get("ssl.key.password")
            )
    except (OSError, ssl.SSLError) as error:
        raise DefinitionError("kafka: the certificates cannot be read", (str(error),)) from error
    algorithm = kafka.get("ssl.endpoint.identification.algorithm", "https")
    context.check_hostname = algorithm == "https"
    return context


def fetcher_settings(kafka: Mapping[str, str], group_id: str) -> dict[str, Any]:
    """Settings of the librdkafka consumer that fetches beside aiokafka.

    How much is fetched ahead may be set by the operator; what keeps every record exactly where
    the fold expects it may not.
    """
    return {
        **_FETCHER_DEFAULTS,
        "client.id": f"{group_id}-fetch",
        **kafka,
        "group.id": f"{group_id}-fetch",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": False,
        # Records gone by retention must stop the worker, not be passed over.
        "auto.offset.reset": "error",
        "isolation.level": "read_uncommitted",
    }
