/** The formats, namespaces and widths of lists, and lists that are watched. */
import { stripVTControlCharacters } from "node:util";
import t, { type Test } from "tap";
import { parse } from "yaml";
import { openEmbeddedStore } from "../../src/adapters/embedded/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { ENDPOINTS } from "../contract/store-endpoints.js";
import { schemaErrors, Ztap } from "./ztap.js";

const LONG = "with-a-name-that-is-about-as-long-as-a-name-may-be";

const workload = (name: string, namespace: string, spec: string) =>
  `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, namespace: ${namespace}, labels: { app: ${name} } }\nspec: ${spec}\n`;

const STATE = [
  `apiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: web }\nspec: { nodeNames: ["web-*"], addressRanges: [10.20.0.0/16] }\n`,
  workload(`front-${LONG}`, "shop", `{ nodeSelector: {}, process: { systemdUnit: "front-${LONG}@*.service" } }`),
  workload(`back-${LONG}`, "shop", `{ nodeSelector: {}, process: { cgroup: "back.slice/${LONG}.scope" } }`),
  workload("db", "data", `{ addresses: ["10.9.9.9"] }`),
  ...["shop", "data"].map(
    (namespace) =>
      `---\napiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: policy-${LONG}, namespace: ${namespace} }\nspec: { podSelector: {}, ingress: [{ from: [{ namespaceSelector: {} }], ports: [{ port: 80 }, { port: 443 }] }] }\n`,
  ),
].join("");

/** A store with long names, nodes and reports. */
async function withStore(t: Test): Promise<Ztap> {
  const ztap = new Ztap(t);
  ztap.write("state/s.yaml", STATE);
  const reason = "an incident at night, which nobody of the team will ever forget, and a 日本語 word";
  const applied = await ztap.run(["apply", "state", "--auto-approve", "--reason", reason]);
  t.equal(applied.code, 0, applied.stderr);
  const store = await openEmbeddedStore({ path: ztap.store, access: "write" }, systemClock);
  for (const [index, node] of [`web-1-${"of-rack".repeat(4)}`, "web-2"].entries()) {
    const cgroup = `system.slice/front-${LONG}@${index}.service`;
    await store.joinMember({ id: node, address: `${node}.example.net:9470`, joinedAt: "2026-01-01T00:00:00.000Z" });
    await store.writeEndpoints({
      ...{ ...ENDPOINTS, node, addresses: [`10.20.0.${index + 1}`] },
      instances: [{ workload: `shop/front-${LONG}`, instance: `${LONG}@${index}`, cgroup, addresses: [], ports: [] }],
    });
  }
  await store.close();
  return ztap;
}

t.test("each list fits a terminal of 60, 80, 120 and 200 columns, and is whole without one", async (t) => {
  const ztap = await withStore(t);
  // The rows of each, and how many there are: as many as without a terminal.
  const lists = [
    ["policy list", /^(?:data|shop)\/p/, 2],
    ["policy list -o wide", /^(?:data|shop)\/p/, 2],
    ["get policies -n shop", /^shop\/p/, 1],
    ["policy history", /^1 /, 1],
    [`policy history shop/policy-${LONG}`, /^1 /, 1],
    ["workload list", /^(?:data|shop) /, 3],
    ["workload list -o wide", /^(?:data|shop) /, 3],
    ["cluster list", /^web-[^ :]+ /, 2],
    ["cluster list -o wide", /^web-[^ :]+ /, 2],
    ["connectivity state", / → /, null],
    ["config show", /^[a-z][a-zA-Z.]+ {2}/, null],
  ] as const;
  const script = lists.map(([words]) => `echo "== ${words}"; ${ztap.root}/bin/ztap ${words}`).join("\n");
  const file = ztap.write("lists.sh", script);
  const onTerminal = async (columns: number) => {
    const shell = ztap.spawn("script", ["-qefc", `stty cols ${columns}; sh ${file}`, "/dev/null"], {
      env: { NO_COLOR: "1" },
    });
    const { stdout } = await shell.ended;
    return stripVTControlCharacters(stdout).replaceAll("\r", "");
  };
  const whole = await ztap.spawn("sh", [file]).ended;
  for (const name of [`policy-${LONG}`, `front-${LONG}@*.service`, "日本語 word", "of-rack".repeat(4)])
    t.match(whole.stdout, name, "whole without a terminal");
  t.notMatch(whole.stdout, "…");
  const wholeParts = whole.stdout.split(/^== .*\n/m).slice(1);
  const shown = await Promise.all(
    [60, 80, 120, 200].map(async (columns) => [columns, await onTerminal(columns)] as const),
  );
  for (const [columns, text] of shown) {
    const parts = text.split(/^== .*\n/m).slice(1);
    for (const [index, [words, row, count]] of lists.entries()) {
      // What stands below a table is wrapped between words.
      const lines = parts[index]?.split("\n").filter((line, at) => at === 0 || row.test(line)) ?? [];
      // A Japanese character takes two columns.
      const widthOf = (line: string) => line.replace(/[\u3000-\u9fff]/g, "xx").length;
      const widest = lines.reduce((most, line) => (widthOf(line) > widthOf(most) ? line : most), "");
      t.ok(widthOf(widest) <= columns, `${words} at ${columns}: ${widest}`);
      const wanted = count ?? (wholeParts[index] ?? "").split("\n").filter((line) => row.test(line)).length;
      t.ok(wanted > 0);
      t.equal(lines.filter((line) => row.test(line)).length, wanted, `${words} at ${columns}: one line a row`);
    }
  }
});

