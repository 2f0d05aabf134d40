"""What the loop beside a Redis node does where the plan can't help: a redis-cli that answers from a table stands in."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from techshop import paths

FILES = paths.ROOT / "charts/techshop/charts/redis/files"
HOST = "shop-redis-{}.nodes.shop.svc.cluster.local"
CLI = """#!/usr/bin/env python3
import json, pathlib, sys, time
options = ("--no-auth-warning", "--user", "admin", "-e")
words = [word for word in sys.argv[1:] if word not in options]
with open("{folder}/asked", "a") as log:
    print(" ".join(words), file=log)
answer = json.loads(pathlib.Path("{folder}/answers").read_text()).get(" ".join(words), "OK")
if answer == "HANG":
    time.sleep(60)
print(answer)
"""


def nodes(*lines: str) -> str:
    """CLUSTER NODES of node 1, a replica of node 0, or what the lines say instead."""
    ours = f"id1 10.0.0.1:6379@16379,{HOST.format(1)} myself,slave id0 0 0 1 connected"
    return "\n".join(lines or (ours, f"id0 10.0.0.9:6379@16379,{HOST.format(0)} master - 0 0 1 connected 0-16383"))


def first_look(log: Path) -> list[str]:
    """Wait until the loop looks for the second time, and return what it had asked until then."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        commands = log.read_text().splitlines() if log.exists() else []
        looks = [index for index, command in enumerate(commands) if command == "INFO"]
        if len(looks) > 1:
            return commands[: looks[1]]
        time.sleep(0.1)
    pytest.fail("the loop looked less than twice within a minute")


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The scripts, with all that they name in a folder of their own, and a redis-cli that answers from a table."""
    scripts = tmp_path / "scripts"
    for name in ("scripts", "run", "secrets", "tls", "bin"):
        (tmp_path / name).mkdir()
    for file in FILES.iterdir():
        text = (
            file.read_text()
            .replace("/run/redis", f"{tmp_path}/run")
            .replace("sleep 3", "sleep 0.1")
            .replace("sleep 2", "sleep 0.1")
            .replace("sleep 1", "sleep 0.1")
            .replace("limit=60", "limit=3")
        )
        for folder in ("scripts", "secrets", "tls"):
            text = text.replace(f"/{folder}/", f"{tmp_path}/{folder}/")
        (scripts / file.name).write_text(text)
    (scripts / "members").write_text("".join(f"{HOST.format(ordinal)}\n" for ordinal in (0, 1)))
    (scripts / "shards").write_text("1")
    (tmp_path / "run/secrets").write_text("the same")
    (tmp_path / "run/admin-password").write_text("x")
    programs = {"redis-cli": CLI.format(folder=tmp_path), "sha256sum": "#!/bin/sh\necho the same\n"}
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return scripts


def environment(folder: Path, node: int) -> dict[str, str]:
    """What the scripts are told beside a node."""
    env = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "CLUSTER": "true", "TLS": "false"}
    return env | {"POD_NAME": f"shop-redis-{node}", "POD_IP": "10.0.0.1"}


@pytest.fixture
def asked(scripts: Path, tmp_path: Path):
    """Return a function that runs the loop for one look beside a node and gives the commands that it sent."""

    def run(node: int = 1, **answers: str) -> list[str]:
        defaults = {"ping": "PONG", "CLUSTER NODES": nodes(), "INFO": "aof_last_write_status:ok\r"}
        told = defaults | {key.replace("__", " "): value for key, value in answers.items()}
        (tmp_path / "answers").write_text(json.dumps(told))
        env = environment(tmp_path, node)
        # A session of its own: the loop goes on in a child of the shell that a container would take along.
        with subprocess.Popen(["sh", scripts / "reconcile.sh"], env=env, start_new_session=True) as loop:
            try:
                return first_look(tmp_path / "asked")
            finally:
                os.killpg(loop.pid, signal.SIGKILL)

    return run


def test_a_replica_that_asks_for_its_master_where_it_was_is_told_where_it_is(asked) -> None:
    replication = "role:slave\r\nmaster_host:10.0.0.5\r"
    commands = asked(INFO=replication, INFO__replication=replication)
    assert "CLUSTER REPLICATE id0" in commands
    # The answer stays the same here, as it does with a server that takes no notice.
    assert commands[-1] == "SHUTDOWN NOSAVE"


def test_a_replica_that_asks_at_the_right_place_is_left_alone(asked) -> None:
    commands = asked(INFO="role:slave\r\nmaster_host:10.0.0.9\r")
    assert not [command for command in commands if command.startswith(("CLUSTER REPLICATE", "SHUTDOWN"))]


@pytest.mark.parametrize("status", ["ok", "err"])
def test_a_master_that_can_not_write_hands_over_to_a_replica_that_can(asked, status: str) -> None:
    master = nodes(
        f"id1 10.0.0.1:6379@16379,{HOST.format(1)} myself,master - 0 0 1 connected 0-16383",
        f"id0 10.0.0.9:6379@16379,{HOST.format(0)} slave id1 0 0 1 connected",
    )
    commands = asked(
        CLUSTER__NODES=master,
        INFO="aof_last_write_status:err\r",
        INFO__replication="role:master\r\nslave0:ip=10.0.0.9,port=6379,state=online,offset=1,lag=0\r",
        **{
            "-h 10.0.0.9 CONFIG GET replica-priority": "replica-priority\n100",
            "-h 10.0.0.9 INFO persistence": f"aof_last_write_status:{status}\r",
        },
    )
    assert ("-h 10.0.0.9 CLUSTER FAILOVER" in commands) == (status == "ok")


def pair(node: int) -> str:
    """CLUSTER NODES of a node that is the master, with the other as its replica."""
    return nodes(
        f"id{node} 10.0.0.1:6379@16379,{HOST.format(node)} myself,master - 0 0 1 connected 0-16383",
        f"id{1 - node} 10.0.0.9:6379@16379,{HOST.format(1 - node)} slave id{node} 0 0 1 connected",
    )


@pytest.mark.parametrize("node", [0, 1])
def test_only_the_loop_beside_node_0_ends_the_move_that_one_before_may_have_left(asked, node: int) -> None:
    assert ("--cluster fix 10.0.0.1:6379" in asked(node, CLUSTER__NODES=pair(node))) == (node == 0)


def test_the_loop_looks_again_although_a_move_waits_for_a_node_that_is_gone(asked) -> None:
    commands = asked(0, CLUSTER__NODES=pair(0), **{"--cluster fix 10.0.0.1:6379": "HANG"})
    assert "--cluster fix 10.0.0.1:6379" in commands


@pytest.mark.parametrize("busy", ["aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1", "master_sync_in_progress:1"])
def test_a_node_is_not_told_to_stop_while_it_writes_its_first_append_only_file(
    scripts: Path, tmp_path: Path, busy: str
) -> None:
    def answer(info: str) -> None:
        (tmp_path / "next").write_text(json.dumps({"CLUSTER NODES": nodes(), "INFO": info}))
        (tmp_path / "next").rename(tmp_path / "answers")

    answer(f"master_link_status:up\r\n{busy}\r")
    with subprocess.Popen(["sh", scripts / "handover.sh"], env=environment(tmp_path, 1)) as handover:
        with pytest.raises(subprocess.TimeoutExpired):
            handover.wait(2)
        answer("master_link_status:up\r\naof_rewrite_in_progress:0\r")
        assert handover.wait(30) == 0


def test_a_replica_whose_master_is_away_stops_at_once(scripts: Path, tmp_path: Path) -> None:
    (tmp_path / "answers").write_text(json.dumps({"CLUSTER NODES": nodes(), "INFO": "master_link_status:down\r"}))
    done = subprocess.run(["sh", scripts / "handover.sh"], env=environment(tmp_path, 1), timeout=30, check=False)
    assert done.returncode == 0
    assert (tmp_path / "asked").read_text().splitlines().count("INFO") == 1
