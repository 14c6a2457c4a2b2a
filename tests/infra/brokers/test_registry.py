"""Choosing a broker: by name, by address, and what each says when it cannot."""

from __future__ import annotations

import gc
import shutil
import subprocess

import pytest

from tidegate.infra.brokers import BROKERS, AddressBroker, ContainerBroker, open_broker
from tidegate.schemas.errors import DefinitionError, Unreachable


def docker_runs() -> bool:
    """Whether a Docker engine answers."""
    docker = shutil.which("docker")
    return (
        docker is not None
        and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0
    )


def test_a_name_starts_that_broker() -> None:
    """`embedded` is a broker that runs; its limits are told."""
    with open_broker("embedded") as broker:
        assert broker.kind == "embedded"
        assert broker.limits


def test_an_address_is_taken_as_it_is() -> None:
    """HOST:PORT starts nothing; what only the owner can do is refused."""
    with open_broker("kafka-1:9092,kafka-2:9092") as broker:
        assert broker.bootstrap == "kafka-1:9092,kafka-2:9092"
        for verb in (broker.kill, broker.restart, broker.pause, broker.resume):
            with pytest.raises(DefinitionError, match="cannot be"):
                verb()


def test_an_unknown_name_lists_the_known() -> None:
    """A misspelt broker is answered with those there are."""
    with pytest.raises(DefinitionError, match="embedded, local, container, or HOST:PORT"):
        open_broker("embeded")
    assert list(BROKERS) == ["embedded", "local", "container"]


@pytest.mark.parametrize("address", ["nowhere:", ":9092", "host:port", "a:1,b"])
def test_half_an_address_is_refused(address: str) -> None:
    """Every part of an address must be HOST:PORT."""
    with pytest.raises(DefinitionError, match="write HOST:PORT"):
        AddressBroker(address)


@pytest.mark.skipif(docker_runs(), reason="a Docker engine runs here")
@pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")
def test_without_docker_the_container_broker_says_so() -> None:
    """No Docker engine is an error of reach with the client's own words."""
    with pytest.raises(Unreachable, match="no container could be started"):
        ContainerBroker()
    # The Docker client leaves its socket open when nobody listens: not to be found in other tests.
    gc.collect()


@pytest.mark.container
@pytest.mark.skipif(not docker_runs(), reason="no Docker engine runs here")
def test_with_docker_a_container_serves() -> None:
    """A container's broker creates topics as the others do."""
    with ContainerBroker() as broker:
        broker.create_topics({"contract": 3})
