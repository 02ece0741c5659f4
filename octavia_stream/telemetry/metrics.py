"""Everything that is measured, by name. Units are in the names; labels take few values and never an id.

`COUNTED` is what processes count by themselves. They send it to Redis, where it is added up, so any one api process
tells it for all of them. `STATE` is what an api process finds out when it is asked.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

COUNTED = CollectorRegistry()
STATE = CollectorRegistry()

_REQUEST_BUCKETS = (0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0)
_STAGE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_JOB_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)
_RATIO_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0)
_BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class MetricInfo(NamedTuple):
    """One metric, for the reference."""

    name: str
    """As Prometheus sees it, without the suffixes of a histogram."""
    type: str
    labels: tuple[str, ...]
    meaning: str


_catalogue: list[MetricInfo] = []


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    _catalogue.append(MetricInfo(f"{name}_total", "counter", labels, meaning))
    return Counter(name, meaning, labels, registry=COUNTED)


def _histogram(name: str, meaning: str, buckets: Sequence[float], *labels: str) -> Histogram:
    _catalogue.append(MetricInfo(name, "histogram", labels, meaning))
    return Histogram(name, meaning, labels, buckets=buckets, registry=COUNTED)


def _process_gauge(name: str, meaning: str, *labels: str) -> Gauge:
    _catalogue.append(MetricInfo(name, "gauge", labels, meaning))
    return Gauge(name, meaning, labels, registry=COUNTED)


def _state(name: str, meaning: str, *labels: str) -> Gauge:
    _catalogue.append(MetricInfo(name, "gauge", labels, meaning))
    return Gauge(name, meaning, labels, registry=STATE)


HTTP_REQUEST = _histogram(
    "octavia_http_request_seconds",
    "From a request's first byte to its answer's last; of WebSockets and event streams, how long they were open.",
    _REQUEST_BUCKETS,
    *("method", "route", "status"),
)
UPLOADED_BYTES = _counter("octavia_upload_bytes", "Bytes of files that users brought.", "type")
EVENT_CLIENTS = _process_gauge("octavia_event_clients", "Open event streams.", "transport")
EVENTS_APPENDED = _counter("octavia_events_appended", "Events of jobs that were stored.", "type")
EVENTS_DROPPED = _counter(
    "octavia_events_dropped",
    "Events left out on the fast way; all but `recorder` are still found in Postgres. recorder: progress that newer "
    "progress replaced; redis: not sent while Redis was away.",
    "at",
)

JOBS_SUBMITTED = _counter("octavia_jobs_submitted", "Runs of jobs that were asked for.", "kind")
JOBS_ENDED = _counter("octavia_jobs_ended", "Runs of jobs that ended.", "kind", "status")
JOB_WAIT = _histogram(
    "octavia_job_wait_seconds", "From the request to process a job until a worker took it.", _JOB_BUCKETS, "kind"
)
JOB_WORK = _histogram(
    "octavia_job_work_seconds", "From when a worker took a job until it was through with it.", _JOB_BUCKETS, "kind"
)
JOB_REAL_TIME = _histogram(
    "octavia_job_real_time_ratio",
    "Seconds of work for one second of media, of jobs done at the first attempt; other work at the time included.",
    _RATIO_BUCKETS,
    "kind",
)
WORKER_JOBS = _process_gauge("octavia_worker_jobs", "Jobs under way in job workers.")
LEASES_LOST = _counter("octavia_leases_lost", "Jobs that a worker lost while it worked on them.")
JOBS_GIVEN_BACK = _counter("octavia_jobs_given_back", "Jobs given back because something they stand on was away.")

STAGE = _histogram(
    "octavia_stage_seconds",
    "One call of a stage as the job worker sees it, waiting for a replica included.",
    _STAGE_BUCKETS,
    "stage",
)
STAGE_CALLS = _process_gauge("octavia_stage_calls", "Calls of a stage that wait or are worked on.", "stage")
STAGE_QUEUED = _process_gauge(
    "octavia_stage_queued_seconds", "Seconds of sound, heard or to be spoken, that wait for a model server.", "stage"
)
STAGE_MEDIA = _counter(
    "octavia_stage_media_seconds", "Seconds of sound heard (transcribe), spoken (synthesize), or made.", "stage"
)
SENTENCES_TRANSLATED = _counter("octavia_sentences_translated", "Sentences sent to translation, alternatives included.")
CHUNK_FAILURES = _counter(
    "octavia_chunk_failures", "Calls of a stage that failed, by the error's code.", "stage", "code"
)
CHUNK_RETRIES = _counter("octavia_chunk_retries", "Pieces of work begun again.", "stage")

CACHE_HITS = _counter(
    "octavia_cache_hits", "Results that no engine was asked for, since an earlier call had made them.", "stage"
)
CACHE_MISSES = _counter("octavia_cache_misses", "Results that an engine was asked for.", "stage")
CACHE_WRITTEN_BYTES = _counter("octavia_cache_written_bytes", "Bytes of results kept for later jobs.", "stage")
CACHE_EVICTED_BYTES = _counter("octavia_cache_evicted_bytes", "Bytes of results let go to make room for others.")
CACHE_FAILURES = _counter(
    "octavia_cache_failures",
    "Times that the cache did not work and jobs went on without. find, keep, evict: Postgres or the storage was away; "
    "damaged: a result was not what was written; full: more came than could be written.",
    "at",
)

LIVE_SESSIONS_STARTED = _counter("octavia_live_sessions_started", "Live sessions asked for and given.")
LIVE_SESSIONS_ENDED = _counter("octavia_live_sessions_ended", "Live sessions that ended.", "reason")
LIVE_SESSIONS_REFUSED = _counter(
    "octavia_live_sessions_refused", "Live sessions asked for that no live node could take."
)

ENGINE = _histogram(
    "octavia_engine_seconds", "One call of a model, in the replica: no waiting included.", _STAGE_BUCKETS, "stage"
)
ENGINE_BATCH = _histogram("octavia_engine_batch_calls", "Calls computed together.", _BATCH_BUCKETS, "stage")
ENGINE_FAILURES = _counter("octavia_engine_failures", "Calls at which a model broke.", "stage")

CREDITS_POSTED = _counter("octavia_credits_posted", "Credits moved in the ledger, by kind of transfer.", "kind")
WEBHOOK_ATTEMPTS = _counter("octavia_webhook_attempts", "Messages sent to addresses of users, by outcome.", "outcome")
RETENTION_FREED_BYTES = _counter("octavia_retention_freed_bytes", "Bytes freed by retention.")
RETENTION_REMOVED = _counter("octavia_retention_removed", "Jobs and uploads removed by retention.", "what")

BUILD = _state("octavia_build_info", "Always 1; the version is in the label.", "version")
DEPENDENCY_UP = _state("octavia_dependency_up", "1 when it answers, else 0.", "dependency")
PROCESSES = _state("octavia_processes", "Processes that gave a sign of life in the last 20 s.", "role")
JOBS = _state("octavia_jobs", "Jobs to process that have not ended: waiting or processing.", "kind", "status")
LIVE_SESSIONS = _state("octavia_live_sessions", "Live sessions that have not ended.", "status")
QUEUE_JOBS = _state("octavia_queue_jobs", "Jobs that wait for a worker.")
QUEUE_AGE = _state("octavia_queue_age_seconds", "How long the job that waits longest has waited; 0 when none does.")
QUEUE_LATE_LEASES = _state("octavia_queue_late_leases", "Jobs whose worker gave no sign of life in time.")
WEBHOOKS_DUE = _state("octavia_webhook_due_deliveries", "Messages to addresses of users whose time has come.")
WEBHOOKS_DUE_AGE = _state("octavia_webhook_due_age_seconds", "How long the one that is due longest has been so.")
CREDITS_HELD = _state("octavia_credits_held", "Credits set aside for jobs that have not ended.")
STORED_BYTES = _state("octavia_storage_bytes", "Bytes in use, counted at most once a minute.", "what")
STORAGE_FREE_BYTES = _state(
    "octavia_storage_free_bytes", "Bytes left on the disk of a local storage; missing for one over a network.", "disk"
)

Counts = dict[str, float]
"""Value by sample; keys come from `_key`."""

_sent: dict[tuple[str, ...], float] = {}
"""What of this process's counts is in Redis already, or on its way; by name and values of labels."""


