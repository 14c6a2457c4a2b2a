"""Kafka Streams as a peer: fetched by Maven and compiled once, into the user's cache."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tidegate.infra.brokers.jars import java_command, user_cache
from tidegate.schemas.errors import DefinitionError

_SOURCES = Path(__file__).resolve().parent / "java"


def command() -> Sequence[str]:
    """What starts the peer.

    Raises:
        DefinitionError: Java, its compiler or Maven is missing.
    """
    sources = (_SOURCES / "pom.xml", _SOURCES / "PairJoin.java")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    folder = user_cache() / f"peer-{digest}"
    if not (folder / "PairJoin.class").exists():
        _build(folder)
    return (java_command(), "-Xms512m", "-Xmx2g", "-cp", f"{folder}:{folder}/jars/*", "PairJoin")


def _build(folder: Path) -> None:
    maven, compiler = shutil.which("mvn"), shutil.which("javac")
    if maven is None or compiler is None:
        raise DefinitionError("the Kafka Streams peer needs `mvn` and `javac` (a JDK 17)")
    jars = folder / "jars"
    subprocess.run(
        [maven, "-q", "-B", "-f", str(_SOURCES / "pom.xml"), "dependency:copy-dependencies",
         f"-DoutputDirectory={jars}", "-DincludeScope=runtime"],
        check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    subprocess.run(
        [compiler, "-cp", f"{jars}/*", "-d", str(folder), str(_SOURCES / "PairJoin.java")],
        check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
