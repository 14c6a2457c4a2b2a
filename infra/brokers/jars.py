"""Apache Kafka's jars: fetched once by Maven into the user's cache, and the Java to run them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tidegate.schemas.errors import DefinitionError, Unreachable

KAFKA_FILES = Path(__file__).resolve().parent.parent / "kafka"
JAVA_VERSION_MIN = 17
_RESOLVE_SECONDS_MAX = 600


def java_command() -> str:
    """Path of a Java that can run Kafka: $JAVA_HOME's, else the one on PATH.

    Raises:
        DefinitionError: there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None:
        where = f"in JAVA_HOME ({home})" if home else "on PATH"
        raise DefinitionError(
            f"Apache Kafka needs Java {JAVA_VERSION_MIN} and there is no `java` {where}. "
            "Install it (Debian: apt-get install openjdk-17-jre-headless), "
            "or use the embedded broker."
        )
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found.group(1)) < JAVA_VERSION_MIN:
        version = said.splitlines()[0] if said else "unknown"
        raise DefinitionError(
            f"Apache Kafka needs Java {JAVA_VERSION_MIN}; {java} is {version}. "
            "Set JAVA_HOME to a newer one."
        )
    return java


def kafka_jars(tell: Callable[[str], None], cache: Path | None = None) -> Path:
    """Folder of the jars that `infra/kafka/pom.xml` names; fetched when not there yet.

    Args:
        tell: is given one sentence when something has to be downloaded.
        cache: where to keep them; the user's cache folder when None.

    Raises:
        DefinitionError: Maven is missing.
        Unreachable: Maven could not fetch them; its words are in the message.
    """
    pom = KAFKA_FILES / "pom.xml"
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    folder = (cache or user_cache()) / f"kafka-{digest}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise DefinitionError(
            "Apache Kafka's jars are fetched by Maven and there is no `mvn` on PATH. "
            "Install it (Debian: apt-get install maven), or use the embedded broker."
        )
    tell("Fetching Apache Kafka (44 MB, once) with Maven ...")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".kafka-") as scratch:
        _resolve(maven, pom, Path(scratch) / "jars")
        try:
            # A rename is atomic: whoever looks sees all jars or none.
            (Path(scratch) / "jars").rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    return folder


def user_cache() -> Path:
    """Folder for what can be fetched again."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tidegate"


def _resolve(maven: str, pom: Path, target: Path) -> None:
    command = [
        maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies",
        f"-DoutputDirectory={target}", "-DincludeScope=runtime",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_RESOLVE_SECONDS_MAX,
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(
            f"Maven did not fetch Apache Kafka within {_RESOLVE_SECONDS_MAX} s: {error.stdout!r}"
        ) from error
    if done.returncode:
        raise Unreachable(f"Maven could not fetch Apache Kafka:\n{done.stdout}{done.stderr}")
