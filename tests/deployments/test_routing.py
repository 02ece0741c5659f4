"""Which replica a call goes to, decided without Ray around it."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from ray.serve._private.common import DeploymentHandleSource, DeploymentID
from ray.serve.request_router import ReplicaID, RunningReplica

from deployments.routing import FewestCallsRouter

DEPLOYMENT = DeploymentID("Tts")
ANA, BEN, CLO = (
    cast(RunningReplica, SimpleNamespace(replica_id=ReplicaID(name, DEPLOYMENT))) for name in ("ana", "ben", "clo")
)


def router() -> FewestCallsRouter:
    made = FewestCallsRouter(  # type: ignore[no-untyped-call]
        DEPLOYMENT, DeploymentHandleSource.REPLICA, use_replica_queue_len_cache=True
    )
    made.initialize_state()
    return made


def choose(made: FewestCallsRouter, *replicas: RunningReplica) -> list[RunningReplica]:
    """In the order in which they would be tried."""
    ranks = asyncio.run(made.choose_replicas(list(replicas), cast(Any, None)))
    return [replica for [replica] in ranks]


def test_a_call_goes_where_fewest_of_ours_are() -> None:
    made = router()
    made.on_send_request(ANA.replica_id)
    made.on_send_request(ANA.replica_id)
    made.on_send_request(CLO.replica_id)
    assert choose(made, ANA, BEN, CLO) == [BEN, CLO, ANA]

    made.on_request_completed(ANA.replica_id, "1")
    made.on_request_completed(ANA.replica_id, "2")
    made.on_send_request(BEN.replica_id)
    made.on_send_request(BEN.replica_id)
    assert choose(made, ANA, BEN, CLO) == [ANA, CLO, BEN]


def test_calls_of_one_moment_are_spread() -> None:
    made = router()
    firsts = [choose(made, ANA, BEN)[0].replica_id for _ in range(4)]
    assert firsts.count(ANA.replica_id) == firsts.count(BEN.replica_id)


def test_calls_one_after_another_meet_different_replicas() -> None:
    made = router()
    met = set()
    for number in range(2):
        [chosen, _] = choose(made, ANA, BEN)
        met.add(chosen.replica_id)
        made.on_send_request(chosen.replica_id)
        made.on_request_completed(chosen.replica_id, str(number))
    assert met == {ANA.replica_id, BEN.replica_id}


def test_our_count_stands_where_the_replica_says_something_else() -> None:
    made = router()
    made.on_send_request(ANA.replica_id)
    made.on_new_queue_len_info(ANA.replica_id, 0)
    made.on_new_queue_len_info(BEN.replica_id, 3)
    assert choose(made, ANA, BEN) == [BEN, ANA]


def test_among_equals_a_call_goes_where_others_have_sent_less() -> None:
    made = router()
    made.on_new_queue_len_info(BEN.replica_id, 2)
    assert choose(made, ANA, BEN) == [ANA, BEN]


def test_a_call_that_could_not_be_sent_is_not_missing_from_the_count() -> None:
    made = router()
    made.on_request_completed(ANA.replica_id, "never sent")
    made.on_send_request(ANA.replica_id)
    assert choose(made, ANA, BEN) == [BEN, ANA]
