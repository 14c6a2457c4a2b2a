"""The ledger of one generation of an experiment: every fact about it, as statistics.

Only requests whose reason is SPLIT are learnt from; all are counted. Those under INSTANCE, whose
variant was that of the instance they came to, count for what predictions tell of themselves
(status, latency, measures), never for outcomes: they were not drawn. A batch is taken column by
column: nothing loops over facts but the quantiles and drift detectors, which need every value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tidegate.schemas.facts import STATUSES, ObservationBatch
from tidegate.streams.detectors import DETECTORS, Detector
from tidegate.streams.estimation.columns import Values
from tidegate.streams.estimation.moments import Moments, Sample
from tidegate.streams.estimation.plan import Measurement, Plan
from tidegate.streams.estimation.quantile import RunningQuantile
from tidegate.streams.estimation.rings import RingLedgers
from tidegate.streams.estimation.shadows import observe_shadows
from tidegate.streams.estimation.strata import Arm, Key, Pair, Strata, arms_of, pairs_of
from tidegate.streams.estimation.summary import Summary
from tidegate.streams.estimation.tally import IRREGULAR, ShadowTally, Tally
from tidegate.streams.estimation.trail import Trail, Watch
from tidegate.streams.estimation.trails import Learnt, Trails

BEGINNING: Key = (0, 0)


class Ledger:
    """Statistics of one experiment and generation; `observe` takes whole batches.

    Batches may hold facts of other experiments, generations and variants: those are left alone.
    """

    def __init__(self, plan: Plan) -> None:
        self._begin(plan)

    def _begin(self, plan: Plan) -> None:
        self.plan = plan
        self._measurements = {item.name: item for item in plan.measurements}
        self.tallies: Mapping[str, Tally] = {name: Tally() for name in plan.variants}
        self.shadows: Mapping[str, ShadowTally] = {name: ShadowTally() for name in plan.variants}
        self.rings = RingLedgers(plan, Ledger)
        self._strata = Strata(plan.strata_max)
        keys = [(item, variant) for item in plan.measurements for variant in plan.variants]
        self._early = {
            (item.name, name): Sample() for item, name in keys if item.source == "outcome"
        }
        self._quantiles = {
            (item.name, name): RunningQuantile(item.quantile)
            for item, name in keys
            if item.quantile is not None
        }
        self._above: dict[tuple[str, str, float], list[int]] = {
            (item.name, name, bound): [0, 0] for item, name in keys for bound in item.bounds
        }
        self._detectors: dict[tuple[str, str, str], Detector] = {
            (item.name, name, kind): DETECTORS[kind]() for item, name in keys for kind in item.drift
        }
        self._trails = Trails(plan.watches)

    # -- facts

    def observe(self, batch: ObservationBatch, summary: Summary | None = None) -> None:
        """Takes the facts of the batch that belong to this experiment and generation.

        `summary` is that of the batch, when others observe it as well.
        """
        owners: dict[int, str] = {}
        owned: list[Learnt] = []
        learnt: list[Learnt] = []
        told: list[Learnt] = []
        for number, context in enumerate(batch.contexts):
            ours = (context.experiment, context.generation) == (
                self.plan.experiment,
                self.plan.generation,
            )
            if ours and context.variant in self.tallies:
                owners[number] = context.variant
                key = (context.routing_epoch, context.routing_version)
                owned.append((number, context.variant, key))
                if context.reason == "SPLIT":
                    learnt.append(owned[-1])
                if context.reason in ("SPLIT", "INSTANCE"):
                    told.append(owned[-1])
        if not owners:
            return
        summary = summary or Summary(batch)
        self.rings.observe(batch, frozenset(owners))
        self._trails.begin()
        self._count(summary, owners)
        observe_shadows(self.shadows, self.plan, summary, owners)
        self._count_learnt(summary, learnt)
        for item in self.plan.measurements:
            if item.source == "disagreement":
                if batch.count("shadow"):
                    # A shadow is drawn by its request, not by the split that the reason tells of.
                    found = summary.values(item, self.plan.score_tolerance)
                    self._learn(item, found, owned)
            elif item.source != "outcome":
                self._learn(item, summary.values(item), told)
            elif batch.count("closed"):
                self._learn(item, summary.values(item), learnt)
        if batch.count("matched"):
            self._learn_early(summary, learnt)
        self._strata.settle()

    def _count(self, summary: Summary, owners: Mapping[int, str]) -> None:
        batch = summary.batch
        is_irregular = batch.count("irregular") > 0
        for number, variant in owners.items():
            tally, reason = self.tallies[variant], batch.contexts[number].reason
            statuses = summary.statuses[number]
            seen = sum(statuses)
            tally.exposures += seen
            tally.closed += summary.closed[number]
            tally.matched += summary.matched[number]
            if seen:
                tally.reasons[reason] = tally.reasons.get(reason, 0) + seen
                for status, count in zip(STATUSES, statuses, strict=True):
                    tally.statuses[status] += count
            if is_irregular:
                seldom = summary.irregular[number]
                for code, name in IRREGULAR.items():
                    tally.irregular[name] += seldom[code]

    def _count_learnt(self, summary: Summary, learnt: Sequence[Learnt]) -> None:
        totals: dict[Key, int] = {}
        for number, variant, key in learnt:
            count = sum(summary.statuses[number])
            if count:
                exposures = self._strata.at(key).exposures
                exposures[variant] = exposures.get(variant, 0) + count
                totals[key] = totals.get(key, 0) + count
                self.tallies[variant].learnt += count
                self.tallies[variant].inverse_propensity += summary.inverse_propensity[number]
        for key, total in totals.items():
            for variant in self._strata.at(key).exposures:
                self.tallies[variant].opportunities += total

    def _learn(self, item: Measurement, found: Values, learnt: Sequence[Learnt]) -> None:
        contexts: dict[str, list[int]] = {}
        for number, variant, key in learnt:
            moments = found.moments[number]
            if moments is not None:
                self._strata.at(key).sample(item.name, variant).merge(*moments)
                contexts.setdefault(variant, []).append(number)
        self._trails.learn(item.name, found, learnt)
        if item.quantile is None and not item.bounds and not item.drift:
            return
        for variant, numbers in contexts.items():
            self._follow(item, variant, found.of(numbers))

    def _follow(self, item: Measurement, variant: str, values: Any) -> None:
        """Feeds what needs every value, in the order of the facts."""
        if item.quantile is not None:
            self._quantiles[item.name, variant].feed(values.tolist())
        for bound in item.bounds:
            counts = self._above[item.name, variant, bound]
            counts[0] += len(values)
            counts[1] += int((values > bound).sum())
        if item.drift and item.low is not None and item.high is not None:
            scaled = ((values - item.low) / (item.high - item.low)).tolist()
            for kind in item.drift:
                self._detectors[item.name, variant, kind].feed(scaled)

    def _learn_early(self, summary: Summary, learnt: Sequence[Learnt]) -> None:
        names = summary.batch.names
        for item in self.plan.measurements:
            if item.source != "outcome" or item.name not in names:
                continue
            found = summary.early(names.index(item.name))
            for number, variant, _ in learnt:
                moments = found[number]
                if moments is not None:
                    self._early[item.name, variant].merge(*moments)

    # -- statistics

    def pairs(
        self, measurement: str, control: str, candidate: str, since: Key = BEGINNING
    ) -> tuple[Pair, ...]:
        """Control and candidate side by side, by routing version from `since` on."""
        return pairs_of(self._strata.since(since), measurement, control, candidate)

    def arms(
        self, measurement: str, variants: Sequence[str], since: Key = BEGINNING
    ) -> tuple[Arm, ...]:
        """Means of several variants, comparable although weights moved; n is 0 without data."""
        binary = self._measurements[measurement].binary
        return arms_of(self._strata.since(since), measurement, variants, binary)

    def moments(self, measurement: str, variant: str, since: Key = BEGINNING) -> Moments:
        """Moments of one variant alone, over all routing versions from `since` on."""
        whole = Sample()
        for stratum in self._strata.since(since):
            sample = stratum.samples.get((measurement, variant))
            if sample is not None:
                whole.absorb(sample)
        return whole.moments()

    def learnt(self, variant: str, since: Key = BEGINNING) -> int:
        """Exposures of a variant that are learnt from, from `since` on."""
        return sum(item.exposures.get(variant, 0) for item in self._strata.since(since))

    def early(self, measurement: str, variant: str) -> Moments:
        """Moments of outcomes as they came, before their requests closed."""
        return self._early[measurement, variant].moments()

    def quantile(self, measurement: str, variant: str) -> float | None:
        """The running quantile, None without values."""
        return self._quantiles[measurement, variant].value()

    def above(self, measurement: str, variant: str, bound: float) -> tuple[int, int]:
        """Number of values, and of those above `bound`."""
        number, above = self._above[measurement, variant, bound]
        return number, above

    def trail(self, watch: Watch) -> Trail:
        """The evidence of one guardrail on one candidate since several beginnings."""
        return self._trails[watch]

    def drifts(self) -> Iterator[tuple[str, str, str, Detector]]:
        """(measurement, variant, algorithm, detector) of all detectors."""
        for (measurement, variant, kind), detector in self._detectors.items():
            yield measurement, variant, kind, detector

    # -- state

    def to_state(self) -> dict[str, Any]:
        """JSON values; equal ledgers give equal ones. The plan is not part of it."""
        return {
            "tallies": {name: item.to_state() for name, item in self.tallies.items()},
            "shadows": {name: item.to_state() for name, item in self.shadows.items()},
            "strata": self._strata.to_state(),
            "early": [[*key, item.to_state()] for key, item in self._early.items()],
            "quantiles": [[*key, item.to_state()] for key, item in self._quantiles.items()],
            "above": [[*key, *counts] for key, counts in self._above.items()],
            "detectors": [[*key, item.to_state()] for key, item in self._detectors.items()],
            "rings": self.rings.to_state(),
            "trails": self._trails.to_state(),
        }

    @classmethod
    def from_state(cls, plan: Plan, state: Mapping[str, Any]) -> Ledger:
        """The ledger that `to_state` told of, under the same plan."""
        ledger = cls(plan)
        ledger._load(state)
        ledger.rings.load(state.get("rings", {}))
        ledger._trails.load(state.get("trails", ledger._trails.to_state()))
        return ledger

    def amend(self, plan: Plan) -> None:
        """Goes on under a changed plan of the same generation.

        What is measured as before goes on; what is new or changed, bounds too, starts empty.
        """
        state, trails, rings = self.to_state(), self._trails, self.rings
        scored = self.plan.scored
        before = self._measurements
        kept = [item for item in plan.measurements if item.continues(before.get(item.name))]
        names = frozenset(item.name for item in kept)
        for table in ("early", "quantiles", "above", "detectors"):
            state[table] = [
                row for row in state[table] if row[0] in names and row[1] in plan.variants
            ]
        for table in ("tallies", "shadows"):
            state[table] = {name: state[table].get(name) for name in plan.variants}
        self._begin(plan)
        state["above"] = [row for row in state["above"] if tuple(row[:3]) in self._above]
        self._load(state)
        if plan.scored != scored:
            for tally in self.shadows.values():
                tally.forget_outcomes()
        self.rings.go_on(rings)
        self._strata.keep(names)
        self._trails.keep(trails, names)

    def _load(self, state: Mapping[str, Any]) -> None:
        for name in self.plan.variants:
            if state["tallies"][name] is not None:
                self.tallies[name].load(state["tallies"][name])
                self.shadows[name].load(state["shadows"][name])
        self._strata.from_state(state["strata"])
        for measurement, variant, item in state["early"]:
            self._early[measurement, variant].absorb(Sample.from_state(item))
        for measurement, variant, item in state["quantiles"]:
            self._quantiles[measurement, variant].load(item)
        for measurement, variant, bound, number, above in state["above"]:
            self._above[measurement, variant, bound][:] = [number, above]
        for measurement, variant, kind, item in state["detectors"]:
            self._detectors[measurement, variant, kind].from_state(item)