t.test("a report is wrapped between words, and its tables fit", async (t) => {
  const ztap = await withStore(t);
  for (const words of [`policy show -n shop policy-${LONG}`, `workload show -n shop front-${LONG}`, "cluster status"]) {
    const { stdout } = await ztap.onTerminal(words.split(" "), "", { NO_COLOR: "1" }, 60);
    for (const line of stdout.split(/\r?\n/)) {
      // A word is not cut: it can be copied.
      const longest = Math.max(...line.split(" ").map((word) => word.length));
      t.ok(line.length <= 60 || longest > 50, `${words}: ${line}`);
    }
    t.match(stdout, /^(?:Node|Instance) .*\r?\n(?:web|shop)[^ ]*/m, `${words}: a table`);
  }
});

t.test("json is --json, yaml says the same, and rows can come alone", async (t) => {
  const ztap = await withStore(t);
  const stable = (text: string) => text.replace(/"?(?:ageMs|heartbeatAgeMs)"?: .*/g, "");
  for (const [schema, words] of [
    ["policy-list", "policy list"],
    ["revision-list", "policy history"],
    ["policy-show", `policy show policy-${LONG} -n shop`],
    ["workload-list", "workload list"],
    ["workload-show", `workload show -n shop front-${LONG}`],
    ["cluster-list", "cluster list"],
    ["cluster-status", "cluster status"],
    ["config-show", "config show"],
    ["connectivity", "connectivity state"],
    ["doctor", "doctor"],
    ["version", "version"],
    ["explain", `explain state --from shop/front-${LONG} --to data/db:80/TCP`],
  ] as const) {
    const args = words.split(" ");
    const [flag, output, yaml] = await Promise.all(
      ["--json", "--output=json", "-oyaml"].map((format) => ztap.run([...args, format])),
    );
    t.equal(stable(output?.stdout ?? ""), stable(flag?.stdout ?? "-"), words);
    const document: unknown = parse(yaml?.stdout ?? "");
    t.equal(schemaErrors(schema, document), "", `${words} as YAML`);
    t.equal(stable(JSON.stringify(document, null, 2)), stable(JSON.stringify(JSON.parse(flag?.stdout ?? ""), null, 2)));
  }
  const rows = await ztap.run(["policy", "list", "--no-headers"]);
  t.match(rows.stdout, /^data\/.*\nshop\/.*\n$/);
  const none = await ztap.run(["policy", "list", "--no-headers", "-n", "none"]);
  t.same([none.code, none.stdout], [0, ""], "no row, and no sentence");
  const wide = await ztap.run(["workload", "list", "-o", "wide"]);
  t.match(wide.stdout, /Kind\n/);
  const error = await ztap.run(["policy", "list", "--json", "-o", "yaml"]);
  t.match(JSON.parse(error.stdout), { error: { message: /--json and --output yaml exclude each other/ } });
  const variable = { env: { ZTAP_JSON: "1" } };
  t.match(await ztap.run(["policy", "list", "-o", "table"], variable), { stdout: /^Name/ }, "a flag beats a variable");
  t.match(await ztap.run(["policy", "list"], variable), { stdout: /^\{/ });
});

t.test("a namespace selects, as a flag or a variable, and -A takes it back", async (t) => {
  const ztap = await withStore(t);
  const namespaces = async (schema: string, key: string, args: readonly string[], env = {}) => {
    const document = await ztap.json(t, schema, args, { env });
    return document[key].map(({ namespace }: { readonly namespace: string }) => namespace);
  };
  const policies = (args: readonly string[], env = {}) =>
    namespaces("policy-list", "policies", ["policy", "list", ...args], env);
  const env = { ZTAP_NAMESPACE: "data" };
  t.same(await policies([]), ["data", "shop"]);
  t.same(await policies(["-n", "shop"]), ["shop"]);
  t.same(await policies([], env), ["data"]);
  t.same(await policies(["-n", "shop"], env), ["shop"]);
  t.same(await policies(["-A"], env), ["data", "shop"]);
  t.same(await namespaces("workload-list", "workloads", ["workload", "list", "-n", "data"]), ["data"]);
  t.match(await ztap.json(t, "policy-show", ["policy", "show", `policy-${LONG}`], { env }), {
    policy: { namespace: "data" },
  });
  t.match(await ztap.json(t, "policy-show", ["policy", "show", `shop/policy-${LONG}`], { env }), {
    policy: { namespace: "shop" },
  });
  const { connections } = await ztap.json(t, "connectivity", ["connectivity", "state", "-n", "data"]);
  t.ok(connections.length > 0);
  t.ok(
    connections.every(({ from, to }: Record<string, string>) => `${from} ${to}`.includes("data/")),
    "an end of each is in the namespace",
  );
  t.match(await ztap.run(["explain", "state", "-n", "shop", "--from", `front-${LONG}`, "--to", "data/db:80"]), {
    code: 0,
  });
});

t.test("a watched list says which rows changed, and how", async (t) => {
  const ztap = await withStore(t);
  const watch = ztap.start(["get", "policies", "--watch"]);
  const json = ztap.start(["policy", "list", "-w", "-o", "json"]);
  const quiet = ztap.start(["cluster", "list", "-w", "--no-headers"]);
  await watch.says(/^Event +Name .*\ncurrent +data\/.*\ncurrent +shop\//m);
  await json.says(/\n/);
  await quiet.says(/^current +web-1.*\ncurrent +web-2/m);
  ztap.write(
    "state/s.yaml",
    STATE.replace("{ port: 443 }", "{ port: 444 }").replace(
      /---[^-]*kind: NetworkPolicy[^-]*-[^\n]*namespace: data[^\n]*\n[^\n]*\n/,
      "",
    ),
  );
  t.match(await ztap.run(["apply", "state", "--auto-approve"]), { code: 0 });
  await watch.says(/^updated +shop\/.* 2 [^]*^deleted +data\//m);
  ztap.write("state/s.yaml", STATE);
  await ztap.run(["apply", "state", "--auto-approve"]);
  await watch.says(/^created +data\//m);
  await json.says(/\n.*\n.*\n/);
  const ended = await Promise.all([watch, json, quiet].map((one) => one.stop("SIGINT")));
  t.same(
    ended.map(({ code }) => code),
    [0, 0, 0],
  );
  t.match(quiet.stderr, /^web-1.*never run\nweb-2.*never run\n$/, "notes are no rows");
  const documents = json.stdout
    .trimEnd()
    .split("\n")
    .map((line): unknown => JSON.parse(line));
  for (const document of documents) t.equal(schemaErrors("policy-list", document), "");
  t.match(documents, [{ policies: [{}, {}] }, { policies: [{}] }, { policies: [{}, {}] }]);
  t.equal(quiet.stdout.split("\n").length, 3, "ages are no news");
});

t.test("a list can be of one object; a name that there is not says what may have been meant", async (t) => {
  const ztap = await withStore(t);
  const named = async (...args: readonly string[]) => (await ztap.run([...args, "--no-headers"])).stdout;
  const name = `policy-${LONG}`;
  t.match(await named("get", "policy", `shop/${name}`), /^shop\/policy-\S+ .*\n$/);
  t.match(await named("get", "policies", name, "-n", "data"), /^data\/policy-\S+ .*\n$/);
  t.match(await named("get", "workload", "data/db"), /^data .*\n$/);
  const away = await ztap.json(t, "error", ["get", "policy", name], { code: 1 });
  t.match(away, { error: { code: "not-found", message: `there is no policy default/${name}` } });
  t.match(away.error.message, `did you mean data/${name}?`);
  t.match(await ztap.run(["workload", "list", "data/db2"]), { code: 1, stderr: /did you mean data\/db\?/ });
  t.match(await ztap.run(["policy", "list", `shop/${name}`, "-n", "data"]), {
    code: 64,
    stderr: /is in the namespace shop/,
  });
});

t.test("cluster status --watch shows it again whenever it changes", async (t) => {
  const ztap = await withStore(t);
  const running = [[], ["-o", "json"], ["-o", "yaml"]].map((format) =>
    ztap.start(["cluster", "status", "--watch", ...format]),
  );
  for (const one of running) await one.says("web-2");
  t.match(await ztap.run(["cluster", "join", "web-3", "192.0.2.3:9470"]), { code: 0 });
  for (const one of running) await one.says("web-3");
  const [text, json, yaml] = await Promise.all(running.map(async (one) => (await one.stop("SIGINT")).stdout));
  t.match(text, /^Store .*[^]*^Store .*[^]*web-3/m);
  const documents = (json ?? "").trim().split("\n");
  t.ok(documents.length >= 2);
  for (const document of documents) t.equal(schemaErrors("cluster-status", JSON.parse(document)), "");
  const [, ...all] = (yaml ?? "").split(/^---\n/m);
  t.equal(all.length, documents.length);
  for (const document of all) t.equal(schemaErrors("cluster-status", parse(document)), "");
});
