"""Writes vectors.json and traces.json: what the reference in reference/ computes and decides.

    python3 -m venv /tmp/oracle && /tmp/oracle/bin/pip install numpy
    /tmp/oracle/bin/python generate.py

The same files come out every time; oracle.rs holds haldane-decide against them.
Needs numpy, for the histogram of the reference only.

The rows of a trace are not stored. They are made here and in trace.rs by the same
integer arithmetic from the trace's parameters: one SplitMix64, quantile tables of
latencies in microseconds, chances in parts per million. A checksum over all fields
of all rows says that both sides made the same.
"""

import json
import math
import random
import sys
from bisect import bisect_right
from pathlib import Path

HERE = Path(__file__).parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE / "reference"))

import engine  # noqa: E402
import gates  # noqa: E402

MILLION = 1_000_000
U64 = (1 << 64) - 1

# Completions are stamped with Unix time. Not a multiple of any interval of the engine.
EPOCH_MS = 1_700_000_000_123

CHECKPOINTS = 20

# What a row without a response is to the engine, which knows statuses only.
NO_RESPONSE = 1_000


# --- primitives -----------------------------------------------------------------------


def lanes_of(lanes):
    """JSON has no infinity: null."""
    return [[None if math.isinf(ratio) else ratio, prior] for ratio, prior in lanes]


def share_bets(rng):
    cases = []
    for name, lanes in (("error", gates.ERR_LANES), ("latency", gates.LAT_LANES)):
        for weight in (0.01, 0.05, 0.25, 0.5, 0.9):
            for canary in (weight, min(0.97, 4 * weight)):
                bet = gates.ShareBet(lanes)
                bet.set_weight(weight)
                steps = [["share", weight, 1, bet.E]]
                for count in range(60):
                    if count == 0 or rng.random() < 0.15:
                        mass = round(rng.uniform(0, 0.02) if count else 0.5, 6)
                        bet.release(mass)
                        steps.append(["release", mass, 1, bet.E])
                    if rng.random() < 0.05:
                        weight = rng.choice((0.01, 0.05, 0.1, 0.25, 0.5))
                        bet.set_weight(weight)
                        steps.append(["share", weight, 1, bet.E])
                    share = float(rng.random() < canary)
                    if rng.random() < 0.1:
                        share = round(rng.random(), 4)
                    bet.update(share)
                    steps.append(["update", share, 1, bet.E])
                cases.append({"name": f"{name} lanes", "lanes": lanes_of(lanes), "steps": steps})
    # Long runs of one side: lanes that vanish, and are fed again.
    for weight, side, chunks, length in ((0.5, 0.0, 25, 60), (0.05, 1.0, 8, 5), (0.9, 0.0, 15, 20)):
        bet = gates.ShareBet(gates.ERR_LANES)
        bet.set_weight(weight)
        bet.release(0.5)
        steps = [["share", weight, 1, bet.E], ["release", 0.5, 1, bet.E]]
        for share, times in [(side, length)] * chunks + [(None, 1)] + [(1.0 - side, 1)] * 10:
            if share is None:
                bet.release(0.25)
                steps.append(["release", 0.25, 1, bet.E])
                continue
            for _ in range(times):
                bet.update(share)
            steps.append(["update", share, times, bet.E])
        cases.append({"name": "one side only", "lanes": lanes_of(gates.ERR_LANES), "steps": steps})
    return cases


def block_of(rng, weight, kind):
    """canary, stable, canary exceeding, stable exceeding"""
    total = rng.choice((3, 20, 100, 1_000))
    canary = sum(rng.random() < weight for _ in range(total))
    stable = total - canary
    if kind == "no canary":
        canary = 0
    elif kind == "no stable":
        stable = 0
    rate = rng.choice((0.01, 0.05, 0.5))
    if kind == "quiet":
        rate = 0
    elif kind == "all":
        rate = 1
    slower = rng.choice((1, 1, 2))
    return (
        canary,
        stable,
        sum(rng.random() < min(1, rate * slower) for _ in range(canary)),
        sum(rng.random() < rate for _ in range(stable)),
    )


