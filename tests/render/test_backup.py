"""The jobs that back up, verify and restore: when they run, with what, and what is refused."""

from typing import Any

import pytest
from conftest import Object, by_name, objects, one

JOBS = {"backup": "dump", "backup-verify": "verify", "restore": "restore"}
ALL_JOBS = [*JOBS, "backup-redis"]
OUTSIDE = {
    "objectstorage.external": {"enabled": True, "endpoint": "https://s3.example.com"},
    "global.secrets.existing.objectstorage": "s3-login",
}


def cron(name: str, **values: Any) -> Object:
    """Return a schedule's spec (``__`` stands for a dot)."""
    rendered = objects(values={key.replace("__", "."): value for key, value in values.items()})
    return next(
        item["spec"] for item in rendered if (item["kind"], item["metadata"]["name"]) == ("CronJob", f"techshop-{name}")
    )


def pod(name: str, **values: Any) -> Object:
    return cron(name, **values)["jobTemplate"]["spec"]["template"]["spec"]


def env(name: str, **values: Any) -> dict[str, Any]:
    (container,) = pod(name, **values)["containers"]
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}


def test_a_backup_and_its_trial_run_each_night_and_a_restore_never_by_itself() -> None:
    specs = {name: cron(name) for name in ALL_JOBS}
    assert {name: spec["schedule"] for name, spec in specs.items() if not spec.get("suspend")} == {
        "backup": "0 2 * * *",
        "backup-redis": "0 2 * * *",
        "backup-verify": "0 4 * * *",
    }
    for spec in specs.values():
        assert spec["timeZone"] == "Etc/UTC"
        assert spec["concurrencyPolicy"] == "Forbid"
        assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 14400


@pytest.mark.parametrize("name", JOBS)
def test_jobs_run_the_mongodb_that_serves(name: str) -> None:
    (container,) = pod(name, mongodb__image__tag="7.0.9")["containers"]
    assert container["image"] == "docker.io/library/mongo:7.0.9"
    assert container["command"] == ["bash", f"/scripts/{JOBS[name]}.sh"]


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("backup", ["backup-password"]),
        ("backup-verify", None),
        ("restore", ["keyfile", "root-password", "app-password", "backup-password", "exporter-password"]),
    ],
)
def test_a_job_sees_the_passwords_that_it_needs(name: str, keys: list[str] | None) -> None:
    secrets = [volume["secret"] for volume in pod(name)["volumes"] if "secret" in volume]
    assert [[item["key"] for item in secret["items"]] for secret in secrets] == ([keys] if keys else [])


def test_snapshots_run_the_redis_that_serves_and_see_its_password_only() -> None:
    spec = pod("backup-redis", redis__image__tag="8.2.1", redis__resources__limits__memory="1Gi")
    (container,) = spec["containers"]
    assert (container["image"], container["command"]) == (
        "docker.io/library/redis:8.2.1",
        ["bash", "/scripts/redis.sh"],
    )
    assert [volume["secret"] for volume in spec["volumes"] if "secret" in volume] == [
        {
            "secretName": "techshop-redis",
            "defaultMode": 0o440,
            "items": [{"key": "admin-password", "path": "admin-password"}],
        }
    ]
    assert {"name": "data", "emptyDir": {"sizeLimit": "1Gi"}} in spec["volumes"]
    assert env("backup-redis")["REDIS"] == "techshop-redis.shop.svc.cluster.local"
    assert "MONGODB" not in env("backup-redis")


@pytest.mark.parametrize(
    "values",
    [
        {"backup.redis.enabled": False},
        {"redis.enabled": False, "app.redis.url": "redis://r", "global.secrets.existing.redis": "r"},
    ],
)
def test_without_snapshots_nobody_of_the_backup_reaches_redis(values: dict[str, Any]) -> None:
    rendered = objects(values=values)
    assert ("CronJob", "techshop-backup-redis") not in by_name(rendered)
    policy = by_name(rendered)["NetworkPolicy", "techshop-backup"]["spec"]
    assert [rule["ports"][0]["port"] for rule in policy["egress"]] == [27017, 8333]


def test_the_reason_of_a_failure_is_kept_with_the_pod() -> None:
    for name in ALL_JOBS:
        (container,) = pod(name)["containers"]
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_retention_reaches_the_job_as_whole_numbers() -> None:
    found = env("backup", backup__retention={"keepDays": 1000000, "keepLast": 1, "keepWeekly": 0, "keepMonthly": 12})
    assert [found[f"KEEP_{unit}"] for unit in ("DAYS", "LAST", "WEEKLY", "MONTHLY")] == ["1000000", "1", "0", "12"]


