"""What is measured while rescored serves: Prometheus' figures, traces, and reports of bugs.

`observed` wraps the work of a job, `stage` takes in what the pipeline tells, `Requests` times a server's
answers, `exposition` is what `/metrics` shows. The environment switches the rest on:
`SENTRY_DSN`                   where bugs are reported (Sentry, GlitchTip ...): kinds and places, no content
`OTEL_EXPORTER_OTLP_ENDPOINT`  where traces go; needs `pip install rescored[traces]`
`RESCORED_METRICS_TOKEN`       a bearer token that `/metrics` then asks for
`RESCORED_METRICS_PORT`        where a worker, which serves no page, shows its figures
`PROMETHEUS_MULTIPROC_DIR`     a folder in which the processes of one worker add theirs up
"""

from __future__ import annotations

import hmac
import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

import prometheus_client as prometheus
import structlog
from prometheus_client.core import GaugeMetricFamily

from .. import models
from ..errors import Cancelled, InputError, LimitReached, LinkError, RescoredError, SettingsError
from ..stage import Event
from . import logs

if TYPE_CHECKING:
    from .history import History, Order
    from .jobs import Desk

log = structlog.get_logger(__name__)

if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(parents=True, exist_ok=True)  # before the first figure is made

REGISTRY = prometheus.CollectorRegistry()
_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800)
REQUESTS = prometheus.Counter(
    "rescored_requests", "Answers of the server", ["method", "route", "status"], registry=REGISTRY)
REQUEST_S = prometheus.Histogram(
    "rescored_request_seconds", "Until an answer begins", ["route"], registry=REGISTRY,
    buckets=(0.005, 0.02, 0.05, 0.1, 0.3, 1, 3, 10))
LIMITED = prometheus.Counter("rescored_limited", "Jobs that a limit refused", registry=REGISTRY)
JOBS = prometheus.Counter(
    "rescored_jobs", "Jobs that ended: done, cancelled, refused (the input's fault), failed (ours)", ["outcome"],
    registry=REGISTRY)
JOB_S = prometheus.Histogram(
    "rescored_job_seconds", "Work of a job from its begin to its end", ["outcome"], registry=REGISTRY, buckets=_SECONDS)
STAGE_S = prometheus.Histogram(
    "rescored_stage_seconds", "Work of a stage; cached = its result was in the store", ["stage", "cached"],
    registry=REGISTRY, buckets=_SECONDS)
GPU_S = prometheus.Counter(
    "rescored_gpu_seconds", "Seconds for which a GPU worked for stages: what jobs cost", ["stage"], registry=REGISTRY)
LOADS = prometheus.Counter("rescored_model_loads", "Models brought into memory", ["model"], registry=REGISTRY)
LOAD_S = prometheus.Counter("rescored_model_load_seconds", "Time that it took", ["model"], registry=REGISTRY)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_THEIR_FAULT = (InputError, SettingsError, LinkError, LimitReached)

_gpu_s: ContextVar[float] = ContextVar("gpu_s", default=0.0)  # of the present job


def set_up() -> None:
    """Begin to log, report and trace; once, at a process's start."""
    logs.set_up()
    if _loaded not in models.on_load:
        models.on_load.append(_loaded)
    if os.environ.get("SENTRY_DSN"):
        import sentry_sdk

        sentry_sdk.init(
            dsn=os.environ["SENTRY_DSN"], send_default_pii=False, include_local_variables=False,
            max_request_body_size="never", max_breadcrumbs=0, before_send=_without_content)
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        _trace()


# ---------------------------------------------------------------- jobs and stages


def observed(work: Callable[[Desk], None]) -> Callable[[Desk], None]:
    """The same work, counted, timed, logged and traced."""

    @wraps(work)
    def run(desk: Desk) -> None:
        began, outcome = time.perf_counter(), "failed"
        begin_job(desk.order)
        try:
            with _span("job", **structlog.contextvars.get_contextvars()):
                work(desk)
            outcome = "done"
        except Cancelled:
            outcome = "cancelled"
            raise
        except RescoredError as error:
            outcome = outcome_of(error)
            raise
        finally:
            end_job(outcome, time.perf_counter() - began)

    return run


def outcome_of(error: RescoredError) -> str:
    """What a job that ended so is counted as."""
    return "refused" if isinstance(error, _THEIR_FAULT) else "failed"


def begin_job(order: Order) -> None:
    """What this thread does and logs from now on is the order's."""
    logs.begin(order.title, order.source, job=order.job, owner=logs.hashed(order.owner))
    _gpu_s.set(0.0)
    models.counted_gpu_s()  # what a job left that was cut short
    log.info("job begins")


def end_job(outcome: str, seconds: float) -> None:
    """Count a job that ended; a bug is logged by who catches it."""
    JOBS.labels(outcome).inc()
    JOB_S.labels(outcome).observe(seconds)
    log.info("job ends", outcome=outcome, seconds=round(seconds, 3), gpu_s=round(_gpu_s.get(), 3))


def stage(event: Event) -> None:
    """Count what a stage did, once it is done."""
    if event.state != "done":
        return
    name = event.stage.partition(":")[0]
    STAGE_S.labels(name, str(event.cached).lower()).observe(event.seconds)
    if gpu_s := models.counted_gpu_s():
        GPU_S.labels(name).inc(gpu_s)
        _gpu_s.set(_gpu_s.get() + gpu_s)
    log.info("stage done", stage=event.stage, seconds=round(event.seconds, 3), cached=event.cached)
    _span_of(event)