def block_bets(rng):
    cases = []
    ladders = (("p50", engine.L50), ("p95", engine.L95), ("p99", engine.L99), ("2xp99", engine.L2X))
    kinds = ("any", "any", "any", "no canary", "no stable", "quiet", "all")
    for name, lanes in ladders:
        for weight in (0.01, 0.05, 0.3, 0.5):
            rung = engine.Rung(name, 1.0, lanes, 1.0)
            rung.set_weight(weight)
            steps = []
            for count in range(40):
                if count and rng.random() < 0.08:
                    weight = rng.choice((0.01, 0.05, 0.25, 0.5))
                    rung.set_weight(weight)
                mass = 0.5 if count == 0 else round(rng.uniform(0, 0.01), 6) * (rng.random() < 0.4)
                block = block_of(rng, weight, rng.choice(kinds))
                rung.cnt = [block[3], block[2]]
                steps.append([weight, mass, *block, rung.close(mass, block[0], block[1])])
            cases.append({"name": name, "lanes": lanes_of(lanes), "steps": steps})
    # Blocks as large as those of a busy service.
    rung = engine.Rung("p50", 1.0, engine.L50, 1.0)
    rung.set_weight(0.05)
    steps = []
    for block in ((50_000, 950_000, 30_000, 475_000), (1, 999_999, 1, 999_999), (999_999, 1, 0, 1), (50_000, 950_000, 0, 1)):
        rung.cnt = [block[3], block[2]]
        steps.append([0.05, 0.125, *block, rung.close(0.125, block[0], block[1])])
    cases.append({"name": "large", "lanes": lanes_of(engine.L50), "steps": steps})
    return cases


def hard_bets(rng):
    cases = []
    kinds = ("any", "any", "no canary", "no stable", "quiet", "all")
    for difference in (0.05, 0.001):
        for weight in (0.05, 0.3, 0.5):
            bet = gates.HardLimit(difference)
            steps = []
            for count in range(30):
                mass = 0.5 if count == 0 else round(rng.uniform(0, 0.01), 6) * (rng.random() < 0.5)
                bet.release(mass)
                canary, stable, xc, xs = block_of(rng, weight, rng.choice(kinds))
                # The reference holds what was released before a block without one side.
                bet.block(xc, canary, xs, stable)
                steps.append([mass, canary, stable, xc, xs, bet.E])
            cases.append({"difference": difference, "steps": steps})
    return cases


def two_sample_bets(rng):
    cases = []
    settings = (
        # Rollback: canary worse than stable.
        ([(a, max(0.001, 1.5 * 0.001)) for a in (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 0.99)], 0.0, 0.9, (0.003, 0.001)),
        ([(a, 0.01) for a in (0.03, 0.1, 0.3, 0.6, 0.9, 0.99)], 0.001, 0.5, (0.03, 0.01)),
        # Advancement: canary no worse than stable and a margin.
        ([(f * 0.001, f * 0.001 + 0.002) for f in (0.5, 1.0, 1.6)], 0.002, 0.05, (0.001, 0.001)),
        ([(f * 0.01, f * 0.01 + 0.005) for f in (0.5, 1.0, 1.6)], 0.005, 0.25, (0.01, 0.01)),
    )
    for lanes, margin, share, (canary_rate, stable_rate) in settings:
        bet = gates.TwoSampleBet(lanes, [1 / len(lanes)] * len(lanes), margin, share)
        steps = []
        for count in range(40):
            if count and rng.random() < 0.1:
                share = rng.choice((0.05, 0.1, 0.25, 0.5, 0.9))
                bet.set_weight(share)
            total = rng.choice((0, 1, 10, 100, 500))
            canary = sum(rng.random() < share for _ in range(total))
            xc = sum(rng.random() < canary_rate for _ in range(canary))
            xs = sum(rng.random() < stable_rate for _ in range(total - canary))
            counts = (xc, canary - xc, xs, total - canary - xs)
            outcomes = [(i < 2, i in (0, 2)) for i, n in enumerate(counts) for _ in range(n)]
            rng.shuffle(outcomes)
            for is_canary, fails in outcomes:
                bet.update(is_canary, fails)
            steps.append([share, *counts, bet.E])
        cases.append({"lanes": lanes, "margin": margin, "share": steps[0][0], "steps": steps})
    return cases