@pytest.mark.parametrize("name", JOBS)
def test_the_bucket_is_found_wherever_it_is(name: str) -> None:
    for values in ({}, OUTSIDE):
        found = env(name, **values)
        assert found["S3_ENDPOINT"]["configMapKeyRef"] == {"name": "techshop-objectstorage", "key": "endpoint"}
        secret = values.get("global.secrets.existing.objectstorage", "techshop-objectstorage")
        assert found["S3_SECRET_KEY"]["secretKeyRef"] == {"name": secret, "key": "backups-secret-key"}
        assert found["RCLONE_CONFIG_S3_SECRET_ACCESS_KEY"] == "$(S3_SECRET_KEY)"
        assert (found["RCLONE_CONFIG_BACKUP_TYPE"], found["RCLONE_CONFIG_BACKUP_REMOTE"]) == (
            "alias",
            "s3:$(S3_BUCKET)",
        )


BY_IDENTITY = {
    "objectstorage.external": {"enabled": True, "endpoint": "https://s3.example.com", "identity": "serviceAccount"}
}


def test_with_an_identity_nothing_asks_for_keys() -> None:
    for values in ({}, OUTSIDE, BY_IDENTITY):
        keys = values is not BY_IDENTITY
        rendered = objects(values=values)
        metrics = by_name(rendered)["Deployment", "techshop-backup-metrics"]["spec"]["template"]["spec"]["containers"][
            0
        ]
        jobs = [item["spec"]["jobTemplate"]["spec"] for item in rendered if item["kind"] == "CronJob"]
        for container in [metrics, *(job["template"]["spec"]["containers"][0] for job in jobs)]:
            found = {item["name"] for item in container["env"]}
            assert ("S3_ACCESS_KEY" in found, "RCLONE_CONFIG_S3_ACCESS_KEY_ID" in found) == (keys, keys)
            assert ("RCLONE_CONFIG_S3_ENV_AUTH" in found) != keys
        names = [item["metadata"]["name"] for item in rendered if item["kind"] == "Secret"]
        assert ("techshop-objectstorage" in names) == (values == {})


def test_the_cloud_knows_the_pods_by_the_annotations_of_their_service_account() -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/backup"}
    rendered = by_name(objects(values=BY_IDENTITY | {"backup.serviceAccount.annotations": role}))
    assert rendered["ServiceAccount", "techshop-backup"]["metadata"]["annotations"] == role
    assert "annotations" not in rendered["ServiceAccount", "techshop-app"]["metadata"]
    account = rendered["Deployment", "techshop-backup-metrics"]["spec"]["template"]["spec"]["serviceAccountName"]
    assert account == pod("backup", **{"objectstorage__external__enabled": False})["serviceAccountName"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"type": "none"}, {}),
        ({"type": "AES256"}, {"SERVER_SIDE_ENCRYPTION": "AES256"}),
        ({"type": "aws:kms"}, {"SERVER_SIDE_ENCRYPTION": "aws:kms"}),
        (
            {"type": "aws:kms", "kmsKeyId": "arn:aws:kms:eu-1:123:key/1-2"},
            {"SERVER_SIDE_ENCRYPTION": "aws:kms", "SSE_KMS_KEY_ID": "arn:aws:kms:eu-1:123:key/1-2"},
        ),
    ],
)
def test_uploads_ask_the_storage_to_encrypt(given: dict[str, str], wanted: dict[str, str]) -> None:
    found = env("backup", **OUTSIDE, backup__serverSideEncryption=given)
    about = {key.removeprefix("RCLONE_CONFIG_S3_"): value for key, value in found.items() if "_S3_S" in key}
    about.pop("SECRET_ACCESS_KEY")
    assert about == wanted


def test_encryption_keeps_the_names_that_retention_reads() -> None:
    found = env("backup", backup__encryption__existingSecret="mine")
    assert found["RCLONE_CONFIG_BACKUP_TYPE"] == "crypt"
    assert found["RCLONE_CONFIG_BACKUP_FILENAME_ENCRYPTION"] == "off"
    secret = {"secretName": "mine", "defaultMode": 0o440, "items": [{"key": "password", "path": "password"}]}
    assert secret in [
        volume.get("secret") for volume in pod("backup", backup__encryption__existingSecret="mine")["volumes"]
    ]


