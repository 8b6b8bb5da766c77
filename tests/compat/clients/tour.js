// A tour of an agent with the public client npm `consul`: tour.js HOST HTTP_PORT, run in a folder where
// the package is installed. Prints one line for each stop; the first wrong answer ends it with code 1.

const assert = require("node:assert/strict");
const { createRequire } = require("node:module");
const Consul = createRequire(process.cwd() + "/")("consul");

const [host, port] = [process.argv[2], Number(process.argv[3])];
const consul = new Consul({ host, port });

async function until(what, ready, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  while (Date.now() < deadline) {
    const value = await ready();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not within ${seconds} s: ${what}`);
}

const stops = {
  async kv() {
    assert.equal(await consul.kv.set("npm/a", "1"), true);
    const got = await consul.kv.get("npm/a");
    assert.equal(got.Value, "1");
    assert.equal(got.Flags, 0);
    assert.equal(await consul.kv.get("npm/none"), undefined);
    // The client hands `false` on as undefined.
    assert.ok(!(await consul.kv.set({ key: "npm/a", value: "2", cas: "0" })));
    assert.equal(await consul.kv.set({ key: "npm/a", value: "2", cas: String(got.ModifyIndex) }), true);
    assert.equal(await consul.kv.set({ key: "npm/b/c", value: Buffer.from([0, 255]), flags: 42 }), true);
    const bytes = await consul.kv.get({ key: "npm/b/c", buffer: true });
    assert.deepEqual([...bytes.Value], [0, 255]);
    assert.equal(bytes.Flags, 42);
    assert.equal((await consul.kv.get({ key: "npm/", recurse: true })).length, 2);
    assert.deepEqual(await consul.kv.keys({ key: "npm/", separator: "/" }), ["npm/a", "npm/b/"]);
    assert.equal((await consul.kv.get({ key: "npm/a", raw: true })).toString(), "2");
    await consul.kv.del("npm/a");
    await consul.kv.del({ key: "npm/", recurse: true });
    assert.equal(await consul.kv.get({ key: "npm/", recurse: true }), undefined);
  },

  async sessionAndLock() {
    const first = await consul.session.create({ name: "first", ttl: "60s", lockdelay: "0s" });
    const second = await consul.session.create({ name: "second", behavior: "delete", lockdelay: "0s" });
    const info = await consul.session.get(first.ID);
    assert.equal(info.Name, "first");
    assert.ok((await consul.session.list()).length >= 2);
    assert.ok((await consul.session.node(info.Node)).some((s) => s.ID === first.ID));
    await consul.session.renew(first.ID);
    const lock = (value, how) => consul.kv.set({ key: "npmlock", value, ...how });
    assert.equal(await lock("1", { acquire: first.ID }), true);
    assert.ok(!(await lock("2", { acquire: second.ID })));
    assert.equal(await lock("1", { release: first.ID }), true);
    assert.equal(await lock("2", { acquire: second.ID }), true);
    await consul.session.destroy(second.ID);
    assert.equal(await consul.kv.get("npmlock"), undefined);
    await consul.session.destroy(first.ID);
    assert.equal(await consul.session.get(first.ID), undefined);
  },

  async agentAndHealth() {
    const self = await consul.agent.self();
    const node = self.Config.NodeName;
    assert.ok((await consul.agent.members()).some((m) => m.Name === node));
    await consul.agent.service.register({
      name: "npm-web", id: "npm-1", port: 80, tags: ["a"], check: { ttl: "100s" },
    });
    assert.equal((await consul.agent.service.list())["npm-1"].Service, "npm-web");
    assert.equal((await consul.agent.check.list())["service:npm-1"].Status, "critical");
    const passing = () => consul.health.service({ service: "npm-web", passing: true });
    assert.deepEqual(await passing(), []);
    await consul.agent.check.pass({ id: "service:npm-1", note: "fine" });
    assert.equal((await passing())[0].Service.ID, "npm-1");
    await consul.agent.check.warn("service:npm-1");
    assert.equal((await consul.health.checks("npm-web"))[0].Status, "warning");
    await consul.agent.check.fail("service:npm-1");
    assert.ok((await consul.health.state("critical")).some((k) => k.CheckID === "service:npm-1"));
    await consul.agent.check.register({ name: "npm-check", ttl: "100s" });
    assert.ok((await consul.health.node(node)).some((k) => k.CheckID === "npm-check"));
    await consul.agent.check.deregister("npm-check");
    await consul.agent.service.maintenance({ id: "npm-1", enable: true, reason: "painting" });
    await consul.agent.service.maintenance({ id: "npm-1", enable: false });
    await consul.agent.maintenance({ enable: true, reason: "rest" });
    await consul.agent.maintenance({ enable: false });
    await consul.agent.service.register({ name: "npm-tcp", check: { tcp: `${host}:${port}`, interval: "1s" } });
    await until("a TCP check passes", async () =>
      (await consul.health.service({ service: "npm-tcp", passing: true })).length === 1);
    await consul.agent.service.deregister("npm-tcp");
    await consul.agent.service.deregister("npm-1");
    await consul.agent.reload();
    assert.deepEqual(await consul.health.service("npm-web"), []);
  },

  async catalog() {
    assert.equal((await consul.catalog.datacenters()).length, 1);
    await consul.catalog.register({
      node: "npm-ext", address: "10.8.8.8", service: { service: "npm-db", id: "db", port: 5432 },
    });
    assert.ok((await consul.catalog.node.list()).some((n) => n.Node === "npm-ext"));
    assert.ok("npm-db" in (await consul.catalog.service.list()));
    assert.equal((await consul.catalog.service.nodes("npm-db"))[0].ServicePort, 5432);
    assert.deepEqual(Object.keys((await consul.catalog.node.services("npm-ext")).Services), ["db"]);
    await consul.catalog.deregister({ node: "npm-ext" });
    assert.ok(!(await consul.catalog.node.services("npm-ext")));
  },

  async transaction() {
    const value = Buffer.from("1").toString("base64");
    const done = await consul.transaction.create([
      { KV: { Verb: "set", Key: "npmtxn", Value: value } },
      { KV: { Verb: "get", Key: "npmtxn" } },
    ]);
    assert.equal(done.Results.length, 2);
    await assert.rejects(consul.transaction.create([{ KV: { Verb: "get", Key: "npmnone" } }]), /conflict|409/i);
    await consul.kv.del("npmtxn");
  },

  async event() {
    const fired = await consul.event.fire("npm-event", "hello");
    const found = await until("the event is listed", async () =>
      (await consul.event.list("npm-event")).find((e) => e.ID === fired.ID));
    assert.equal(String(found.Payload), "hello");
  },

  async watch() {
    await consul.kv.set("npmwatch", "before");
    const watch = consul.watch({ method: consul.kv.get, options: { key: "npmwatch", wait: "20s" } });
    const seen = [];
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("the watch did not wake")), 15000);
      watch.on("change", (data) => {
        seen.push(data.Value);
        if (seen.length === 1) consul.kv.set("npmwatch", "after").catch(reject);
        if (seen.length === 2) {
          clearTimeout(late);
          resolve();
        }
      });
      watch.on("error", reject);
    });
    watch.end();
    assert.deepEqual(seen, ["before", "after"]);
    await consul.kv.del("npmwatch");
  },

  async status() {
    const leader = await consul.status.leader();
    assert.ok((await consul.status.peers()).includes(leader));
  },
};

(async () => {
  for (const [name, stop] of Object.entries(stops)) {
    await stop();
    console.log("ok", name);
  }
  console.log("tour done");
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
