/**
 * containerd and CRI-O, by the Container Runtime Interface on a Unix socket. A container is called
 * `POD-NAMESPACE_POD_CONTAINER`; its labels are its own and those of its pod.
 */
import { Client, credentials, status as Status, type ServiceError } from "@grpc/grpc-js";
import type { Clock } from "../../interfaces/system.js";
import type { CgroupMount } from "../system/cgroup-mount.js";
import { containerCgroup } from "./container-cgroup.js";
import type { Container, ContainerRuntime, Listing, NamedContainer } from "./containers.js";
import {
  CONTAINER_RUNNING,
  decodeAnswer,
  encodeRequest,
  NODE_NAMESPACE,
  type CriAnswers,
  type CriCall,
  type CriContainer,
  type CriSandbox,
} from "./cri-messages.js";
import { hostAddresses, NO_HOST_ADDRESS } from "./node-addresses.js";
import { keepWatching, trustedSocket } from "./runtime-socket.js";

/** Bounds of one look. */
const LOOK_MS = 10_000;
const MAX_BYTES = 64 * 1_048_576;
const AT_ONCE = 8;

export interface CriOptions {
  readonly socket: string;
  readonly mount: CgroupMount;
  readonly clock: Clock;
  /** See LOOK_MS. */
  readonly lookMs?: number;
}

export class CriRuntime implements ContainerRuntime {
  readonly name: string;
  /** By ID. A container of CRI keeps its cgroup, its labels and its addresses for as long as it runs. */
  #known: ReadonlyMap<string, Container> = new Map();

  constructor(private readonly options: CriOptions) {
    this.name = `CRI at ${options.socket}`;
  }

  async list(
    isWanted: (container: NamedContainer) => boolean,
    newborns: readonly string[] = [],
  ): Promise<Listing | null> {
    const socket = trustedSocket(this.options.socket);
    if (socket === null) return null;
    const api = new CriApi(socket, this.options.clock.now() + (this.options.lookMs ?? LOOK_MS));
    try {
      return await this.#listBy(api, isWanted, newborns);
    } catch (error) {
      // A containerd that only Docker uses has no CRI.
      if (isServiceError(error) && error.code === Status.UNIMPLEMENTED) return null;
      throw error;
    } finally {
      api.close();
    }
  }

  /** Not every version tells of events: then the folders of the cgroups wake the agent, and its regular check. */
  async watch(signal: AbortSignal, onChange: () => void): Promise<void> {
    await keepWatching(this.options.clock, signal, async (onBegin) => {
      const socket = trustedSocket(this.options.socket);
      if (socket === null) return;
      const begin = (): void => {
        onBegin();
        onChange();
      };
      await new CriApi(socket, Number.POSITIVE_INFINITY).follow(signal, begin, onChange).finally(onChange);
    });
  }

  async #listBy(
    api: CriApi,
    isWanted: (container: NamedContainer) => boolean,
    newborns: readonly string[],
  ): Promise<Listing> {
    const running = { filter: { state: { state: CONTAINER_RUNNING } } };
    const [{ containers: all }, { items }] = await Promise.all([
      api.call("ListContainers", running),
      api.call("ListPodSandbox", {}),
    ]);
    const sandboxes = new Map(items.map((one) => [one.id, one]));
    const queue = all.flatMap((listed) => {
      const names = named(listed, sandboxes.get(listed.podSandboxId));
      return isWanted(names) ? [{ listed, names }] : [];
    });
    const containers: Container[] = [];
    const problems: string[] = [];
    const work = async (): Promise<void> => {
      for (let one = queue.pop(); one !== undefined; one = queue.pop()) {
        const { listed, names } = one;
        const found = this.#known.get(listed.id) ?? (await this.#describe(listed, names, api));
        if (typeof found === "string") problems.push(found);
        else if (found !== null) containers.push(found);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    this.#known = new Map(containers.map((container) => [container.id, container]));
    const asked = newborns.length === 0 ? [] : (await api.call("ListContainers", {})).containers;
    const known = asked.map((one) => [one.id, isWanted(named(one, sandboxes.get(one.podSandboxId)))] as const);
    // What holds the namespaces of a pod is no workload's.
    return { containers, problems, newborns: new Map([...items.map(({ id }) => [id, false] as const), ...known]) };
  }

  /** Returns null for a container that is gone, and a text for one that cannot be enforced. */
  async #describe(listed: CriContainer, names: NamedContainer, api: CriApi): Promise<Container | string | null> {
    try {
      const [answer, addresses] = await Promise.all([
        api.call("ContainerStatus", { containerId: listed.id, verbose: true }),
        addressesOf(listed.podSandboxId, api),
      ]);
      const pid = pidOf(answer.info);
      const cgroup = pid === null ? null : containerCgroup(this.options.mount, pid, listed.id);
      if (cgroup === null)
        return `${this.name}: container ${names.name} has no cgroup of its own below the cgroup root, or no process is told`;
      const texts = [answer.status?.image, listed.image].flatMap((one) => [one?.userSpecifiedImage, one?.image]);
      const images = [...new Set(texts.filter((text) => text !== undefined && text !== ""))];
      return { ...names, id: listed.id, images: images.map(String), cgroup, addresses };
    } catch (error) {
      if (isServiceError(error) && error.code === Status.NOT_FOUND) return null;
      throw error;
    }
  }
}