def test_each_job_finds_the_encryption_password_where_its_script_looks() -> None:
    for name in ALL_JOBS:
        (container,) = pod(name, backup__encryption__existingSecret="mine")["containers"]
        assert {"name": "encryption", "mountPath": "/encryption"} in container["volumeMounts"]


def test_a_trial_has_room_for_the_data_and_the_others_need_none() -> None:
    sizes = {name: [v["emptyDir"]["sizeLimit"] for v in pod(name)["volumes"] if v["name"] == "data"] for name in JOBS}
    assert sizes == {"backup": [], "backup-verify": ["20Gi"], "restore": []}


def test_the_longest_release_leaves_room_in_a_schedules_name() -> None:
    crons = [item for item in objects(release="r" * 53) if item["kind"] == "CronJob"]
    assert max(len(item["metadata"]["name"]) for item in crons) <= 52


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"objectstorage.enabled": False}, "backup.enabled: objectstorage.enabled is false"),
        (
            {"mongodb.enabled": False, "app.mongodb.uri": "mongodb://db", "global.secrets.existing.mongodb": "m"},
            "backup.enabled: mongodb.enabled is false",
        ),
        ({"backup.enabled": False, "backup.pitr.enabled": True}, "backup.pitr.enabled: backup.enabled is false"),
        ({"backup.pitr.intervalSeconds": 301}, "intervalSeconds"),
        ({"backup.schedule": "at night"}, "schedule"),
        ({"backup.retention.keepLast": 0}, "keepLast"),
        ({"backup.verification.size": "large"}, "size"),
        (
            {"backup.serverSideEncryption.type": "AES256"},
            "backup.serverSideEncryption.type: the object storage of this release has no key",
        ),
        (
            OUTSIDE | {"backup.serverSideEncryption": {"type": "AES256", "kmsKeyId": "k"}},
            "backup.serverSideEncryption.kmsKeyId: a key of a key management service goes with the type aws:kms only",
        ),
    ],
)
def test_what_can_not_be_backed_up_is_refused(refused, values: dict[str, Any], said: str) -> None:
    assert said in refused(values=values)


def test_backups_go_only_to_the_stores_and_the_bucket() -> None:
    policy = one([i for i in objects() if i["kind"] == "NetworkPolicy"], "NetworkPolicy", "-backup")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert [rule["ports"] for rule in policy["egress"]] == [
        [{"protocol": "TCP", "port": port}] for port in (27017, 6379, 8333)
    ]