def restart_masses():
    cases = []
    for steps, horizon in ((1, 360), (4, 12), (3, 1), (0, 6), (12, 8_640)):
        mass = gates.RestartMass(max(1, steps), horizon)  # as the engine makes it
        ops, total = [], 0.0

        def op(name, count, value):
            nonlocal total
            total += value
            ops.append([name, count, value, total])

        op("start", 1, mass.on_start())
        for count in range(steps + 2):
            op("step", 1, mass.on_step())
            op("tick", 1, mass.on_tick())
            op("ticks", 7, sum(mass.on_tick() for _ in range(7)))
        op("ticks", horizon, sum(mass.on_tick() for _ in range(horizon)))
        op("tick", 1, mass.on_tick())
        op("ticks", 5_000, sum(mass.on_tick() for _ in range(5_000)))
        op("tick", 1, mass.on_tick())
        cases.append({"steps": steps, "horizon_ticks": horizon, "ops": ops})
    return cases


def run_lengths():
    chances = (1e-6, 1e-4, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9)
    return [
        [p, requests, error, gates.run_length_N(p, requests, error)]
        for p in chances
        for requests in (150, MILLION, 10**9)  # none of them at a tie
        for error in (1e-3, 1e-4, 1e-6)
    ]


def vectors():
    rng = random.Random(20240607)
    return {
        "share_bets": share_bets(rng),
        "block_bets": block_bets(rng),
        "hard_bets": hard_bets(rng),
        "two_sample_bets": two_sample_bets(rng),
        "restart_masses": restart_masses(),
        "run_lengths": run_lengths(),
    }


# --- generated traffic ----------------------------------------------------------------


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & U64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & U64
    return z ^ (z >> 31)