@dataclass(frozen=True, slots=True)
class _Families:
    """What `generate_latest` takes for a registry."""

    families: list[Metric]

    def collect(self) -> Iterator[Metric]:
        return iter(self.families)


def take_changes() -> Counts:
    """What was counted in this process since this was asked last. Who cannot send it calls `give_back`."""
    changes: Counts = {}
    for sample in _samples({"counter", "histogram"}):
        series = (sample.name, *sample.labels.values())
        before = _sent.get(series)
        # A series begins at 0, empty buckets too: what grows from nothing has no rate.
        if before is None or before != sample.value:
            changes[_key(sample)] = sample.value - (before or 0.0)
            _sent[series] = sample.value
    return changes


def give_back(changes: Mapping[str, float]) -> None:
    """These were not sent; the next `take_changes` has them again."""
    for key, change in changes.items():
        name, labels = json.loads(key)
        series = (name, *labels.values())
        _sent[series] -= change
        if not _sent[series]:
            del _sent[series]


def process_gauges() -> Counts:
    """What this process has at this moment."""
    return {_key(sample): sample.value for sample in _samples({"gauge"})}


def exposition(counts: Mapping[str, float], gauges: Iterable[Mapping[str, float]]) -> bytes:
    """Prometheus's text format: counts of all processes together, gauges added up, and `STATE` as it is set.

    Samples that this version does not know are left out.
    """
    values = dict(counts)
    for some in gauges:
        for key, value in some.items():
            values[key] = values.get(key, 0.0) + value
    samples: dict[str, list[Sample]] = {}
    for key, value in values.items():
        name, labels = json.loads(key)
        samples.setdefault(name, []).append(Sample(name, labels, value))
    families = []
    for family in COUNTED.collect():
        known = [sample for suffix in _SUFFIXES[family.type] for sample in samples.get(family.name + suffix, [])]
        fresh = Metric(family.name, family.documentation, family.type)
        fresh.samples = sorted(known, key=_place)
        families.append(fresh)
    return generate_latest(_Families(families)) + generate_latest(STATE)


def catalogue() -> list[MetricInfo]:
    """Every metric there is, by name."""
    return sorted(_catalogue)


_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


def _samples(types: set[str]) -> Iterator[Sample]:
    for family in COUNTED.collect():
        if family.type in types:
            yield from (sample for sample in family.samples if not sample.name.endswith("_created"))


def _key(sample: Sample) -> str:
    return json.dumps([sample.name, sample.labels], separators=(",", ":"))


def _place(sample: Sample) -> tuple[list[tuple[str, str]], str, float]:
    """Histograms want all of one set of labels together, the buckets by size."""
    others = sorted((name, value) for name, value in sample.labels.items() if name != "le")
    return others, sample.name, float(sample.labels.get("le", 0))
