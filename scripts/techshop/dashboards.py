"""The chart's dashboards, written into its files."""

import json

from techshop import observability
from techshop.errors import Failure
from techshop.panels import APP, HERE, OURS, Json, Query, board, graph, rate, stat, table
from techshop.storeboards import CONNECTIONS, mongodb, objectstorage, redis

_PODS = f'{HERE}, pod=~"${{BASE}}-.+"'
_SHOP = f'{APP}, route!~"/health|/ready|/metrics"'
_BACKUP = f'job="backup", {OURS}'
_NODES = f'job="node-exporter", {OURS}'
_CLAIMS = f'job="kubelet", {HERE}, persistentvolumeclaim=~".*${{BASE}}-.+"'
_CONTAINERS = f'job="kubelet", {_PODS}, container!=""'


def _quantile(quantile: float, by: str = "") -> str:
    buckets = rate("http_request_duration_seconds_bucket", _SHOP, f"le, {by}" if by else "le")
    return f"histogram_quantile({quantile}, {buckets})"


def _budget(slo: str) -> str:
    labels = f'{OURS}, slo="{slo}"'
    spent = f"techshop:slo_error_ratio:rate30d{{{labels}}} / (1 - techshop:slo_objective:ratio{{{labels}}})"
    return f"1 - {spent}"


def _burn(slo: str) -> list[Query]:
    return [
        Query(f'techshop:slo_error_ratio:rate{window}{{{OURS}, slo="{slo}"}}', window)
        for window in ("5m", "1h", "6h", "3d")
    ]


_REQUESTS = rate("http_requests_total", _SHOP)
_FAILED = "(" + rate("http_requests_total", f'{_SHOP}, status=~"5.."') + " or vector(0))"
_FIRING = f'ALERTS{{{OURS}, alertstate="firing"}}'


def overview() -> Json:
    """Return what someone looks at first: whether the shop sells, and if not, what it is that fails."""
    ready = f'sum(kube_pod_status_ready{{{HERE}, pod=~"${{BASE}}-app-.+", condition="true"}})'
    alerts = f'count(ALERTS{{{OURS}, alertstate="firing", severity=~"critical|warning"}}) or vector(0)'
    up = f"min by (job) (up{{{OURS}}})"
    return board(
        "overview",
        "Overview",
        "Whether the shop sells, and if not, what it is that fails.",
        [
            (
                "Now",
                [
                    stat("Request rate", "reqps", Query(_REQUESTS)),
                    stat("Failed requests", "percentunit", Query(f"{_FAILED} / {_REQUESTS}"), yellow=0.001, red=0.01),
                    stat("Latency, 95th percentile", "s", Query(_quantile(0.95)), yellow=0.2, red=0.3),
                    stat("Database connections", "short", Query(f"sum({CONNECTIONS})")),
                    stat("Budget for failures", "percentunit", Query(_budget("availability")), yellow=0.1, green=0.5),
                    stat("Budget for slowness", "percentunit", Query(_budget("latency")), yellow=0.1, green=0.5),
                    stat("Pods of the shop", "short", Query(ready), green=1),
                    stat("Alerts", "short", Query(alerts), red=1),
                ],
            ),
            (
                "Golden signals",
                [
                    graph("Request rate", "reqps", Query(rate("http_requests_total", _SHOP, "route"), "{{ route }}")),
                    graph("5xx rate", "reqps", Query(_FAILED, "failed")),
                    graph(
                        "Latency",
                        "s",
                        *(Query(_quantile(q), f"{q * 100:.0f} %") for q in (0.5, 0.95, 0.99)),
                    ),
                    graph("Latency by route, 95th percentile", "s", Query(_quantile(0.95, "route"), "{{ route }}")),
                    graph(
                        "CPU of the shop", "short", Query(rate("process_cpu_seconds_total", APP, "pod"), "{{ pod }}")
                    ),
                    graph(
                        "Event loop lag, 99th percentile",
                        "s",
                        Query(f"nodejs_eventloop_lag_p99_seconds{{{APP}}}", "{{ pod }}"),
                        about="How long what comes waits in a pod before anything is done about it.",
                    ),
                ],
            ),
            (
                "Service levels",
                [
                    graph("Requests that fail, of which 0.1 % may", "percentunit", *_burn("availability"), width=12),
                    graph("Requests that are slow, of which 5 % may", "percentunit", *_burn("latency"), width=12),
                ],
            ),
            (
                "What it stands on",
                [
                    graph(
                        "Stores that pods reach", "short", Query(f"sum by (store) (store_up{{{APP}}})", "{{ store }}")
                    ),
                    graph("Database connections", "short", Query(CONNECTIONS, "{{ pod }}")),
                    graph("Targets that can be scraped", "short", Query(up, "{{ job }}")),
                    table("Alerts", "short", Query(_FIRING), "alertname", "severity", "pod", width=24),
                ],
            ),
        ],
    )


