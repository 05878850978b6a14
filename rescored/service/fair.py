"""Who is next: owners take turns, so that one who asks for fifty jobs does not make the others wait for fifty."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator


class FairQueue:
    """Waiting jobs; iterating gives them in the order in which they will be taken.

    Each owner has a line of their own, in the order asked. The owner who is served goes to the end of
    the round. Jobs without an owner are one line. Not locked: `Jobs` does that.
    """

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[str]] = OrderedDict()  # first = whose turn it is
        self._owner: dict[str, str] = {}

    def append(self, job: str, owner: str) -> None:
        """Let a job wait at the end of its owner's line; one that waits already keeps its place."""
        if job not in self._owner:
            self._lines.setdefault(owner, deque()).append(job)
            self._owner[job] = owner

    def pop(self) -> str:
        """The next job, which waits no more; raises KeyError if none does."""
        owner, line = self._lines.popitem(last=False)
        job = line.popleft()
        if line:
            self._lines[owner] = line
        del self._owner[job]
        return job

    def remove(self, job: str) -> None:
        """Let a job wait no more; raises KeyError if it does not wait."""
        owner = self._owner.pop(job)
        self._lines[owner].remove(job)
        if not self._lines[owner]:
            del self._lines[owner]

    def __contains__(self, job: object) -> bool:
        return job in self._owner

    def __len__(self) -> int:
        return len(self._owner)

    def __iter__(self) -> Iterator[str]:
        depth = max(map(len, self._lines.values()), default=0)
        for row in range(depth):
            for line in self._lines.values():
                if row < len(line):
                    yield line[row]
