"""What the nodes of a Redis Cluster decide: a model of the cluster does what they say, until it is quiet."""

import subprocess
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from techshop import paths

PLAN = paths.ROOT / "charts/techshop/charts/redis/files/plan.awk"
SLOTS = 16384


@dataclass
class Node:
    """A node of the model; ``slots`` are ranges, both ends included."""

    ordinal: int
    place: str
    slots: list[tuple[int, int]] = field(default_factory=list)
    master: int | None = None
    dead: bool = False

    @property
    def held(self) -> int:
        return sum(last - first + 1 for first, last in self.slots)


class Model:
    """A cluster that does what its nodes' plans say.

    Args:
        places: "zone/node" of each node.
        shards: masters wanted.
        members: nodes wanted; those after them are leaving.
    """

    def __init__(self, places: list[str], shards: int, members: int | None = None) -> None:
        self.nodes = [Node(ordinal, place) for ordinal, place in enumerate(places)]
        self.shards = shards
        self.members = members or len(places)
        self.interrupted = ""

    def shows(self, me: int) -> str:
        lines = []
        for node in self.nodes:
            flags = ["myself"] if node.ordinal == me else []
            flags.append("master" if node.master is None else "slave")
            flags += ["fail"] if node.dead else []
            master = "-" if node.master is None else f"id{node.master}"
            ranges = " ".join(f"{first}-{last}" if last > first else str(first) for first, last in node.slots)
            lines.append(
                f"id{node.ordinal} 10.0.0.{node.ordinal}:6379@16379,shop-redis-{node.ordinal}.nodes "
                f"{','.join(flags)} {master} 0 0 {node.ordinal} connected {ranges}".rstrip()
            )
        return "\n".join(lines)

    def plan(self, me: int) -> list[list[str]]:
        names = "\n".join(f"shop-redis-{ordinal}.nodes" for ordinal in range(self.members))
        places = "\n".join(f"10.0.0.{node.ordinal} {node.place}" for node in self.nodes)
        done = subprocess.run(
            ["awk", "-v", f"self=shop-redis-{me}", "-v", f"shards={self.shards}", "-f", str(PLAN)],
            env={"MEMBERS": names, "PLACES": places, "INTERRUPTED": self.interrupted, "PATH": "/usr/bin:/bin"},
            input=self.shows(me), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [line.split() for line in done.stdout.splitlines()]

    def act(self, me: int, action: str, arguments: list[str]) -> None:
        ids = [int(argument.removeprefix("id")) for argument in arguments]
        if action == "assign":
            assert me == 0
            self.nodes[ids[0]].slots.append((ids[1], ids[2]))
        elif action == "follow":
            assert not self.nodes[me].slots, "a node with slots follows another"
            self.nodes[me].master = ids[0]
        elif action == "restart":
            node = self.nodes[me]
            assert node.master is not None and not node.slots, "only a replica begins again"
            assert any(other.slots for other in self.nodes), "nobody has what it had"
            node.master = None
        elif action == "takeover":
            old = self.nodes[me].master
            assert old is not None
            for node in self.nodes:
                node.master = me if node.master == old else node.master
            self.nodes[me].slots, self.nodes[old].slots = self.nodes[old].slots, []
            self.nodes[me].master, self.nodes[old].master = None, me
        elif action == "move":
            assert me == 0 and not any(node.dead for node in self.nodes)
            self._share(ids)
        else:
            raise AssertionError(f"{action} is not expected here")

    def _share(self, emptied: list[int]) -> None:
        keep = [n for n in self.nodes if n.master is None and n.ordinal < self.members and n.ordinal not in emptied]
        everything = sorted(slot for node in self.nodes for slot in node.slots)
        assert sum(last - first + 1 for first, last in everything) == SLOTS
        for node in self.nodes:
            node.slots = []
        for index, node in enumerate(keep):
            node.slots = [(index * SLOTS // len(keep), (index + 1) * SLOTS // len(keep) - 1)]
        for ordinal in emptied:  # as Redis does with a master that lost its last slot, and its replicas
            for node in self.nodes:
                if ordinal in (node.ordinal, node.master):
                    node.master = keep[-1].ordinal

    def settle(self) -> int:
        """Let the nodes act in turn until none wants to; return the number of rounds."""
        for rounds in range(60):
            acted = False
            for me in range(len(self.nodes)):
                for action, *arguments in self.plan(me):
                    if action != "say" and not self.nodes[me].dead:
                        self.act(me, action, arguments)
                        acted = True
            if not acted:
                return rounds
        raise AssertionError("the nodes never come to rest")

    @property
    def masters(self) -> list[Node]:
        return [node for node in self.nodes if node.slots]

    def assert_served(self) -> None:
        assert sum(node.held for node in self.nodes) == SLOTS
        assert len(self.masters) == self.shards
        assert all(node.ordinal < self.members for node in self.masters)
        copies = Counter(node.master for node in self.nodes if node.master is not None)
        assert set(copies) == {master.ordinal for master in self.masters}, "a master has no replica"


def places(nodes: int, zones: int, pods: int) -> list[str]:
    """Spread pods over nodes in turn, as the scheduler does."""
    return [f"z{pod % nodes % zones}/n{pod % nodes}" for pod in range(pods)]


@pytest.mark.parametrize("order", ["in turn", "in pairs"])
@pytest.mark.parametrize("nodes", [3, 6])
def test_masters_and_copies_are_apart_when_there_is_room(nodes: int, order: str) -> None:
    spread = places(nodes, 3, 6)
    model = Model(sorted(spread) if order == "in pairs" else spread, shards=3)
    model.settle()
    model.assert_served()
    assert len({node.place.split("/")[0] for node in model.masters}) == 3
    for node in model.nodes:
        if node.master is not None:
            assert node.place.split("/")[0] != model.nodes[node.master].place.split("/")[0]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(3, 5), st.integers(1, 2), st.integers(1, 4), st.integers(1, 3))
def test_any_new_cluster_settles_with_all_slots_served(shards: int, replicas: int, nodes: int, zones: int) -> None:
    model = Model(places(nodes, zones, shards * (1 + replicas)), shards)
    model.settle()
    model.assert_served()


@pytest.mark.parametrize(("before", "after"), [(3, 4), (3, 5), (4, 3), (5, 3)])
def test_shards_are_added_and_taken_away_with_every_slot_served(before: int, after: int) -> None:
    model = Model(places(3, 3, before * 2), before)
    model.settle()
    model.shards, model.members = after, after * 2
    model.nodes += [Node(n, place) for n, place in enumerate(places(3, 3, after * 2)) if n >= before * 2]
    model.settle()
    model.assert_served()


def test_a_shard_whose_pods_left_but_for_one_is_merged_into_the_others() -> None:
    model = Model(places(3, 3, 8), 4)
    model.settle()
    model.nodes, model.shards, model.members = model.nodes[:6], 3, 6
    assert len(model.masters) == 4
    model.settle()
    model.assert_served()


def test_a_replica_too_many_becomes_the_master_that_is_missing() -> None:
    model = Model(places(3, 3, 8), shards=3)
    model.settle()
    model.shards = 4
    model.settle()
    model.assert_served()


def test_a_replica_of_a_replica_finds_a_master() -> None:
    model = Model(places(3, 3, 6), shards=3)
    model.settle()
    replicas = [node for node in model.nodes if node.master is not None]
    replicas[0].master = replicas[1].ordinal
    model.settle()
    model.assert_served()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(3, 4), st.data())
def test_replicas_wherever_they_are_end_with_every_master_having_one(shards: int, data: st.DataObject) -> None:
    model = Model(places(3, 3, shards * 2), shards)
    model.settle()
    replicas = [node.ordinal for node in model.nodes if node.master is not None]
    for ordinal in replicas:
        others = [node.ordinal for node in model.nodes if node.slots or node.ordinal < ordinal]
        model.nodes[ordinal].master = data.draw(st.sampled_from(others))
    model.settle()
    model.assert_served()


def test_a_node_that_stops_after_it_handed_over_takes_no_new_nodes_place() -> None:
    model = Model(places(3, 3, 6), shards=3)
    model.settle()
    model.nodes += [Node(6, "z0/n0"), Node(7, "z1/n1")]
    model.shards, model.members = 4, 8
    taker = next(node for node in model.nodes if node.master == 0)
    taker.slots, taker.master, model.nodes[0].slots = model.nodes[0].slots, None, []  # and told nobody of its new role
    told = model.shows
    model.shows = lambda me: told(me).replace("master - 0 0 0 connected", "master - 0 0 0 disconnected")  # type: ignore[method-assign]
    assert " disconnected" in model.shows(6)
    plans = {me: " ".join(model.plan(me)[0]) for me in (6, 7)}
    assert sorted(plan.split()[0] for plan in plans.values()) == ["follow", "say"]
    assert {"follow id6", "follow id7"} & set(plans.values()), "one new node is to be the new shard's master"


@pytest.mark.parametrize("dead", [0, 3])
def test_no_slot_moves_and_no_role_changes_while_a_node_is_away(dead: int) -> None:
    model = Model(places(3, 3, 6), 3)
    model.settle()
    model.nodes[dead].dead = True
    model.shards = 4
    assert {action for me in range(6) if me != dead for action, *_ in model.plan(me)} == {"say"}


def test_masters_that_crowd_one_node_after_failovers_move_apart_one_at_a_time() -> None:
    model = Model(places(3, 3, 6), 3)
    model.settle()
    victim = model.nodes[0].place
    for node in model.nodes:
        if node.place == victim and node.master is not None:
            model.act(node.ordinal, "takeover", [])
    assert Counter(node.place for node in model.masters)[victim] == 2
    assert len([me for me in range(6) for action, *_ in model.plan(me) if action == "takeover"]) == 1
    model.settle()
    model.assert_served()
    assert len({node.place for node in model.masters}) == 3


def test_slots_of_a_master_that_lost_its_volume_are_never_given_out_again() -> None:
    model = Model(places(3, 3, 6), 3)
    model.settle()
    shows = model.shows(0).replace(
        "id2 10.0.0.2:6379@16379,shop-redis-2.nodes master", "id2 10.0.0.2:6379@16379,shop-redis-2.nodes master,fail"
    )
    model.shows = lambda _me: shows + "\nnew2 10.0.0.2:6379@16379,shop-redis-2.nodes master - 0 0 9 connected"  # type: ignore[method-assign]
    assert "slots are gone with node 2" in " ".join(model.plan(0)[0])


@pytest.mark.parametrize("seen", ["beside node 0", "anywhere"])
def test_an_interrupted_move_is_ended_before_anything_else(seen: str) -> None:
    model = Model(places(3, 3, 8), 4)
    model.settle()
    model.shards, model.members = 3, 6
    if seen == "anywhere":
        model.interrupted = "yes"
    else:
        told = model.shows
        model.shows = lambda me: told(me).replace("0 0 0 connected", "0 0 0 connected [93->-id2]")  # type: ignore[method-assign]
    assert model.plan(0) == [["fix"]]
    assert {action for me in range(1, 8) for action, *_ in model.plan(me)} == {"say"}


def test_a_move_that_ended_halfway_is_gone_on_with() -> None:
    model = Model(places(3, 3, 8), 4)
    model.settle()
    first, second = model.masters[:2]
    (start, _), (_, end) = first.slots[0], second.slots[0]
    first.slots, second.slots = [(start, end - 50)], [(end - 49, end)]
    model.settle()
    model.assert_served()
    assert {node.held for node in model.masters} == {SLOTS // 4}