def backups() -> Json:
    """Return how the backups are."""

    def newest(metric: str) -> str:
        return f"max(techshop_backup_{metric}{{{_BACKUP}}})"

    def age(metric: str) -> str:
        return f"time() - {newest(metric)}"

    hour = 3600
    return board(
        "backups",
        "Backups",
        "Whether there is a backup of last night, and whether it can be restored.",
        [
            (
                "Now",
                [
                    stat(
                        "Age of the newest",
                        "s",
                        Query(age("last_success_timestamp_seconds")),
                        width=4,
                        yellow=25 * hour,
                        red=26 * hour,
                    ),
                    stat(
                        "Since the last proof",
                        "s",
                        Query(age("last_verified_timestamp_seconds")),
                        width=4,
                        yellow=26 * hour,
                        red=50 * hour,
                    ),
                    stat("Size", "bytes", Query(newest("last_size_bytes")), width=4),
                    stat("Took", "s", Query(newest("last_duration_seconds")), width=4),
                    stat("Backups", "short", Query(newest("count")), width=4, green=1),
                    stat("Bucket in reach", "bool_yes_no", Query(newest("store_up")), width=4, green=1),
                ],
            ),
            (
                "Over time",
                [
                    graph(
                        "Age",
                        "s",
                        Query(age("last_success_timestamp_seconds"), "newest"),
                        Query(age("last_verified_timestamp_seconds"), "newest that was proven"),
                    ),
                    graph("Size", "bytes", Query(newest("last_size_bytes"), "size")),
                    graph("Duration", "s", Query(newest("last_duration_seconds"), "duration")),
                    graph("Backups in the bucket", "short", Query(newest("count"), "backups")),
                    graph("Since the bucket was looked at", "s", Query(age("checked_timestamp_seconds"), "age")),
                    table(
                        "Schedules",
                        "short",
                        Query(f'kube_cronjob_info{{{HERE}, cronjob=~"${{BASE}}-(backup|restore).*"}}'),
                        "cronjob",
                        "schedule",
                        width=8,
                    ),
                ],
            ),
        ],
    )


