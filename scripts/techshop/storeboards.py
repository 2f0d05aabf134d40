"""The dashboards of the stores."""

from techshop.panels import APP, HERE, OURS, Json, Query, board, graph, rate, stat, table

_MONGO = f'job="mongodb", {OURS}'
_REDIS = f'job="redis", {OURS}'
_S3 = f'job="objectstorage", {OURS}'

#: Connections that MongoDB's members have open.
CONNECTIONS = f'mongodb_ss_connections{{{_MONGO}, conn_type="current"}}'

_HITS, _MISSES = (rate(f"redis_keyspace_{kind}_total", _REDIS) for kind in ("hits", "misses"))
_HIT_RATIO = f"{_HITS} / ({_HITS} + {_MISSES} > 0) or vector(0)"


def mongodb() -> Json:
    """Return what goes on in MongoDB."""
    members = f"max by (member_idx, member_state) (mongodb_rs_members_state{{{_MONGO}}})"
    lag = f"techshop:mongodb_member_lag:seconds{{{OURS}}} or vector(0)"
    head, tail = (f"mongodb_mongod_replset_oplog_{end}_timestamp{{{_MONGO}}}" for end in ("head", "tail"))
    latency = " / ".join(
        f"(rate(mongodb_ss_opLatencies_{what}{{{_MONGO}}}[$__rate_interval]){more})"
        for what, more in (("latency", " / 1e6"), ("ops", " > 0"))
    )
    cache = f"mongodb_ss_wt_cache_bytes_currently_in_the_cache{{{_MONGO}}}"
    limit = f"mongodb_ss_wt_cache_maximum_bytes_configured{{{_MONGO}}}"
    queue = f'mongodb_ss_globalLock_currentQueue{{{_MONGO}, count_type=~"readers|writers"}}'
    return board(
        "mongodb",
        "MongoDB",
        "The replica set: who is primary, who lags, and what takes long.",
        [
            (
                "Now",
                [
                    stat("Primaries", "short", Query(f"count({members} == 1) or vector(0)"), green=1),
                    stat("Members that answer", "short", Query(f"sum(max by (pod) (mongodb_up{{{_MONGO}}}))"), green=1),
                    stat("Largest lag", "s", Query(f"max({lag})"), yellow=10, red=30),
                    stat("Oplog window", "s", Query(f"min({head} - {tail})"), width=4),
                    stat("Cache", "percentunit", Query(f"max({cache} / {limit})"), yellow=0.9, red=0.97),
                    stat("Connections", "short", Query(f"sum({CONNECTIONS})"), width=4),
                    stat("Waiting operations", "short", Query(f"sum({queue})"), width=4, yellow=10, red=100),
                ],
            ),
            (
                "Replica set",
                [
                    table("Members", "short", Query(members), "member_idx", "member_state", width=8),
                    graph("Lag", "s", Query(lag, "{{ member_idx }}")),
                    graph("Oplog window", "s", Query(f"{head} - {tail}", "{{ pod }}")),
                ],
            ),
            (
                "Load",
                [
                    graph(
                        "Operations",
                        "ops",
                        Query(rate("mongodb_ss_opcounters", _MONGO, "legacy_op_type"), "{{ legacy_op_type }}"),
                    ),
                    graph("Latency of operations", "s", Query(latency, "{{ pod }} {{ op_type }}")),
                    graph(
                        "Documents",
                        "ops",
                        Query(rate("mongodb_ss_metrics_document", _MONGO, "doc_op_type"), "{{ doc_op_type }}"),
                    ),
                    graph("Connections", "short", Query(CONNECTIONS, "{{ pod }}")),
                    graph("Waiting operations", "short", Query(queue, "{{ pod }} {{ count_type }}")),
                    graph(
                        "Pools of the shop",
                        "short",
                        *(
                            Query(f"sum({metric}{{{APP}}})", legend)
                            for metric, legend in (
                                ("mongodb_pool_connections", "open"),
                                ("mongodb_pool_connections_in_use", "in use"),
                                ("mongodb_pool_waiting", "waiting"),
                            )
                        ),
                    ),
                ],
            ),
            (
                "Resources",
                [
                    graph("Cache", "bytes", Query(cache, "{{ pod }}"), Query(f"max({limit})", "limit")),
                    graph(
                        "Data",
                        "bytes",
                        Query(f"max by (database) (mongodb_dbstats_dataSize{{{_MONGO}}})", "{{ database }}"),
                    ),
                    graph(
                        "Network",
                        "Bps",
                        Query(rate("mongodb_ss_network_bytesIn", _MONGO), "in"),
                        Query(rate("mongodb_ss_network_bytesOut", _MONGO), "out"),
                    ),
                ],
            ),
        ],
    )


