"""Which replica a call goes to: the one with the fewest calls of this caller, for its gate lets in no more than fit."""

from collections import Counter
from typing import Any

from ray.serve.request_router import FIFOMixin, PendingRequest, ReplicaID, RequestRouter, RunningReplica


class FewestCallsRouter(FIFOMixin, RequestRouter):
    """Routes by an exact count of what this process sent and has no answer to; among equals, by Serve's guess.

    Serve guesses how long the queues are, from answers up to 10 s old. As long as a replica takes no
    more than its share of what a job worker sends, a wrong guess is refused and mended; but replicas take calls of
    live sessions beside it, and then one of them got four sentences of a job while another had none.
    """

    def initialize_state(self, **settings: Any) -> None:
        """Serve calls it in place of a constructor."""
        self._calls: Counter[ReplicaID] = Counter()
        self._turn = 0

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """The replicas, each a rank of its own, in the order to try them in."""
        if pending_request is not None:
            # Without it Serve asks again at once, for as long as all replicas are full.
            pending_request.routing_context.should_backoff = True
        self._turn += 1
        # Calls of one moment are placed before the first of them is sent: only taking turns spreads those.
        first = self._turn % max(len(candidate_replicas), 1)
        ranked = sorted(candidate_replicas[first:] + candidate_replicas[:first], key=self._load)
        return [[replica] for replica in ranked]

    def _load(self, replica: RunningReplica) -> tuple[int, int]:
        """Calls of ours that it has, and all that it was last known to have, which others may have sent."""
        known = self.replica_queue_len_cache.get(replica.replica_id)
        return self._calls[replica.replica_id], known or 0

    def on_send_request(self, replica_id: ReplicaID) -> None:
        """A call is on its way."""
        super().on_send_request(replica_id)
        self._calls[replica_id] += 1

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """A call was answered, refused or given up; Serve says so too of one it failed to send."""
        if self._calls[replica_id] > 1:
            self._calls[replica_id] -= 1
        else:
            del self._calls[replica_id]
