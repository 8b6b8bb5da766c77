"""A tour of an agent with the public client py-consul: tour.py HOST HTTP_PORT.

Prints one line for each stop; the first wrong answer ends it with a traceback and exit code 1.
"""

import sys
import threading
import time

import consul
from consul import Check, ConsulException

HOST, PORT = sys.argv[1], int(sys.argv[2])


def client():
    return consul.Consul(host=HOST, port=PORT)


c = client()


def until(what, ready, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = ready()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def refused(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ConsulException as e:
        return str(e)
    raise AssertionError(f"{call} was not refused")


def kv():
    assert c.kv.put("tour/a", "1") is True
    index, data = c.kv.get("tour/a")
    assert data["Value"] == b"1" and data["Key"] == "tour/a" and data["Flags"] == 0, data
    assert int(index) == data["ModifyIndex"]
    assert c.kv.get("tour/none")[1] is None
    assert c.kv.put("tour/a", "2", cas=0) is False
    assert c.kv.put("tour/a", "2", cas=data["ModifyIndex"]) is True
    assert c.kv.put("tour/b/c", b"\x00\xff", flags=42) is True
    _, data = c.kv.get("tour/b/c")
    assert data["Value"] == b"\x00\xff" and data["Flags"] == 42
    _, tree = c.kv.get("tour/", recurse=True)
    assert [e["Key"] for e in tree] == ["tour/a", "tour/b/c"]
    _, keys = c.kv.get("tour/", keys=True, separator="/")
    assert keys == ["tour/a", "tour/b/"], keys
    assert c.kv.put("tour/empty", "") is True
    assert c.kv.get("tour/empty")[1]["Value"] is None
    assert c.kv.delete("tour/empty") is True
    assert c.kv.delete("tour/a", cas=1) is False
    assert c.kv.delete("tour/", recurse=True) is True
    assert c.kv.get("tour/", recurse=True)[1] is None
    for mode in ("default", "consistent", "stale"):
        c.kv.get("tour/a", consistency=mode)
    unicode_key = "tour/ключ/鍵"
    assert c.kv.put(unicode_key, "ü")
    assert c.kv.get(unicode_key)[1]["Value"].decode() == "ü"


def session_and_lock():
    first = c.session.create(name="first", lock_delay=0, ttl=60)
    second = c.session.create(name="second", lock_delay=0, behavior="delete")
    _, info = c.session.info(first)
    assert info["Name"] == "first" and info["TTL"] == "60s" and info["Behavior"] == "release", info
    assert {s["ID"] for s in c.session.list()[1]} >= {first, second}
    node = info["Node"]
    assert {s["ID"] for s in c.session.node(node)[1]} >= {first, second}
    assert c.session.renew(first)["ID"] == first
    assert c.kv.put("lock/l", "one", acquire=first) is True
    assert c.kv.put("lock/l", "two", acquire=second) is False
    assert c.kv.get("lock/l")[1]["Session"] == first
    assert c.kv.put("lock/l", "one", release=first) is True
    assert c.kv.put("lock/l", "two", acquire=second) is True
    assert c.kv.get("lock/l")[1]["LockIndex"] == 2
    assert c.session.destroy(second) is True
    assert c.kv.get("lock/l")[1] is None
    assert c.session.destroy(first) is True
    assert c.session.info(first)[1] is None
    refused(c.session.renew, first)


def agent_and_health():
    me = c.agent.self()
    node = me["Config"]["NodeName"]
    assert any(m["Name"] == node for m in c.agent.members())
    assert c.agent.service.register(
        "tour-web", service_id="tour-1", address="10.0.0.5", port=80, tags=["a", "b"], check=Check.ttl("100s")
    )
    assert c.agent.services()["tour-1"]["Service"] == "tour-web"
    assert c.agent.service_definition("tour-1")["Port"] == 80
    assert c.agent.checks()["service:tour-1"]["Status"] == "critical"
    assert c.health.service("tour-web", passing=True)[1] == []
    assert c.agent.check.ttl_pass("service:tour-1", "fine") is True
    _, up = c.health.service("tour-web", passing=True)
    assert up[0]["Service"]["ID"] == "tour-1" and up[0]["Service"]["Tags"] == ["a", "b"], up
    assert c.health.service("tour-web", tag="b")[1] and not c.health.service("tour-web", tag="z")[1]
    assert c.agent.check.ttl_warn("service:tour-1", "slow") is True
    assert c.health.checks("tour-web")[1][0]["Status"] == "warning"
    assert c.health.checks("tour-web")[1][0]["Output"] == "slow"
    assert c.agent.check.ttl_fail("service:tour-1") is True
    assert any(k["CheckID"] == "service:tour-1" for k in c.health.state("critical")[1])
    assert c.agent.check.register("tour-node", Check.ttl("100s")) is True
    assert any(k["Name"] == "tour-node" for k in c.health.node(node)[1])
    assert c.agent.check.deregister("tour-node") is True
    assert c.agent.service.maintenance("tour-1", True, "painting") is True
    assert "_service_maintenance:tour-1" in c.agent.checks()
    assert c.agent.service.maintenance("tour-1", False) is True
    assert c.agent.maintenance(True, "rest") is True
    assert c.agent.checks()["_node_maintenance"]["Notes"] == "rest"
    assert c.agent.maintenance(False) is True
    assert c.agent.service.register("tour-tcp", check=Check.tcp(HOST, PORT, "1s"))
    until("a TCP check passes", lambda: c.health.service("tour-tcp", passing=True)[1])
    assert c.agent.service.register("tour-http", check=Check.http(f"http://{HOST}:{PORT}/v1/status/leader", "1s"))
    until("an HTTP check passes", lambda: c.health.service("tour-http", passing=True)[1])
    for service in ("tour-1", "tour-tcp", "tour-http"):
        assert c.agent.service.deregister(service) is True
    assert c.health.service("tour-web")[1] == []
    assert "Gauges" in c.agent.metrics()


def catalog():
    assert c.catalog.datacenters() == [c.agent.self()["Config"]["Datacenter"]]
    assert c.catalog.register(
        "tour-ext",
        "10.9.9.9",
        service={"Service": "tour-db", "ID": "db1", "Tags": ["x"], "Port": 5432},
        check={"Node": "tour-ext", "CheckID": "up", "Name": "up", "Status": "passing", "ServiceID": "db1"},
    )
    assert "tour-ext" in [n["Node"] for n in c.catalog.nodes()[1]]
    assert c.catalog.services()[1]["tour-db"] == ["x"]
    _, found = c.catalog.service("tour-db")
    assert found[0]["ServiceAddress"] == "" and found[0]["Address"] == "10.9.9.9" and found[0]["ServicePort"] == 5432
    _, node = c.catalog.node("tour-ext")
    assert list(node["Services"]) == ["db1"]
    assert c.health.service("tour-db", passing=True)[1][0]["Checks"][0]["CheckID"] == "up"
    assert c.catalog.deregister("tour-ext", service_id="db1") is True
    assert c.catalog.deregister("tour-ext") is True
    assert c.catalog.node("tour-ext")[1] is None


def txn():
    done = c.txn.put(
        [
            {"KV": {"Verb": "set", "Key": "txn/a", "Value": "MQ=="}},
            {"KV": {"Verb": "get", "Key": "txn/a"}},
        ]
    )
    assert [r["KV"]["Key"] for r in done["Results"]] == ["txn/a", "txn/a"] and done["Results"][1]["KV"]["Value"] == "MQ=="
    refused(c.txn.put, [{"KV": {"Verb": "get", "Key": "txn/none"}}])
    c.txn.put([{"KV": {"Verb": "delete-tree", "Key": "txn/"}}])
    assert c.kv.get("txn/", recurse=True)[1] is None


def event():
    fired = c.event.fire("tour", body="hello")
    assert fired["Name"] == "tour" and fired["ID"]
    listed = until("the event is listed", lambda: [e for e in c.event.list("tour")[1] if e["ID"] == fired["ID"]])
    assert listed[0]["Payload"] in ("aGVsbG8=", b"hello"), listed


def watch():
    c.kv.put("watch/k", "before")
    index, _ = c.kv.get("watch/k")
    woken = []

    def block():
        woken.append(client().kv.get("watch/k", index=index, wait="30s"))

    thread = threading.Thread(target=block)
    thread.start()
    for _ in range(5):
        c.status.leader()
    start = time.monotonic()
    c.kv.put("watch/k", "after")
    thread.join(20)
    assert woken and woken[0][1]["Value"] == b"after" and int(woken[0][0]) > int(index)
    assert time.monotonic() - start < 15
    again, data = c.kv.get("watch/k", index=woken[0][0], wait="1s")
    assert again == woken[0][0] and data["Value"] == b"after"
    index, _ = c.health.service("watch-web")
    found = []
    thread = threading.Thread(target=lambda: found.append(client().health.service("watch-web", index=index, wait="30s")))
    thread.start()
    for _ in range(5):
        c.status.leader()
    c.agent.service.register("watch-web")
    thread.join(20)
    assert found and found[0][1][0]["Service"]["ID"] == "watch-web"
    c.agent.service.deregister("watch-web")
    c.kv.delete("watch/", recurse=True)


def status_and_more():
    leader = c.status.leader()
    assert leader in c.status.peers()
    assert c.operator.raft_config()["Servers"][0]["Leader"] is True
    assert c.coordinate.datacenters()[0]["Datacenter"] == c.agent.self()["Config"]["Datacenter"]
    c.coordinate.nodes()
    c.kv.put("snap/k", "kept")
    saved = c.snapshot.save()
    c.kv.put("snap/k", "changed")
    assert c.snapshot.restore(saved)
    assert c.kv.get("snap/k")[1]["Value"] == b"kept"
    c.kv.delete("snap/k")


for stop in (kv, session_and_lock, agent_and_health, catalog, txn, event, watch, status_and_more):
    stop()
    print("ok", stop.__name__, flush=True)
print("tour done")