def _loaded(model: str, seconds: float) -> None:
    LOADS.labels(model).inc()
    LOAD_S.labels(model).inc(seconds)
    log.info("model loaded", model=model, seconds=round(seconds, 3))


# ---------------------------------------------------------------- what /metrics shows


class Standing:
    """Gauges that are read when they are asked for: the queue, the GPUs, the store.

    `store_bytes` is asked at most once in `STORE_EVERY_S`: it may have to look at every file. `demand`: how many jobs
    are there for the workers of each queue.
    """

    STORE_EVERY_S = 60.0

    def __init__(self, history: History, store_bytes: Callable[[], int],
                 demand: Callable[[], dict[str, int]] = dict):
        self._history, self._store_bytes, self._demand = history, store_bytes, demand
        self._bytes, self._looked_at = 0, float("-inf")

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """For Prometheus' registry."""
        queue = GaugeMetricFamily("rescored_queue_jobs", "Jobs that are not finished", labels=["state"])
        for state, count in self._history.standing().items():
            queue.add_metric([state], count)
        yield queue
        demand = GaugeMetricFamily(
            "rescored_queue_demand", "Jobs that wait for workers of a queue or are with one", labels=["queue"])
        for name, count in self._demand().items():
            demand.add_metric([name], count)
        yield demand
        if time.monotonic() - self._looked_at > self.STORE_EVERY_S:
            self._bytes, self._looked_at = self._store_bytes(), time.monotonic()
        yield GaugeMetricFamily("rescored_store_bytes", "Size of the store on this machine", value=self._bytes)


class Gpus:
    """Gauges of this machine's GPUs, from their driver; none where there is none."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """For Prometheus' registry."""
        memory = GaugeMetricFamily("rescored_gpu_memory_bytes", "Memory of a GPU", labels=["gpu", "kind"])
        use = GaugeMetricFamily("rescored_gpu_use_ratio", "Share of time in which a GPU works", labels=["gpu"])
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return
        for index in range(pynvml.nvmlDeviceGetCount()):
            gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
            held = pynvml.nvmlDeviceGetMemoryInfo(gpu)
            memory.add_metric([str(index), "used"], float(held.used))
            memory.add_metric([str(index), "total"], float(held.total))
            use.add_metric([str(index)], pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100)
        yield memory
        yield use


def exposition(*collectors: Any) -> bytes:
    """All figures in Prometheus' text format; with those of sibling processes where they share a folder."""
    registry = prometheus.CollectorRegistry()
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client.multiprocess import MultiProcessCollector

        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    for collector in (Gpus(), *collectors):
        registry.register(collector)
    return prometheus.generate_latest(registry)


def bytes_in(folder: Path) -> int:
    """Size of all files in a folder; a file with two names counts once."""
    seen: dict[int, int] = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            stat = path.lstat()
            if S_ISREG(stat.st_mode):
                seen[stat.st_ino] = stat.st_size
    return sum(seen.values())


def may_scrape(authorization: str) -> bool:
    """Whether this header opens `/metrics`."""
    token = os.environ.get("RESCORED_METRICS_TOKEN", "")
    return not token or hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode())


def serve_worker() -> None:
    """Show a worker's figures, and that it lives, on `RESCORED_METRICS_PORT`, if that is set."""
    port = os.environ.get("RESCORED_METRICS_PORT")
    if not port:
        return
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            scraped = self.path == "/metrics" and may_scrape(self.headers.get("Authorization", ""))
            self.send_response(200 if scraped or self.path == "/healthz" else 403)
            self.send_header("Content-Type", prometheus.CONTENT_TYPE_LATEST)
            self.end_headers()
            self.wfile.write(exposition() if scraped else b"")

        def log_message(self, format: str, *args: Any) -> None:
            """Scrapes are not news."""

    server = ThreadingHTTPServer(("0.0.0.0", int(port)), Answer)
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()


# ---------------------------------------------------------------- requests


class Requests:
    """ASGI middleware that counts answers and times them until they begin (streams never end)."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                REQUEST_S.labels(_route(scope)).observe(time.perf_counter() - began)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"  # anybody may send any word
            REQUESTS.labels(method, _route(scope), str(status)).inc()


def _route(scope: Any) -> str:
    """The route's pattern: never the path itself, which holds job ids and would make figures without end."""
    return str(getattr(scope.get("route"), "path", "other")) or "/"


# ---------------------------------------------------------------- bugs and traces


def _without_content(event: Any, hint: Any) -> Any:
    """A Sentry event with kinds and places only: words may quote a title, a link or a path."""
    for error in event.get("exception", {}).get("values", []):
        error["value"] = ""
    for name in ("extra", "request", "server_name", "message", "logentry", "user"):
        event.pop(name, None)
    event["tags"] = structlog.contextvars.get_contextvars()
    return event


_tracer: Any = None


def _trace() -> None:
    global _tracer
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logging.getLogger(__name__).warning("no traces: pip install 'rescored[traces]'")
        return
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("rescored")


def _span(name: str, **attributes: str) -> Any:
    return _tracer.start_as_current_span(name, attributes=attributes, record_exception=False,
                                         set_status_on_exception=False) if _tracer else nullcontext()


def _span_of(event: Event) -> None:
    """A finished stage as a span of the present job."""
    if _tracer:
        end_ns = time.time_ns()
        _tracer.start_span(
            event.stage, start_time=end_ns - int(event.seconds * 1e9),
            attributes={"cached": event.cached, **structlog.contextvars.get_contextvars()},
        ).end(end_ns)