def redis() -> Json:
    """Return what goes on in Redis."""
    used = f"redis_memory_used_bytes{{{_REDIS}}}"
    limit = f"redis_memory_max_bytes{{{_REDIS}}}"
    spent, done = (rate(f"redis_commands{kind}_total", _REDIS, "cmd") for kind in ("_duration_seconds", ""))
    roles = f"max by (pod, role, redis_version) (redis_instance_info{{{_REDIS}}})"
    return board(
        "redis",
        "Redis",
        "The cluster of carts, sessions and cached pages.",
        [
            (
                "Now",
                [
                    stat("Nodes that answer", "short", Query(f"sum(redis_up{{{_REDIS}}})"), width=4, green=1),
                    stat("Slots", "short", Query(f"max(redis_cluster_slots_ok{{{_REDIS}}})"), width=4, green=16384),
                    stat("Memory", "percentunit", Query(f"max({used} / {limit})"), width=4, yellow=0.8, red=0.9),
                    stat("Commands", "ops", Query(rate("redis_commands_processed_total", _REDIS)), width=4),
                    stat("Hits", "percentunit", Query(_HIT_RATIO), width=4),
                    stat("Dropped", "ops", Query(rate("redis_evicted_keys_total", _REDIS)), width=4, red=0.001),
                ],
            ),
            (
                "Cluster",
                [
                    table("Nodes", "short", Query(roles), "pod", "role", "redis_version", width=8),
                    graph(
                        "Nodes that say that it is ok", "short", Query(f"sum(redis_cluster_state{{{_REDIS}}})", "nodes")
                    ),
                    graph("Replicas", "short", Query(f"redis_connected_slaves{{{_REDIS}}}", "{{ pod }}")),
                ],
            ),
            (
                "Load",
                [
                    graph("Commands", "ops", Query(done, "{{ cmd }}")),
                    graph("Time that a command takes", "s", Query(f"{spent} / ({done} > 0)", "{{ cmd }}")),
                    graph("Hits", "percentunit", Query(_HIT_RATIO, "hits")),
                    graph("Clients", "short", Query(f"redis_connected_clients{{{_REDIS}}}", "{{ pod }}")),
                    graph(
                        "Network",
                        "Bps",
                        Query(rate("redis_net_input_bytes_total", _REDIS), "in"),
                        Query(rate("redis_net_output_bytes_total", _REDIS), "out"),
                    ),
                    graph("Keys", "short", Query(f"redis_db_keys{{{_REDIS}}}", "{{ pod }} {{ db }}")),
                ],
            ),
            (
                "Memory",
                [
                    graph("Memory", "bytes", Query(used, "{{ pod }}"), Query(f"max({limit})", "limit"), width=12),
                    graph(
                        "Keys that go",
                        "ops",
                        Query(rate("redis_evicted_keys_total", _REDIS), "dropped for want of memory"),
                        Query(rate("redis_expired_keys_total", _REDIS), "expired"),
                        width=12,
                    ),
                ],
            ),
        ],
    )


def objectstorage() -> Json:
    """Return what goes on in the object storage."""
    requests = rate("SeaweedFS_s3_request_total", _S3)
    failed = "(" + rate("SeaweedFS_s3_request_total", f'{_S3}, code=~"5.."') + " or vector(0))"
    share = f"{failed} / ({requests} > 0) or vector(0)"
    slow = f"histogram_quantile(0.95, {rate('SeaweedFS_s3_request_seconds_bucket', _S3, 'le, type')})"
    volume = f'{{job="kubelet", {HERE}, persistentvolumeclaim=~"data-${{BASE}}-objectstorage-.+"}}'
    free, size = (f"kubelet_volume_stats_{kind}_bytes{volume}" for kind in ("available", "capacity"))
    return board(
        "objectstorage",
        "Object storage",
        "Pictures and backups in S3: who asks for what, and what fails.",
        [
            (
                "Now",
                [
                    stat("Pods that answer", "short", Query(f"sum(up{{{_S3}}})"), green=1),
                    stat("Requests", "reqps", Query(requests)),
                    stat("Requests that fail", "percentunit", Query(share), yellow=0.01, red=0.05),
                    stat("Volume, in use", "percentunit", Query(f"1 - min({free} / {size})"), yellow=0.8, red=0.9),
                ],
            ),
            (
                "Requests",
                [
                    graph("Requests", "reqps", Query(rate("SeaweedFS_s3_request_total", _S3, "type"), "{{ type }}")),
                    graph("Answers", "reqps", Query(rate("SeaweedFS_s3_request_total", _S3, "code"), "{{ code }}")),
                    graph("Time, 95th percentile", "s", Query(slow, "{{ type }}")),
                ],
            ),
            (
                "Buckets",
                [
                    graph(
                        "Requests", "reqps", Query(rate("SeaweedFS_s3_request_total", _S3, "bucket"), "{{ bucket }}")
                    ),
                    graph(
                        "Network",
                        "Bps",
                        *(
                            Query(rate(f"SeaweedFS_s3_bucket_traffic_{way}_bytes_total", _S3, "bucket"), legend)
                            for way, legend in (("received", "{{ bucket }} in"), ("sent", "{{ bucket }} out"))
                        ),
                    ),
                    graph("Volume", "bytes", Query(f"{size} - {free}", "in use"), Query(size, "size")),
                ],
            ),
        ],
    )
