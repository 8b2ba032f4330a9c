import type { Test } from "tap";
import type { FlowRecord, FlowSource } from "../../src/interfaces/flows.js";

/** Collects what the source tells until the test ends. */
export function collect(t: Test, source: FlowSource): FlowRecord[] {
  const stop = new AbortController();
  const records: FlowRecord[] = [];
  const reading = (async () => {
    for await (const batch of source.flows(stop.signal)) records.push(...batch);
  })();
  t.teardown(async () => {
    stop.abort();
    await reading;
  });
  return records;
}
