import type { ManagementAccessReader } from "../../src/interfaces/management-access.js";
import type { ControlServer, NeededConnection, Session } from "../../src/model/management-access.js";

/** What a machine is managed through, as a test says; it may be changed between two calls. */
export interface FakeAccess {
  agent: string | null;
  problem: string | null;
  sessions: readonly Session[];
  servers: readonly ControlServer[];
  needs: readonly NeededConnection[];
  /** Whether the searches end before their time is over. */
  isComplete: boolean;
}

export function fakeAccess(given: Partial<FakeAccess> = {}): FakeAccess & { readonly reader: ManagementAccessReader } {
  const access: FakeAccess = {
    agent: null,
    problem: null,
    sessions: [],
    servers: [],
    needs: [],
    isComplete: true,
    ...given,
  };
  const reader: ManagementAccessReader = {
    ownCgroup: () => access.agent,
    problem: () => access.problem,
    sessions: async () => ({ items: access.sessions, isComplete: access.isComplete }),
    servers: async () => ({ items: access.servers, isComplete: access.isComplete }),
    needs: async () => access.needs,
  };
  return Object.assign(access, { reader });
}
