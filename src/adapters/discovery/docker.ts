/** Docker and podman, by the API of Docker on a Unix socket: docs.docker.com/engine/api. */
import { isCount, isString, listOf, nullable, optional, shaped, type Guard } from "../../model/guards.js";
import type { Clock } from "../../interfaces/system.js";
import type { CgroupMount } from "../system/cgroup-mount.js";
import { containerCgroup } from "./container-cgroup.js";
import type { Container, ContainerRuntime, Listing, NamedContainer } from "./containers.js";
import { hostAddresses, NO_HOST_ADDRESS } from "./node-addresses.js";
import { keepWatching, trustedSocket } from "./runtime-socket.js";
import { getJson, getLines, HttpError } from "./socket-http.js";

/** Bounds of one look. */
const LOOK_MS = 10_000;
const MAX_LIST_BYTES = 64 * 1_048_576;
const MAX_CONTAINER_BYTES = 4 * 1_048_576;
const AT_ONCE = 8;
/** A container may use the network namespace of one that uses that of another. */
const MAX_SHARED = 4;

interface Listed {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Image: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
}

interface Network {
  readonly IPAddress?: string;
  readonly GlobalIPv6Address?: string;
}

interface Inspected {
  readonly State: { readonly Pid: number };
  readonly Config: { readonly Image: string };
  readonly HostConfig: { readonly NetworkMode: string };
  readonly NetworkSettings: { readonly Networks?: Readonly<Record<string, Network>> | null };
}

const isLabels: Guard<Readonly<Record<string, string>>> = (value): value is Readonly<Record<string, string>> =>
  typeof value === "object" && value !== null && Object.values(value).every(isString);
const isNetwork = shaped<Network>({ IPAddress: optional(isString), GlobalIPv6Address: optional(isString) });
const isNetworks: Guard<Readonly<Record<string, Network>>> = (value): value is Readonly<Record<string, Network>> =>
  typeof value === "object" && value !== null && Object.values(value).every(isNetwork);
const isList = listOf(
  shaped<Listed>({
    Id: isString,
    Names: listOf(isString),
    Image: isString,
    Labels: optional(nullable(isLabels)),
  }),
);
const isInspected = shaped<Inspected>({
  State: shaped<Inspected["State"]>({ Pid: isCount }),
  Config: shaped<Inspected["Config"]>({ Image: isString }),
  HostConfig: shaped<Inspected["HostConfig"]>({ NetworkMode: isString }),
  NetworkSettings: shaped<Inspected["NetworkSettings"]>({ Networks: optional(nullable(isNetworks)) }),
});

interface Known {
  /** What the list said. */
  readonly said: string;
  readonly container: Container;
}

export interface DockerOptions {
  /** `Docker`, `podman`. */
  readonly product: string;
  readonly socket: string;
  readonly mount: CgroupMount;
  readonly clock: Clock;
  /** See LOOK_MS. */
  readonly lookMs?: number;
}

export class DockerRuntime implements ContainerRuntime {
  readonly name: string;
  /** By ID: what was asked before, of containers of which the list says the same. */
  #known: ReadonlyMap<string, Known> = new Map();

  constructor(private readonly options: DockerOptions) {
    this.name = `${options.product} at ${options.socket}`;
  }