def kubernetes() -> Json:
    """Return what the release takes of the cluster, and what it gets."""

    def share(kind: str, resource: str) -> str:
        return f'sum by (pod) (kube_pod_container_resource_{kind}{{{_PODS}, resource="{resource}"}})'

    cpu = rate("container_cpu_usage_seconds_total", _CONTAINERS, "pod")
    memory = f"sum by (pod) (container_memory_working_set_bytes{{{_CONTAINERS}}})"
    throttled, periods = (
        rate(f"container_cpu_cfs_{kind}_total", _CONTAINERS, "pod") for kind in ("throttled_periods", "periods")
    )
    free, size = (f"kubelet_volume_stats_{kind}_bytes{{{_CLAIMS}}}" for kind in ("available", "capacity"))
    restarts = f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{_PODS}}}[$__range]))"
    phases = f"sum by (phase) (kube_pod_status_phase{{{_PODS}}})"
    scalers = f'{HERE}, horizontalpodautoscaler=~"${{BASE}}-.+"'
    idle = f'rate(node_cpu_seconds_total{{{_NODES}, mode="idle"}}[$__rate_interval])'
    network = f'job="kubelet", {_PODS}'
    return board(
        "kubernetes",
        "Kubernetes",
        "What the release takes of the cluster, and what it gets.",
        [
            (
                "Pods",
                [
                    graph("Pods", "short", Query(phases, "{{ phase }}"), stacked=True),
                    table("Restarts", "short", Query(restarts), "pod", width=8),
                    graph(
                        "Autoscaler",
                        "short",
                        *(
                            Query(f"kube_horizontalpodautoscaler_{what}_replicas{{{scalers}}}", legend)
                            for what, legend in (
                                ("status_current", "{{ horizontalpodautoscaler }}"),
                                ("spec_max", "maximum"),
                                ("spec_min", "minimum"),
                            )
                        ),
                    ),
                ],
            ),
            (
                "CPU and memory",
                [
                    graph("CPU", "short", Query(cpu, "{{ pod }}"), stacked=True),
                    graph("CPU, of the limit", "percentunit", Query(f"{cpu} / {share('limits', 'cpu')}", "{{ pod }}")),
                    graph(
                        "CPU, of what was asked for",
                        "percentunit",
                        Query(f"{cpu} / {share('requests', 'cpu')}", "{{ pod }}"),
                    ),
                    graph("Memory", "bytes", Query(memory, "{{ pod }}"), stacked=True),
                    graph(
                        "Memory, of the limit",
                        "percentunit",
                        Query(f"{memory} / {share('limits', 'memory')}", "{{ pod }}"),
                    ),
                    graph(
                        "Time in which the limit stopped a pod",
                        "percentunit",
                        Query(f"{throttled} / ({periods} > 0)", "{{ pod }}"),
                    ),
                ],
            ),
            (
                "Volumes and network",
                [
                    graph(
                        "Volumes, in use", "percentunit", Query(f"1 - {free} / {size}", "{{ persistentvolumeclaim }}")
                    ),
                    graph(
                        "Received",
                        "Bps",
                        Query(rate("container_network_receive_bytes_total", network, "pod"), "{{ pod }}"),
                    ),
                    graph(
                        "Sent",
                        "Bps",
                        Query(rate("container_network_transmit_bytes_total", network, "pod"), "{{ pod }}"),
                    ),
                ],
            ),
            (
                "Nodes",
                [
                    graph("CPU", "percentunit", Query(f"1 - avg by (node) ({idle})", "{{ node }}"), width=12),
                    graph(
                        "Memory",
                        "percentunit",
                        Query(
                            f"1 - node_memory_MemAvailable_bytes{{{_NODES}}} / node_memory_MemTotal_bytes{{{_NODES}}}",
                            "{{ node }}",
                        ),
                        width=12,
                    ),
                ],
            ),
            (
                "Monitoring",
                [
                    graph(
                        "Series of each part",
                        "short",
                        Query(f"sum by (job) (scrape_samples_post_metric_relabeling{{{OURS}}})", "{{ job }}"),
                        stacked=True,
                    ),
                    graph(
                        "Time of a scrape",
                        "s",
                        Query(f"max by (job) (scrape_duration_seconds{{{OURS}}})", "{{ job }}"),
                    ),
                    graph("Targets", "short", Query(f"sum by (job) (up{{{OURS}}})", "{{ job }}"), stacked=True),
                ],
            ),
        ],
    )


def write(*, check: bool = False) -> None:
    """Write the dashboards, or with ``check`` only compare.

    Raises:
        Failure: with ``check``, a file is not what this makes.
    """
    for made in (overview(), mongodb(), redis(), objectstorage(), backups(), kubernetes()):
        path = observability.FILES / "dashboards" / f"{made['uid'].removeprefix('techshop-${ID}-')}.json"
        text = json.dumps(made, indent=2) + "\n"
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            raise Failure(f"{path.name} is not what dashboards.py makes", "Run: .venv/bin/techshop docs")