def test_metrics_come_from_a_pod_that_is_always_there_and_sees_no_database() -> None:
    rendered = objects()
    deployment = by_name(rendered)["Deployment", "techshop-backup-metrics"]["spec"]
    spec = deployment["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == "docker.io/rclone/rclone:1.75.2"
    assert container["command"] == ["sh", "/scripts/metrics.sh"]
    assert container["ports"] == [{"name": "metrics", "containerPort": 9090}]
    assert container["readinessProbe"]["httpGet"] == {"path": "/metrics", "port": "metrics"}
    assert deployment["replicas"] == 1
    assert not [volume for volume in spec["volumes"] if "secret" in volume]
    assert "MONGODB" not in [item["name"] for item in container["env"]]
    jobs = {item["name"] for item in pod("backup")["containers"][0]["env"]}
    assert {item["name"] for item in container["env"]} < jobs


def test_no_job_is_taken_for_a_pod_of_the_metrics() -> None:
    labels = {
        name: spec["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        for (kind, name), spec in by_name(objects()).items()
        if kind == "CronJob"
    }
    assert set(labels.values()) == {"backup"}
    selector = by_name(objects())["Deployment", "techshop-backup-metrics"]["spec"]["selector"]["matchLabels"]
    assert selector["app.kubernetes.io/component"] == "backup-metrics"


def test_metrics_can_be_left_out() -> None:
    rendered = objects(values={"backup.metrics.enabled": False})
    assert not [name for name in by_name(rendered) if name[1] == "techshop-backup-metrics"]


def test_metrics_read_the_encrypted_manifests() -> None:
    rendered = objects(values={"backup.encryption.existingSecret": "mine"})
    spec = by_name(rendered)["Deployment", "techshop-backup-metrics"]["spec"]["template"]["spec"]
    assert "mine" in [volume.get("secret", {}).get("secretName") for volume in spec["volumes"]]
    assert {"name": "encryption", "mountPath": "/encryption"} in spec["containers"][0]["volumeMounts"]


def test_metrics_follow_the_bucket() -> None:
    def checksum(values: dict[str, Any]) -> str:
        template = by_name(objects(values=values))["Deployment", "techshop-backup-metrics"]["spec"]["template"]
        found: str = template["metadata"]["annotations"]["checksum/config"]
        return found

    assert checksum({}) != checksum(OUTSIDE)


def test_only_scrapers_reach_the_metrics_which_reach_only_the_bucket() -> None:
    scraper = {"namespaceSelector": {"matchLabels": {"team": "metrics"}}}
    for scrapers in ([], [scraper]):
        rendered = objects(values={"networkPolicy.scrapers": scrapers})
        ours = {"podSelector": one(rendered, "StatefulSet", "-prometheus")["spec"]["selector"]}
        policy = by_name(rendered)["NetworkPolicy", "techshop-backup-metrics"]["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert policy["ingress"] == [{"from": [ours, *scrapers], "ports": [{"protocol": "TCP", "port": 9090}]}]
        assert [rule["ports"] for rule in policy["egress"]] == [[{"protocol": "TCP", "port": 8333}]]


def test_snapshots_of_volumes_ask_the_api_and_nothing_else() -> None:
    values = {"backup.volumeSnapshots": {"enabled": True, "className": "csi"}, "backup.deadlineSeconds": 600}
    rendered = by_name(objects(values=values))
    (container,) = rendered["CronJob", "techshop-backup-snapshots"]["spec"]["jobTemplate"]["spec"]["template"]["spec"][
        "containers"
    ]
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    assert (env["CLASS"], env["KEEP_LAST"], env["PATIENCE"]) == ("csi", "7", "570")
    assert rendered["Role", "techshop-backup-snapshots"]["rules"] == [
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["list"]},
        {
            "apiGroups": ["snapshot.storage.k8s.io"],
            "resources": ["volumesnapshots"],
            "verbs": ["create", "delete", "list"],
        },
    ]
    policy = rendered["NetworkPolicy", "techshop-backup-snapshots"]["spec"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [[443, 6443]]
    assert "ingress" not in policy
    assert "annotations" not in rendered["ServiceAccount", "techshop-backup-snapshots"]["metadata"]


PITR = {"backup.pitr.enabled": True}


def test_the_oplog_is_stored_by_one_pod_with_the_password_of_the_backup_only() -> None:
    rendered = by_name(objects(values=PITR | {"backup.pitr.intervalSeconds": 100, "mongodb.image.tag": "7.0.9"}))
    deployment = rendered["Deployment", "techshop-backup-oplog"]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    spec = deployment["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == "docker.io/library/mongo:7.0.9"
    assert container["command"] == ["bash", "/scripts/oplog.sh"]
    assert {"name": "INTERVAL", "value": "100"} in container["env"]
    assert [volume["secret"]["items"] for volume in spec["volumes"] if "secret" in volume] == [
        [{"key": "backup-password", "path": "backup-password"}]
    ]
    assert "restartPolicy" not in spec
    metrics = rendered["Deployment", "techshop-backup-metrics"]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "INTERVAL", "value": "100"} in metrics["env"]


def test_the_oplog_goes_from_mongodb_to_the_bucket_and_nobody_comes_in() -> None:
    rendered = by_name(objects(values=PITR))
    policy = rendered["NetworkPolicy", "techshop-backup-oplog"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert [rule["ports"][0]["port"] for rule in policy["egress"]] == [27017, 8333]
    for store in ("mongodb", "objectstorage"):
        peers = [
            peer for rule in rendered["NetworkPolicy", f"techshop-{store}"]["spec"]["ingress"] for peer in rule["from"]
        ]
        assert policy["podSelector"] in [peer.get("podSelector") for peer in peers]


def test_a_restore_has_the_memory_that_joining_the_oplog_takes() -> None:
    resources = {name: pod(name, backup__pitr__enabled=True)["containers"][0]["resources"] for name in JOBS}
    limits = {name: found["limits"]["memory"] for name, found in resources.items()}
    assert limits == {"backup": "256Mi", "backup-verify": "1Gi", "restore": "512Mi"}
    assert env("backup", backup__pitr={"enabled": True, "keepDays": 1000000})["KEEP_MOMENTS"] == "1000000"


def test_unless_it_is_wanted_nobody_stores_the_oplog() -> None:
    rendered = by_name(objects())
    assert not [name for _, name in rendered if "oplog" in name]
    assert "INTERVAL" not in [
        item["name"]
        for item in rendered["Deployment", "techshop-backup-metrics"]["spec"]["template"]["spec"]["containers"][0][
            "env"
        ]
    ]
    assert "KEEP_MOMENTS" not in env("backup")