class Generator:
    """SplitMix64, as in simulation/generator.rs."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & U64
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & U64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & U64
        return z ^ (z >> 31)

    def below(self, bound):
        return (self.next() * bound) >> 64


TABLE = 1_024


def normal_quantile(p):
    low, high = -10.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        if 0.5 * math.erfc(-middle / math.sqrt(2)) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def log_normal(median, sigma):
    """1 025 quantiles in microseconds; between two of them latencies are uniform."""
    chances = [max(0.0002, min(0.9998, i / TABLE)) for i in range(TABLE + 1)]
    return [max(1, round(median * math.exp(sigma * normal_quantile(p)))) for p in chances]


TABLES = {
    "usual": log_normal(30_000, 0.6),
    "wide": log_normal(90_000, 1.1),
    "fast": log_normal(60, 0.5),
}
# Gaps between arrivals, in 65 536ths of the mean.
GAPS = [round(-65_536 * math.log(1 - (i + 0.5) / TABLE)) for i in range(TABLE)]

# What the parameters are where a trace does not say otherwise; trace.rs has the same.
TRACE = dict(
    keys=20_000, key_depth=1, keyless=0, table="usual", burst=0, burst_bad=0, bad_key_every=0, bad_key=0
)
SIDE = dict(times=1_000, slow=0, slow_times=1_000, tail_from=TABLE, tail_times=1_000)
PHASE = dict(gap_us=5_000, errors=[[500, 1_000, 1_000]], stable={}, canary={})


class Fnv:
    def __init__(self):
        self.state = 0xCBF29CE484222325

    def add(self, data):
        state = self.state
        for byte in data:
            state = ((state ^ byte) * 0x100000001B3) & U64
        self.state = state


def latency_of(generator, table, side):
    drawn = generator.next()
    index, fraction = drawn >> 54, (drawn >> 22) & 0xFFFFFFFF
    base = table[index] + (((table[index + 1] - table[index]) * fraction) >> 32)
    slow = generator.below(MILLION) < side["slow"]
    base = base * (side["slow_times"] if slow else side["times"]) // 1_000
    if index >= side["tail_from"]:
        base = base * side["tail_times"] // 1_000
    return max(1, base)


def rows_of(trace):
    """[completed ms, latency us, canary, status, key or None, weight], in the order of completion"""
    p = TRACE | trace["traffic"]
    phases = [PHASE | phase for phase in trace["phases"]]
    for phase in phases:
        phase["stable"], phase["canary"] = SIDE | phase["stable"], SIDE | phase["canary"]
    begins = [phase["from_ms"] for phase in phases]
    schedule = trace["schedule"]
    step_times = [step[0] for step in schedule]
    table, salt = TABLES[p["table"]], mix(trace["seed"] ^ 0x5DEECE66D)
    generator = Generator(trace["seed"])
    rows, clock_us, burst = [], 0, [0, 0, False]
    while True:
        phase = phases[bisect_right(begins, clock_us // 1_000) - 1]
        in_burst = burst[0] > 0
        gap = (phase["gap_us"] * GAPS[generator.next() >> 54]) >> 16
        clock_us += gap // 16 if in_burst else gap
        arrival = clock_us // 1_000
        if arrival >= trace["end_ms"]:
            break
        phase = phases[bisect_right(begins, arrival) - 1]
        step = bisect_right(step_times, arrival)
        weight = schedule[step - 1][1] if step else 0
        # Who asks.
        if in_burst:
            burst[0] -= 1
        else:
            key = p["keys"]
            for _ in range(p["key_depth"]):
                key = generator.below(key) + 1
            burst[1], burst[2] = key, False
            if p["burst"] and generator.below(MILLION) < p["burst"]:
                burst[0] = 5 + generator.below(30)
                burst[2] = generator.below(MILLION) < p["burst_bad"]
        key, bad = burst[1], burst[2]
        hashed = mix(key)
        if generator.below(MILLION) < p["keyless"]:
            hashed, position = None, generator.below(MILLION)
        else:
            position = (mix(hashed ^ salt) * MILLION) >> 64
        canary = position < weight
        # What becomes of it.
        latency = latency_of(generator, table, phase["canary" if canary else "stable"])
        status, drawn = 200, generator.below(MILLION)
        for error in phase["errors"]:
            chance = error[2 if canary else 1]
            if drawn < chance:
                status = error[0]
                break
            drawn -= chance
        bad_key = p["bad_key_every"] and key % p["bad_key_every"] == 0
        if bad or (bad_key and generator.below(MILLION) < p["bad_key"]):
            status = 500
        completed = (arrival * 1_000 + latency + 999) // 1_000
        rows.append((completed, latency, canary, status, hashed, weight))
    rows.sort(key=lambda row: row[0])  # stable: equal times stay in the order of arrival
    return rows


def checksum_of(rows):
    fnv = Fnv()
    for completed, latency, canary, status, hashed, weight in rows:
        fnv.add(
            completed.to_bytes(8, "little")
            + latency.to_bytes(8, "little")
            + bytes((canary,))
            + status.to_bytes(2, "little")
            + (b"\0" if hashed is None else b"\1" + hashed.to_bytes(8, "little"))
            + weight.to_bytes(4, "little")
        )
    return fnv.state


def judge(trace, rows):
    """Runs the reference until it decides: the changes of E by row, and the decision."""
    schedule = [(EPOCH_MS + at, weight / MILLION) for at, weight in trace["schedule"]]
    reference = engine.Engine(schedule, trace["horizon_ms"], keyless=False)
    last, changes, fired = (0.0,) * 4, [(0, 0.0, 0.0, 0.0, 0.0)], None
    for number, (completed, latency, canary, status, hashed, _) in enumerate(rows, 1):
        reference.on_complete(EPOCH_MS + completed, int(canary), status or NO_RESPONSE, latency, hashed)
        if reference.fired:
            at, count, family, total = reference.fired
            fired = dict(row=number, at_ms=at - EPOCH_MS, family=family, canary=count, evidence=total)
            break
        e = reference.E
        now = (e["err"], e["cls"], e["hard"], e["lat"])
        if now != last:
            changes.append((number, *now))
            last = now
    return changes, fired, reference


def checkpoints_of(trace, rows, changes, fired):
    """Half of them anywhere, half where something changed; the last one before the end or the decision."""
    rng = random.Random(trace["seed"])
    last = fired["row"] - 1 if fired else len(rows)
    begin = bisect_right([row[0] for row in rows], trace["schedule"][0][0]) + 1
    numbers = {begin + (last - begin) * i // (CHECKPOINTS // 2) for i in range(1, CHECKPOINTS // 2 + 1)}
    changed = [change[0] for change in changes[1:]]
    numbers |= set(rng.sample(changed, min(len(changed), CHECKPOINTS - len(numbers))))
    if changed:
        numbers.add(changed[-1])
    changed = [0, *changed]
    return [[number, *changes[bisect_right(changed, number) - 1][1:]] for number in sorted(numbers) if number >= begin]


# --- the traces -----------------------------------------------------------------------

PERCENT = 10_000


def steps(prelude_ms, *weights_and_times):
    """(weight in percent, for so many ms), one after another from the end of the prelude."""
    at, schedule = prelude_ms, []
    for weight, lasts in weights_and_times:
        schedule.append([at, round(weight * PERCENT)])
        at += lasts
    return schedule, at


def trace(kind, seed, schedule, phases, traffic=None, prelude_ms=30_000, horizon_ms=600_000):
    schedule, end = steps(prelude_ms, *schedule)
    return dict(
        kind=kind, seed=seed, horizon_ms=horizon_ms, schedule=schedule, end_ms=end,
        traffic=traffic or {}, phases=[{"from_ms": 0} | phases[0], *phases[1:]],
    )


def errors(*statuses):
    return {"errors": [list(status) for status in statuses]}


def healthy():
    found = []

    def add(*arguments, **named):
        found.append(trace(*arguments, **named))

    for seed, weight in ((101, 5), (102, 25), (103, 50)):
        add("independent", seed, [(weight, 150_003)], [{}])
    for seed in (111, 112):
        add("bursty keys", seed, [(5, 150_000)], [{}], dict(keys=3_000, key_depth=3, burst=20_000, burst_bad=30_000))
    for seed in (121, 122):
        rates = [500 + 400 * i for i in range(12)]
        phases = [dict(from_ms=i * 18_000, **errors([500, rate, rate], [404, rate // 2, rate // 2]),
                       stable=dict(times=1_000 + 60 * i), canary=dict(times=1_000 + 60 * i))
                  for i, rate in enumerate(rates)]
        add("drifting baseline", seed, [(10, 186_000)], phases)
    for seed in (131, 132):
        gaps = [round(8_000 - 6_000 * math.sin(i * math.pi / 6)) for i in range(12)]
        phases = [dict(from_ms=i * 18_000, gap_us=gap, stable=dict(times=9_000_000 // gap), canary=dict(times=9_000_000 // gap))
                  for i, gap in enumerate(gaps)]
        add("diurnal", seed, [(5, 186_000)], phases)
    for seed in (141, 142):
        add("ramp", seed, [(1, 61_000), (5, 60_500), (25, 61_234), (50, 60_000)], [{}], dict(table="wide"))
    for seed in (151, 152):
        bad = dict(**errors([503, 300_000, 300_000]), stable=dict(times=5_000), canary=dict(times=5_000))
        add("shared outage", seed, [(5, 90_000), (25, 90_000)],
            [{}, dict(from_ms=70_000, **bad), dict(from_ms=85_000), dict(from_ms=150_000, **bad), dict(from_ms=160_000)])
    for seed in (161, 162):
        add("keyless", seed, [(5, 80_000), (20, 70_000)], [{}], dict(keyless=MILLION))
    for seed in (171, 172):
        slow = dict(slow=20_000, slow_times=20_000)
        add("bimodal", seed, [(5, 150_000)], [dict(stable=slow, canary=slow)])
    for seed in (181, 182):
        add("bad keys, some keyless", seed, [(10, 150_000)], [errors([500, 500, 500], [404, 2_000, 2_000])],
            dict(keys=2_000, keyless=300_000, bad_key_every=50, bad_key=500_000), prelude_ms=45_000)
    for seed in (191, 192):
        add("fast", seed, [(5, 90_000), (50, 60_000)], [{}], dict(table="fast"))
    for seed in (201, 202):
        # Blocks and ticks that pass without a request, long past the horizon.
        add("sparse", seed, [(5, 2_000_000), (25, 4_000_000)],
            [dict(gap_us=20_000), dict(from_ms=60_000, gap_us=400_000), dict(from_ms=2_500_000, gap_us=9_000_000)],
            dict(keys=500), prelude_ms=60_000)
    for seed in (203, 204):
        # So sparse that the baseline forgets almost everything, and stable changes.
        twice = dict(times=2_000)
        add("sparse and slower", seed, [(25, 12_000_000)],
            [dict(gap_us=25_000), dict(from_ms=60_000, gap_us=15_000_000),
             dict(from_ms=3_000_000, gap_us=12_000_000, stable=twice, canary=twice)],
            dict(keys=500), prelude_ms=60_000)
    for seed in (211,):
        add("lowered", seed, [(25, 60_000), (5, 60_000), (40, 60_000), (1, 30_000)], [{}], dict(table="wide"))
    return found


def worse():
    """Confirmed, but smaller than what rolls back; and what the margins allow."""
    found = []
    for seed in (301, 302):
        found.append(trace("a little slower", seed, [(25, 150_000)], [dict(canary=dict(times=1_160))], dict(keys=5_000)))
    for seed in (311,):
        found.append(trace("few more errors", seed, [(5, 60_000), (50, 120_000)], [dict(gap_us=3_000, **errors([500, 200, 1_100]))]))
    return found


def faulty():
    found = []

    def add(*arguments, **named):
        found.append(trace(*arguments, **named))

    for seed, weight, lasts in ((401, 5, 240_000), (402, 5, 240_000), (403, 25, 120_000), (404, 50, 120_000)):
        add("errors 0.1% to 1%", seed, [(weight, lasts)], [errors([500, 1_000, 10_000])])
    for seed, weight, lasts in ((411, 1, 120_000), (412, 5, 60_000), (413, 25, 30_000), (414, 50, 30_000)):
        add("errors 0.1% to 5%", seed, [(weight, lasts)], [errors([500, 1_000, 50_000])])
    for seed, weight, lasts in ((421, 1, 60_000), (422, 5, 30_000), (423, 50, 30_000), (424, 50, 30_000)):
        add("errors 0.1% to 50%", seed, [(weight, lasts)], [errors([500, 1_000, 500_000])])
    for seed, weight, lasts in ((431, 1, 30_000), (432, 5, 20_000), (433, 25, 20_000), (434, 50, 20_000)):
        add("total failure", seed, [(weight, lasts)], [errors([0, 0, MILLION])])
    for seed, share, horizon_ms in ((441, 50_000, 60_000), (442, 500_000, 600_000)):
        phases = [dict(gap_us=6_000), dict(from_ms=330_000, gap_us=6_000, **errors([500, 1_000, share]))]
        add("late errors", seed, [(5, 400_000)], phases, horizon_ms=horizon_ms)
    # Confirmed long before the tail of all that the canary did is so heavy.
    phases = [dict(gap_us=6_000), dict(from_ms=110_000, gap_us=6_000, canary=dict(tail_from=1_003, tail_times=4_000))]
    add("late tail", 443, [(5, 400_000)], phases)
    for seed, weight in ((451, 5), (452, 10), (453, 30)):
        add("new 4xx", seed, [(weight, 90_000)], [errors([500, 1_000, 1_000], [404, 5_000, 5_000], [422, 0, 30_000])])
    for seed, weight in ((461, 5), (462, 20)):
        # Stable fails often with one class; the canary rarely, with another.
        add("new 5xx", seed, [(weight, 180_000)], [errors([500, 30_000, 30_000], [504, 0, 6_000])], dict(keys=2_000))
    for seed in (471, 472):
        add("known 4xx grows", seed, [(10, 90_000)], [errors([500, 1_000, 1_000], [404, 10_000, 60_000], [429, 3_000, 3_000])])
    for seed, weight in ((481, 1), (482, 5), (483, 25), (484, 50)):
        add("latency x2", seed, [(weight, 120_000 if weight == 1 else 45_000)], [dict(canary=dict(times=2_000))])
    for seed, weight in ((491, 1), (492, 5), (493, 25)):
        add("tail x4", seed, [(weight, 150_000)], [dict(canary=dict(tail_from=1_003, tail_times=4_000))])
    for seed, weight in ((501, 5), (502, 5), (503, 25)):
        add("slow mode 2% to 5%", seed, [(weight, 240_000 if weight == 5 else 120_000)],
            [dict(stable=dict(slow=20_000, slow_times=20_000), canary=dict(slow=50_000, slow_times=20_000))])
    for seed, times in ((1_491, 1_300), (1_492, 1_250)):
        # Its median is slower and its tail is not: how much exactly decides when.
        phases = [dict(canary=dict(times=times, tail_from=850, tail_times=750))]
        add("median x1.3", seed, [(25, 200_000)], phases)
    for seed, times in ((1_493, 1_230), (1_494, 1_215)):
        add("p95 near the limit", seed, [(25, 200_000)], [dict(canary=dict(times=times))])
    for seed, times in ((1_495, 2_130), (1_496, 2_080)):
        add("p99 near the limit", seed, [(25, 250_000)], [dict(canary=dict(tail_from=1_010, tail_times=times))])
    # Better at first, so that an episode ends before the fault begins.
    # Stable has a slow mode beyond four times its p99, or no rung would see that.
    slow = dict(slow=5_000, slow_times=20_000)
    phases = [dict(stable=slow, canary=dict(times=700)),
              dict(from_ms=160_000, stable=slow, canary=slow | dict(tail_from=1_003, tail_times=4_000))]
    for seed, weight in ((1_501, 25), (1_502, 50)):
        add("faster, then tail x4", seed, [(weight, 300_000)], phases, horizon_ms=7_200_000)
    better = errors([500, 10_000, 2_000])
    for seed, weight in ((1_511, 25), (1_512, 50)):
        add("fewer errors, then more", seed, [(weight, 300_000)],
            [better, dict(from_ms=180_000, **errors([500, 10_000, 60_000]))], horizon_ms=7_200_000)
    better = errors([500, 1_000, 1_000], [404, 10_000, 0])
    # So long that all errors of the canary since the start would be too few of its requests.
    phases = [better, dict(from_ms=390_000, **errors([500, 1_000, 1_000], [404, 0, 100_000]))]
    add("no 4xx, then many", 1_521, [(50, 400_000)], phases, dict(keys=100_000), horizon_ms=7_200_000)
    for seed in (511, 512):
        add("fast, x1.5", seed, [(10, 90_000)], [dict(canary=dict(times=1_500))], dict(table="fast"))
    for seed, weight, share in ((521, 30, 500_000), (522, 30, MILLION), (523, 40, 400_000)):
        # So few keys that only the hard limit sees enough.
        add("few tenants", seed, [(weight, 300_000)], [errors([500, 2_000, share])], dict(keys=10))
    for seed in (531, 532):
        phases = [{}, dict(from_ms=100_000, **errors([502, 1_000, 25_000]))]
        add("ramp into errors", seed, [(1, 40_000), (5, 45_000), (25, 45_000), (50, 60_000)], phases, dict(table="wide"))
    for seed in (541, 542):
        add("keyless errors", seed, [(5, 120_000)], [errors([500, 1_000, 20_000])], dict(keyless=MILLION))
    for seed in (551, 552):
        # Both at once: no gate alone needs to have all of the evidence.
        phases = [dict(canary=dict(times=1_300), **errors([500, 1_000, 12_000], [409, 500, 6_000]))]
        add("errors and latency", seed, [(10, 120_000)], phases, dict(keys=4_000, keyless=200_000))
    return found


def traces():
    found = []
    for one in healthy() + worse() + faulty():
        rows = rows_of(one)
        changes, fired, reference = judge(one, rows)
        if fired:
            # Nothing that starts later matters.
            one["end_ms"] = fired["at_ms"] + 1_000
            rows = rows_of(one)
            assert judge(one, rows)[:2] == (changes, fired)
        one |= dict(
            rows=len(rows), checksum=f"{checksum_of(rows):016x}", fired=fired,
            checkpoints=checkpoints_of(one, rows, changes, fired),
        )
        found.append(one)
        print(f"{one['kind']:24} {one['seed']} {len(rows):7} rows, confirmed {reference.confirmed},", fired or "not rolled back", file=sys.stderr)
    assert len({one["seed"] for one in found}) == len(found)
    print(len(found), "traces,", sum(one["rows"] for one in found), "rows", file=sys.stderr)
    return {"epoch_ms": EPOCH_MS, "tables": TABLES, "gaps": GAPS, "traces": found}


# --- files ----------------------------------------------------------------------------


def text_of(value, depth):
    """JSON with one line for whatever lies deeper than `depth`."""
    if depth == 0 or not isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}:{text_of(part, depth - 1)}" for name, part in value.items()]
        return "{\n" + ",\n".join(parts) + "\n}"
    return "[\n" + ",\n".join(text_of(part, depth - 1) for part in value) + "\n]"


def main():
    (HERE / "vectors.json").write_text(text_of(vectors(), 2) + "\n")
    (HERE / "traces.json").write_text(text_of(traces(), 2) + "\n")


if __name__ == "__main__":
    main()
