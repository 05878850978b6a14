"""How many workers, how long people wait and what it costs: the tables of docs/scale.md.

    python tools/simulate_queue.py [--gpu-s 3] [--cpu-s 3] [--cpu-only-s 27] [--minutes 4]

Arrivals are Poisson, the busiest hour has three times the day's average. Waits are those of M/M/c (Erlang
1917), checked by a simulation whose services are as uneven as songs are. Seconds are for a minute of sound:
of one GPU worker, of one core beside it, of one core that does everything.
"""

from __future__ import annotations

import argparse
import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PEAK = 3.0  # the busiest hour to the average one
GPU_HOUR, CORE_HOUR = 0.40, 0.05  # US dollars: a T4 with its machine (a Space's t4-small), a core at a cloud
WAIT_S = 60.0  # 95 of 100 shall begin within this
SPREAD = 0.6  # standard deviation of a song's length to its mean; assumed


@dataclass(frozen=True)
class Queue:
    """M/M/c: `arrivals` a second, `service_s` on average, `servers`."""

    arrivals: float
    service_s: float
    servers: int

    @property
    def load(self) -> float:
        """Share of time in which a server works; from 1 on the queue grows without end."""
        return self.arrivals * self.service_s / self.servers

    @property
    def p_wait(self) -> float:
        """Probability that somebody waits at all (Erlang's C, by his recurrence for B)."""
        if self.load >= 1:
            return 1.0
        offered, blocked = self.arrivals * self.service_s, 1.0
        for n in range(1, self.servers + 1):
            blocked = offered * blocked / (n + offered * blocked)
        return blocked / (1 - self.load * (1 - blocked))

    @property
    def mean_wait_s(self) -> float:
        """Of all, those who do not wait included."""
        return self.p_wait * self.service_s / (self.servers * (1 - self.load)) if self.load < 1 else math.inf

    def wait_s(self, share: float) -> float:
        """The wait that this share of people does not exceed."""
        if self.load >= 1:
            return math.inf
        leaving = self.servers / self.service_s - self.arrivals
        return max(0.0, math.log(self.p_wait / (1 - share)) / leaving)


def servers_for(arrivals: float, service_s: float, wait_s: float = WAIT_S, share: float = 0.95) -> int:
    """Fewest servers with which this share of people waits no longer than that."""
    servers = max(1, math.ceil(arrivals * service_s))
    while Queue(arrivals, service_s, servers).wait_s(share) > wait_s:
        servers += 1
    return servers


def simulate(queue: Queue, *, jobs: int = 200_000, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    """Waits of that many jobs, first come first served, after as many tenths have warmed it up.

    `spread`: standard deviation of the service to its mean (1 = exponential; less = gamma).
    """
    chance = np.random.default_rng(seed)
    warm_up = jobs // 10
    arrive = np.cumsum(chance.exponential(1 / queue.arrivals, jobs + warm_up))
    shape = 1 / spread**2
    service = chance.gamma(shape, queue.service_s / shape, jobs + warm_up)
    free = [0.0] * queue.servers
    waits = np.empty(jobs + warm_up)
    for i, (at, takes) in enumerate(zip(arrive.tolist(), service.tolist(), strict=True)):
        begins = max(at, free[0])
        heapq.heapreplace(free, begins + takes)
        waits[i] = begins - at
    return waits[warm_up:]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu-s", type=float, default=3.0, help="of one GPU worker")
    parser.add_argument("--cpu-s", type=float, default=3.0, help="of one core beside it")
    parser.add_argument("--cpu-only-s", type=float, default=27.0, help="of one core, where there is no GPU")
    parser.add_argument("--minutes", type=float, default=4.0, help="of a song")
    options = parser.parse_args()
    gpu_s, cpu_s = options.gpu_s * options.minutes, options.cpu_s * options.minutes
    only_s = options.cpu_only_s * options.minutes

    print(f"A song of {options.minutes:g} minutes holds a GPU worker for {gpu_s:.0f} s and a core for {cpu_s:.0f} s; "
          f"without a GPU, a core for {only_s:.0f} s.\n")
    print("| songs a day | GPU workers | busy | + cores | 95 of 100 begin within | simulated | $ for 1,000 songs "
          "| or cores alone | $ |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for day in (100, 1_000, 10_000, 100_000, 1_000_000):
        peak = day * PEAK / 86400
        gpus = servers_for(peak, gpu_s)
        cores = servers_for(peak, cpu_s)
        queue = Queue(peak, gpu_s, gpus)
        waited = np.quantile(simulate(queue, jobs=100_000, spread=SPREAD), 0.95)
        cost = _always_on(gpus, cores) / day * 1000
        print(f"| {day:,} | {gpus} | {queue.load / PEAK:.0%} | {cores} | {queue.wait_s(0.95):.0f} s | {waited:.0f} s "
              f"| {cost:.2f} | {(alone := servers_for(peak, only_s))} | {_always_on(0, alone) / day * 1000:.2f} |")
    print("\n| phase | songs a day | $ for 1,000 songs |\n|---|--:|--:|")
    for phase, day, cost_of in PHASES:
        print(f"| {phase} | {day:,} | {cost_of(day, gpu_s, cpu_s):.2f} |")


def _always_on(gpus: int, cores: int) -> float:
    """Dollars a day of machines that never stop."""
    return 24 * (gpus * GPU_HOUR + cores * CORE_HOUR)


def _space(day: int, gpu_s: float, cpu_s: float) -> float:
    """One GPU machine with eight cores that does everything, awake for half an hour after each song, at most always."""
    awake_h = min(24.0, day * (gpu_s + cpu_s / 8 + 1800) / 3600)
    return awake_h * GPU_HOUR / day * 1000


def _few(day: int, gpu_s: float, cpu_s: float) -> float:
    """Enough workers for the busiest hour, always on."""
    peak = day * PEAK / 86400
    return _always_on(servers_for(peak, gpu_s), servers_for(peak, cpu_s)) / day * 1000


def _scaled(day: int, gpu_s: float, cpu_s: float) -> float:
    """As many workers as there is work, four fifths busy."""
    return (gpu_s * GPU_HOUR + cpu_s * CORE_HOUR) / 3600 / 0.8 * 1000


PHASES: tuple[tuple[str, int, Callable[[int, float, float], float]], ...] = (
    ("one Space", 100, _space), ("a few GPU workers", 10_000, _few), ("autoscaled cluster", 1_000_000, _scaled))


if __name__ == "__main__":
    main()
