/** Builders for objects and drafts, as short as the tests want them. */
import { digestOf } from "../../src/model/digest.js";
import type { Namespace, NetworkPolicy, ZtapObject } from "../../src/model/objects.js";
import { refOf, type StateObject } from "../../src/model/state.js";
import type { RevisionDraft } from "../../src/interfaces/store.js";

/** A policy whose meaning depends on `port` alone. */
export function policy(name: string, port = 80, namespace = "default"): NetworkPolicy {
  return {
    apiVersion: "ztap/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace },
    spec: {
      podSelector: { matchLabels: { app: name } },
      policyTypes: ["Ingress"],
      ingress: [{ ports: [{ protocol: "TCP", port }] }],
    },
  };
}

/** The port that `policy` was given; 0 for anything else. */
export function portOf(object: ZtapObject | undefined): number {
  const [port] = object?.kind === "NetworkPolicy" ? (object.spec.ingress?.[0]?.ports ?? []) : [];
  return port !== undefined && "port" in port ? Number(port.port) : 0;
}

export function namespace(name: string): Namespace {
  return { apiVersion: "ztap/v1", kind: "Namespace", metadata: { name } };
}

export function stateObject(object: ZtapObject, line = 1): StateObject {
  return { ref: refOf(object), digest: digestOf(object), object, position: { file: "policies.yaml", line } };
}

let drafts = 0;

export function draft(objects: readonly ZtapObject[], changes: Partial<RevisionDraft> = {}): RevisionDraft {
  drafts += 1;
  return {
    objects: objects.map((object, index) => stateObject(object, index + 1)),
    source: {
      location: "/repo",
      commit: "c".repeat(40),
      dirty: false,
      author: "Ada <ada@example.org>",
      subject: "Change",
    },
    node: "node-1",
    author: "Ada <ada@example.org>",
    reason: "apply",
    commitId: `${process.pid}-${drafts}`,
    time: "2026-01-01T00:00:00.000Z",
    ...changes,
  };
}
