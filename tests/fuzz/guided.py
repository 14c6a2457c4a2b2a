"""Fuzzing that follows coverage: libFuzzer by way of atheris, over the decoders and the codec.

The first byte of an input says which reader it is for. The process that is fuzzed is one of its
own, since libFuzzer never gives it back; what it found slowest is measured again without its
instruments.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

INPUT_BYTES_MAX = 70_000
"""A little more than an event may have."""
_SLOWEST = "slowest"


def seeds(folder: Path, corpus: Mapping[str, Sequence[bytes]]) -> None:
    """The recorded frames as files, each with the number of its kind before it."""
    for number, kind in enumerate(sorted(corpus)):
        for place, frame in enumerate(corpus[kind]):
            (folder / f"{kind}-{place}").write_bytes(bytes([number]) + frame)


def split(data: bytes, kinds: Sequence[str]) -> tuple[str, bytes]:
    """Kind and frame of an input."""
    return kinds[data[0] % len(kinds)], data[1:]


def campaign(seconds: int, seed: int) -> int:
    """Fuzz for so long; 0 when nothing was found, else 1. What libFuzzer says is printed."""
    from tests.fuzz.mutating import read_corpus
    from tests.fuzz.targets import new_targets

    with tempfile.TemporaryDirectory(prefix="tidegate-fuzz-") as name:
        folder = Path(name)
        frames = folder / "corpus"
        frames.mkdir()
        corpus = read_corpus()
        seeds(frames, corpus)
        before = len(list(frames.iterdir()))
        done = subprocess.run(
            [
                sys.executable, "-m", "tests.fuzz.guided", str(folder), str(frames),
                f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={INPUT_BYTES_MAX}",
                f"-artifact_prefix={folder}/", "-timeout=10", "-rss_limit_mb=2048",
                "-print_final_stats=1", "-verbosity=1",
            ],
            check=False,
        )  # fmt: skip
        sys.stdout.write(f"frames that reach new code: {len(list(frames.iterdir())) - before:,}\n")
        slowest = (folder / _SLOWEST).read_bytes() if (folder / _SLOWEST).exists() else b"\0"
        kind, frame = split(slowest, sorted(corpus))
        milliseconds = min(_timed(new_targets(), kind, frame) for _ in range(3)) * 1e3
        sys.stdout.write(f"slowest decode: {milliseconds:.2f} ms ({kind}, {len(frame):,} bytes)\n")
        for finding in sorted(folder.glob("*-*")):
            if finding.is_file():
                sys.stdout.write(f"found {finding.name}: {finding.read_bytes().hex()}\n")
        return 0 if done.returncode == 0 else 1


def _timed(targets: Mapping[str, object], kind: str, frame: bytes) -> float:
    target = targets[kind]
    assert callable(target)
    before = time.perf_counter()
    target([frame])
    return time.perf_counter() - before


def main() -> None:
    """`FOLDER LIBFUZZER_ARGUMENTS...`: fuzz in this process until libFuzzer ends it."""
    import atheris

    folder = Path(sys.argv.pop(1))
    # Only what is imported from here on is instrumented.
    with atheris.instrument_imports(include=["tidegate", "tests.schemas.decoding"]):
        from tests.fuzz.mutating import read_corpus
        from tests.fuzz.targets import new_targets
    kinds, targets = sorted(read_corpus()), new_targets()
    longest = 0.0

    def one(data: bytes) -> None:
        nonlocal longest
        if not data:
            return
        kind, frame = split(data, kinds)
        before = time.perf_counter()
        targets[kind]([frame])
        seconds = time.perf_counter() - before
        if seconds > longest:
            longest = seconds
            (folder / _SLOWEST).write_bytes(data)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
