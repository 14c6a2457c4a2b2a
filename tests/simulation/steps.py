"""What can happen in a schedule: usual steps and faults, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.simulation import people
from tests.simulation.logs import Entry, Sent
from tests.simulation.manifests import CANDIDATES, CONTROL
from tests.simulation.schedule import Event
from tests.simulation.serving import READ
from tests.simulation.traffic import garbage
from tests.simulation.workers import CRASH_POINTS
from tests.simulation.world import World
from tidegate.schemas import codec
from tidegate.schemas.marks import Marker, Tick
from tidegate.schemas.partitioner import partition_of

Step = Callable[[World, int, int], None]

JUMPS_MS = (-60_000, 60_000, 3_600_000, -3_600_000, 250_000)
SILENCES_MS = (3_000, 20_000, 700_000, 7_200_000)


def play(world: World, event: Event) -> None:
    """One event happens."""
    world.step_number += 1
    for place in [place for place, at in world.back_at.items() if at <= world.step_number]:
        del world.back_at[place]
        world.cluster.away.discard(place)
    STEPS[event.name](world, event.a, event.b)


# -- usual


def tick(world: World, a: int, b: int) -> None:
    """Time passes, tickers tick, services say that they are there."""
    world.now_ms += (100, 100, 100, 200, 300, 500)[a % 6]
    world.tick()
    if b % 4 == 0:
        for service in world.services:
            service.beat()


def work(world: World, a: int, b: int) -> None:
    """A worker, or a zombie, fetches."""
    place = a % (len(world.roles) + len(world.zombies))
    if place < len(world.roles):
        worker = world.alive(world.roles[place])
    else:
        worker = world.zombies[place - len(world.roles)]
    world.work(worker, b // 4 % 3, (1, 2, 7, 1_000)[b % 4])


def acknowledge(world: World, a: int, b: int) -> None:
    """Brokers take what workers have put out, or some of it."""
    for worker in world.crew():
        world.hand_over(worker, 1 + b % 5 if a % 3 == 0 else 1_000)


def serve(world: World, a: int, b: int) -> None:
    """A request is answered."""
    if world.services:
        serve_by_client(world, a, b)
        return
    prediction = world.traffic.prediction(a, b, world.now_ms)
    write(world, "predictions", prediction.request_id, codec.encode(prediction), b // 8)


def serve_by_client(world: World, a: int, b: int) -> None:
    """A request is answered by what a service knows."""
    service = world.services[a % 2]
    request, unit = world.traffic.unserved(a // 2), f"u{b}"
    drawn = service.assign(people.EXPERIMENT, unit, request)
    world.seen[f"reason: {drawn.reason}"] += 1
    world.draws.append(service.check(drawn))
    if world.config.kind != "loop" or drawn.reason == "DEFAULT":
        return
    world.traffic.served_ms.setdefault(request, world.now_ms)
    failed = b // 40 % 2 and drawn.variant != CONTROL
    service.holds = world.held and b % 11 == 0
    service.events.prediction(
        people.EXPERIMENT, drawn, unit_id=unit, served_at=world.now_ms,
        status="ERROR" if failed else "OK", latency_ms=5.0, label="x",
    )  # fmt: skip
    for name in drawn.shadow:
        service.events.shadow_prediction(
            people.EXPERIMENT, drawn, name, served_at=world.now_ms, label="xy"[b % 2]
        )
    service.holds = False


def outcome(world: World, a: int, b: int) -> None:
    """Something came of a request."""
    event = world.traffic.outcome(a, b, world.now_ms)
    write(world, "outcomes", event.request_id, codec.encode(event), b // 1_024)


def shadow(world: World, a: int, b: int) -> None:
    """A candidate answered unseen."""
    event = world.traffic.shadow(a, b, world.now_ms)
    write(world, "shadow-predictions", event.request_id, codec.encode(event), b // 32)


def write(world: World, topic: str, key: str, value: bytes, b: int) -> None:
    """A plain producer writes by key."""
    place = (topic, partition_of(key.encode(), world.config.partitions))
    sent = Sent(place, key.encode(), value, world.now_ms)
    world.cluster.send(sent, held=world.held and b % 3 == 0)


def facts(world: World, a: int, b: int) -> None:
    """A hand-made joiner concludes something."""
    world.make_batch(a % world.config.partitions, b)


def order(world: World, a: int, b: int) -> None:
    """A person wants something."""
    world.orders += 1
    known = people.known_of(world.experiment())
    control = people.order(world.orders, a, b, known, world.now_ms)
    sent = Sent(("control", 0), control.experiment.encode(), codec.encode(control), world.now_ms)
    world.cluster.send(sent, held=world.held and a % 4 == 0)


def poll(world: World, a: int, b: int) -> None:
    """A service reads on."""
    service = world.services[a % 2]
    service.poll(READ[b % 3], (1, 3, 1_000, 1_000)[b // 3 % 4])


# -- faults


def repeat(world: World, a: int, b: int) -> None:
    """A plain producer was told nothing and writes again what had arrived."""
    taken = world.cluster.taken
    if taken:
        again = taken[-1 - a % min(len(taken), 30)]
        world.cluster.send(again, held=False)


def held(world: World, a: int, b: int) -> None:
    """Records of plain producers are held up from now on, or no longer."""
    world.held = not world.held


def release(world: World, a: int, b: int) -> None:
    """One that was held up arrives, out of order, perhaps twice."""
    world.cluster.release(a, twice=b % 4 == 0)


def write_garbage(world: World, a: int, b: int) -> None:
    """Bytes that are no record."""
    topic, partition = world.places[a % len(world.places)]
    found = garbage(topic)
    entry = Entry(found[b % len(found)], None, b"", world.now_ms)
    if (topic, partition) not in world.cluster.away:
        world.cluster.append((topic, partition), entry)


def leader(world: World, a: int, b: int) -> None:
    """A topic-partition has no leader for a while."""
    places = [*world.places, ("routing", 0), ("decisions", 0), ("dead-letters", 0)]
    place = places[a % len(places)]
    world.cluster.away.add(place)
    world.back_at[place] = world.step_number + 1 + b % 25


def crash(world: World, a: int, b: int) -> None:
    """A worker will die when it next comes to some point."""
    crew = world.crew()
    if crew:
        point = CRASH_POINTS[b % len(CRASH_POINTS)]
        crew[a % len(crew)].armed = (point, b // len(CRASH_POINTS) % 3)


def zombie(world: World, a: int, b: int) -> None:
    """A worker is taken for dead, and is not."""
    role = world.roles[a % len(world.roles)]
    worker = world.workers[role]
    if worker is not None and len(world.zombies) < 3:
        world.zombies.append(worker)
        world.boot(role)


def corrupt(world: World, a: int, b: int) -> None:
    """A stored checkpoint is damaged, and its worker dies."""
    role = world.roles[a % len(world.roles)]
    if world.snapshots[role].tear(a // 7, b):
        world.seen["checkpoint damaged"] += 1
        worker = world.workers[role]
        if worker is not None:
            world.die(worker, "beside a damaged checkpoint")


def clock(world: World, a: int, b: int) -> None:
    """The tickers' host sets its clock."""
    world.skew_ms = 0 if world.skew_ms else JUMPS_MS[a % len(JUMPS_MS)]