class CriApi {
  readonly #client: Client;

  constructor(
    socket: string,
    private readonly deadline: number,
  ) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure(), {
      "grpc.max_receive_message_length": MAX_BYTES,
      "grpc.use_local_subchannel_pool": 1,
    });
  }

  async call<C extends CriCall>(call: C, request: object): Promise<CriAnswers[C]> {
    const { deadline } = this;
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `/runtime.v1.RuntimeService/${call}`,
        (value: object) => encodeRequest(call, value),
        (bytes: Buffer) => decodeAnswer(call, bytes),
        request,
        { deadline },
        (error, answer) => {
          if (error !== null) reject(error);
          else if (answer === undefined) reject(new Error("there is no answer"));
          else resolve(answer);
        },
      );
    });
  }

  /** Follows the events of containers until they end or the signal aborts; what they say is not read. */
  async follow(signal: AbortSignal, onBegin: () => void, onEvent: () => void): Promise<void> {
    const stream = this.#client.makeServerStreamRequest(
      "/runtime.v1.RuntimeService/GetContainerEvents",
      () => Buffer.alloc(0),
      () => true,
      {},
    );
    const stop = (): void => stream.cancel();
    signal.addEventListener("abort", stop);
    try {
      await new Promise<void>((resolve, reject) => {
        stream.on("metadata", onBegin).on("data", onEvent).on("end", resolve).on("error", reject);
      });
    } finally {
      signal.removeEventListener("abort", stop);
      this.close();
    }
  }

  close(): void {
    this.#client.close();
  }
}

function named({ metadata, labels }: CriContainer, sandbox: CriSandbox | undefined): NamedContainer {
  const names = [sandbox?.metadata?.namespace, sandbox?.metadata?.name, metadata?.name];
  return { name: names.map((one) => one ?? "").join("_"), labels: { ...sandbox?.labels, ...labels } };
}

/** Returns the process of a container, from what containerd and CRI-O say in JSON. */
function pidOf(info: Readonly<Record<string, string>>): number | null {
  const value: unknown = JSON.parse(info["info"] ?? "null");
  const pid: unknown = typeof value === "object" && value !== null && "pid" in value ? value.pid : null;
  return Number.isSafeInteger(pid) && Number(pid) > 0 ? Number(pid) : null;
}

/** See Container. */
async function addressesOf(sandbox: string, api: CriApi): Promise<readonly string[]> {
  const { status } = await api.call("PodSandboxStatus", { podSandboxId: sandbox });
  if (status?.linux?.namespaces?.options?.network === NODE_NAMESPACE) return [];
  const { ip = "", additionalIps = [] } = status?.network ?? {};
  const own = hostAddresses([ip, ...additionalIps.map((one) => one.ip)]);
  return own.length > 0 ? own : [NO_HOST_ADDRESS];
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && typeof error.code === "number";
}
