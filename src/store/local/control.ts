/** Reports of the nodes and of the leader, and what operators tell the leader about its source. */
import type { Fence } from "../../interfaces/store.js";
import type { NodeEndpoints } from "../../model/endpoints.js";
import type { Outbox, PollRequest } from "../../model/outbox.js";
import type { Override } from "../../model/override.js";
import type { Approval, SourceControl, Suspension } from "../../model/source-control.js";
import type { NodeStatus, SourceStatus } from "../../model/status.js";
import { keys } from "../keys.js";
import {
  encodeOverrides,
  encodeSuspension,
  ENDPOINTS,
  isApproval,
  isSourceStatus,
  STATUS,
  tidyDecision,
  tidySourceStatus,
  tidyStatus,
} from "../records.js";
import { encodeOutbox, isOutbox } from "../outbox-records.js";
import { inForce } from "../suspension.js";
import { electionOf, leads, listRecords, optionalRecord, overridesOf, suspensionOf } from "./lookup.js";
import type { Transactions } from "./transactions.js";

export class LocalControl {
  readonly #store: Transactions;

  constructor(store: Transactions) {
    this.#store = store;
  }

  async writeNodeStatus(status: NodeStatus): Promise<void> {
    await this.#store.change("status", (writer) => {
      writer.put(keys.status(status.node), JSON.stringify(tidyStatus(status)));
      return true;
    });
  }

  async listNodeStatus(): Promise<readonly NodeStatus[]> {
    return this.#store.read((reader) => listRecords(reader, STATUS));
  }

  async writeEndpoints(endpoints: NodeEndpoints): Promise<void> {
    await this.#store.change("endpoints", (writer) => {
      writer.put(keys.endpoints(endpoints.node), JSON.stringify(endpoints));
      return true;
    });
  }

  async listEndpoints(): Promise<readonly NodeEndpoints[]> {
    return this.#store.read((reader) => listRecords(reader, ENDPOINTS));
  }

  async writeSourceStatus(status: SourceStatus, fence: Fence): Promise<boolean> {
    return this.#store.change("status", (writer) => {
      if (!leads(electionOf(writer), fence, this.#store.clock.now())) return false;
      writer.put(keys.source, JSON.stringify(tidySourceStatus(status)));
      return true;
    });
  }

  async readSourceStatus(): Promise<SourceStatus | null> {
    return this.#store.read((reader) => optionalRecord(reader, keys.source, isSourceStatus));
  }

  async requestPoll(request: PollRequest): Promise<void> {
    await this.#store.change("polls", (writer) => {
      writer.put(keys.poll, JSON.stringify(request));
      return true;
    });
  }

  /** Wakes nobody: its writer alone acts on it. */
  async writeOutbox(outbox: Outbox, fence: Fence): Promise<boolean> {
    const text = encodeOutbox(outbox);
    return this.#store.write((writer) => {
      if (!leads(electionOf(writer), fence, this.#store.clock.now())) return false;
      writer.put(keys.outbox, text);
      return true;
    });
  }

  async readOutbox(): Promise<Outbox | null> {
    return this.#store.read((reader) => optionalRecord(reader, keys.outbox, isOutbox));
  }

  async readSourceControl(): Promise<SourceControl> {
    return this.#store.read((reader) => ({
      suspension: inForce(suspensionOf(reader), this.#store.clock.now()),
      approval: optionalRecord(reader, keys.approval, isApproval),
    }));
  }

  async writeSuspension(suspension: Suspension | null): Promise<boolean> {
    return this.#store.change("status", (writer) => {
      if (suspension !== null) writer.put(keys.suspension, encodeSuspension(suspension));
      else if (writer.get(keys.suspension) === undefined) return false;
      else writer.remove(keys.suspension);
      return true;
    });
  }

  async readOverrides(): Promise<readonly Override[]> {
    return this.#store.read(overridesOf);
  }

  async changeOverrides(change: (before: readonly Override[]) => readonly Override[]): Promise<readonly Override[]> {
    let after: readonly Override[] = [];
    await this.#store.change("overrides", (writer) => {
      const before = overridesOf(writer);
      after = change(before);
      if (after !== before) writer.put(keys.overrides, encodeOverrides(after));
      return after !== before;
    });
    return after;
  }

  async writeApproval(approval: Approval): Promise<void> {
    await this.#store.change("status", (writer) => {
      writer.put(keys.approval, JSON.stringify(tidyDecision(approval)));
      return true;
    });
  }
}