def silence(world: World, a: int, b: int) -> None:
    """Nobody ticks for a while; the world goes on."""
    world.now_ms += SILENCES_MS[a % len(SILENCES_MS)]


def missed(world: World, a: int, b: int) -> None:
    """The next tick does not arrive everywhere."""
    for shift in range(len(world.places)):
        if b >> shift & 1:
            world.missed.add(world.places[shift])


def second(world: World, a: int, b: int) -> None:
    """Another ticker starts, or the last one stops."""
    if len(world.tickers) > 1:
        world.tickers.pop()
    else:
        world.tickers.append(world.new_ticker((0, 50, -3_000, 200_000)[a % 4]))


def rogue(world: World, a: int, b: int) -> None:
    """Something writes a time that nobody announced: folds must not believe it.

    The first tick of a log always counts, so there must have been one.
    """
    ahead_ms = (601_000 + 7_200_000, 10**11, 10**15)[a % 3]
    for place in world.places:
        has_time = world.cluster.logs[place].times()[-1:] > [0]
        chosen = has_time and (b % 2 or place == world.places[b % 3])
        if chosen and place not in world.cluster.away:
            mark = Tick(world.now_ms + ahead_ms)
            world.cluster.append(place, Entry(None, mark, b"", world.now_ms))


def ask(world: World, a: int, b: int) -> None:
    """A checkpoint is due by time."""
    crew = world.crew()
    if crew:
        crew[a % len(crew)].fold.request_checkpoint()


def overlap(world: World, a: int, b: int) -> None:
    """A fetch brings some records once more."""
    crew = world.crew()
    if crew:
        world.work(crew[a % len(crew)], b % 3, 1_000, back=1 + b // 3 % 6)


def restart(world: World, a: int, b: int) -> None:
    """A service starts anew, or is replaced on another host."""
    service = world.services[a % 2]
    if b % 2:
        service.stop()
    if b % 3 == 0:
        service.cache = type(service.cache)()
    service.start()


def cutoff(world: World, a: int, b: int) -> None:
    """A service loses its link, or finds it again."""
    service = world.services[a % 2]
    service.linked = not service.linked


def failing(world: World, a: int, b: int) -> None:
    """A candidate's model keeps raising in one service."""
    candidate = CANDIDATES[b % 2]
    world.services[a % 2].fail(people.EXPERIMENT, candidate, CONTROL)


def stale(world: World, a: int, b: int) -> None:
    """Time passes for services, and nobody ticks."""
    world.now_ms += (1_000, 3_000, 7_000)[a % 3]


def again(world: World, a: int, b: int) -> None:
    """A hand-made joiner writes again, or a person accepts that its batches are lost."""
    source = a % world.config.partitions
    made = len(world.hand_made.batches.get(source, ()))
    if b % 4 or ("observations", 0) in world.cluster.away:
        world.repeat_batches(source, max(0, made - 1 - b // 4 % 6))
        return
    arguments = {"source_partition": str(source), "sequence": str(max(0, made - b // 4 % 3))}
    world.seen["gap accepted"] += 1
    entry = Entry(None, Marker("gap", arguments), b"", world.now_ms)
    world.cluster.append(("observations", 0), entry)


STEPS: Mapping[str, Step] = {
    "tick": tick, "work": work, "acknowledge": acknowledge, "serve": serve, "outcome": outcome,
    "shadow": shadow, "facts": facts, "order": order, "poll": poll, "repeat": repeat, "held": held,
    "release": release, "garbage": write_garbage, "leader": leader, "crash": crash,
    "zombie": zombie, "corrupt": corrupt, "clock": clock, "silence": silence, "missed": missed,
    "second": second, "rogue": rogue, "ask": ask, "overlap": overlap, "restart": restart,
    "cutoff": cutoff, "failing": failing, "stale": stale, "again": again,
}  # fmt: skip