  async list(
    isWanted: (container: NamedContainer) => boolean,
    newborns: readonly string[] = [],
  ): Promise<Listing | null> {
    const socket = trustedSocket(this.options.socket);
    if (socket === null) return null;
    const api = new DockerApi(socket, AbortSignal.timeout(this.options.lookMs ?? LOOK_MS));
    const running = await api.list();
    const wanted = running.filter((one) => isWanted(named(one)));
    const asked = await findNewborns(running, newborns, api);
    const known = new Map<string, Known>();
    const problems: string[] = [];
    const containers: Container[] = [];
    const queue = [...wanted];
    const work = async (): Promise<void> => {
      for (let one = queue.pop(); one !== undefined; one = queue.pop()) {
        const container = await this.#describe(one, api, known, problems);
        if (container !== null) containers.push(container);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    this.#known = known;
    return { containers, problems, newborns: new Map(asked.map((one) => [one.Id, isWanted(named(one))])) };
  }

  async watch(signal: AbortSignal, onChange: () => void): Promise<void> {
    const { clock, socket } = this.options;
    await keepWatching(clock, signal, async (onBegin) => {
      const path = trustedSocket(socket);
      if (path === null) return;
      const begin = (): void => {
        onBegin();
        onChange();
      };
      const line = (text: string): void => {
        if (isRelevant(text)) onChange();
      };
      // What is there when the runtime comes back, and what is gone with it.
      await getLines(path, "/events", signal, { begin, line }).finally(onChange);
    });
  }

  async #describe(
    listed: Listed,
    api: DockerApi,
    known: Map<string, Known>,
    problems: string[],
  ): Promise<Container | null> {
    const said = JSON.stringify(listed);
    const before = this.#known.get(listed.Id);
    if (before?.said === said) {
      known.set(listed.Id, before);
      return before.container;
    }
    const found = await api.inspect(listed.Id);
    if (found === null || found.State.Pid === 0) return null;
    const { Pid } = found.State;
    const cgroup = containerCgroup(this.options.mount, Pid, listed.Id);
    const { name, labels } = named(listed);
    if (cgroup === null) {
      problems.push(`${this.name}: container ${name} has no cgroup of its own below the cgroup root`);
      return null;
    }
    const images = [...new Set([found.Config.Image, listed.Image])];
    const container = { id: listed.Id, name, images, labels, cgroup, addresses: await addressesOf(found, api) };
    // What it shares with another container may change without a trace in the list.
    if (!found.HostConfig.NetworkMode.startsWith("container:")) known.set(listed.Id, { said, container });
    return container;
  }
}

class DockerApi {
  constructor(
    private readonly socket: string,
    private readonly signal: AbortSignal,
  ) {}

  async list(query = ""): Promise<readonly Listed[]> {
    const list = await getJson(this.socket, `/containers/json${query}`, this.signal, MAX_LIST_BYTES);
    if (!isList(list)) throw new Error("its list of containers cannot be read");
    return list;
  }

  /** Returns null if the container is gone. */
  async inspect(id: string): Promise<Inspected | null> {
    try {
      const path = `/containers/${encodeURIComponent(id)}/json`;
      const found = await getJson(this.socket, path, this.signal, MAX_CONTAINER_BYTES);
      if (!isInspected(found)) throw new Error(`what it says of container ${id} cannot be read`);
      return found;
    } catch (error) {
      if (error instanceof HttpError && error.status === 404) return null;
      throw error;
    }
  }
}

/** Returns what the runtime says of newborn containers. The list of all is only asked for if the shorter one lacks some. */
async function findNewborns(
  running: readonly Listed[],
  newborns: readonly string[] = [],
  api: DockerApi,
): Promise<readonly Listed[]> {
  const ids = new Set(newborns);
  const found = running.filter(({ Id }) => ids.has(Id));
  return found.length === ids.size ? found : (await api.list("?all=true")).filter(({ Id }) => ids.has(Id));
}

function named({ Names, Labels }: Listed): NamedContainer {
  // Docker's old links add names such as `/other/alias`.
  const name = Names.find((one) => one.lastIndexOf("/") <= 0) ?? "";
  return { name: name.replace(/^\//, ""), labels: Labels ?? {} };
}

/** See Container. */
async function addressesOf(container: Inspected, api: DockerApi): Promise<readonly string[]> {
  let owner: Inspected | null = container;
  for (let count = 0; owner !== null && count < MAX_SHARED; count += 1) {
    const { NetworkMode } = owner.HostConfig;
    if (NetworkMode === "host") return [];
    if (!NetworkMode.startsWith("container:")) break;
    owner = await api.inspect(NetworkMode.slice("container:".length));
  }
  const networks = Object.values(owner?.NetworkSettings.Networks ?? {});
  const own = hostAddresses(
    networks.flatMap(({ IPAddress = "", GlobalIPv6Address = "" }) => [IPAddress, GlobalIPv6Address]),
  );
  return own.length > 0 ? own : [NO_HOST_ADDRESS];
}

/** Health checks and commands that people run make an event each. */
function isRelevant(line: string): boolean {
  return !/"(Action|status)":"(exec|health_status|top|attach|resize|export)/i.test(line);
}
