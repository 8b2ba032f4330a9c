/**
 * The part of the Container Runtime Interface (runtime.v1 of Kubernetes, Apache-2.0) that finds containers: calls, and the
 * fields of their messages that are read. Protocol buffers pass over all other fields.
 */
import protobuf from "protobufjs";

const CRI = `
syntax = "proto3";
package runtime.v1;

message Metadata { string name = 1; }
message PodMetadata { string name = 1; string namespace = 3; }
message ImageSpec { string image = 1; string user_specified_image = 18; }

message StateValue { uint32 state = 1; }
message ContainerFilter { StateValue state = 2; }
message ListContainersRequest { ContainerFilter filter = 1; }
message Container {
  string id = 1;
  string pod_sandbox_id = 2;
  Metadata metadata = 3;
  ImageSpec image = 4;
  map<string, string> labels = 8;
}
message ListContainersResponse { repeated Container containers = 1; }

message ListPodSandboxRequest {}
message PodSandbox { string id = 1; PodMetadata metadata = 2; map<string, string> labels = 5; }
message ListPodSandboxResponse { repeated PodSandbox items = 1; }

message ContainerStatusRequest { string container_id = 1; bool verbose = 2; }
message ContainerStatus { ImageSpec image = 8; }
message ContainerStatusResponse { ContainerStatus status = 1; map<string, string> info = 2; }

message PodSandboxStatusRequest { string pod_sandbox_id = 1; }
message PodIP { string ip = 1; }
message Network { string ip = 1; repeated PodIP additional_ips = 2; }
message NamespaceOption { uint32 network = 1; }
message Namespace { NamespaceOption options = 2; }
message LinuxPodSandboxStatus { Namespace namespaces = 1; }
message PodSandboxStatus { Network network = 5; LinuxPodSandboxStatus linux = 6; }
message PodSandboxStatusResponse { PodSandboxStatus status = 1; }
`;

/** ContainerState of CRI. */
export const CONTAINER_RUNNING = 1;
/** NamespaceMode of CRI: the host's namespace. */
export const NODE_NAMESPACE = 2;

interface Image {
  readonly image: string;
  readonly userSpecifiedImage: string;
}

export interface CriContainer {
  readonly id: string;
  readonly podSandboxId: string;
  readonly metadata: { readonly name: string } | null;
  readonly image: Image | null;
  readonly labels: Readonly<Record<string, string>>;
}

export interface CriSandbox {
  readonly id: string;
  readonly metadata: { readonly name: string; readonly namespace: string } | null;
  readonly labels: Readonly<Record<string, string>>;
}

interface ContainerStatusAnswer {
  readonly status: { readonly image: Image | null } | null;
  readonly info: Readonly<Record<string, string>>;
}

interface SandboxStatusAnswer {
  readonly status: {
    readonly network: { readonly ip: string; readonly additionalIps: readonly { readonly ip: string }[] } | null;
    readonly linux: {
      readonly namespaces: { readonly options: { readonly network: number } | null } | null;
    } | null;
  } | null;
}

/** What each call answers. Decoding fills every field in: its type is that of the message above. */
export interface CriAnswers {
  readonly ListContainers: { readonly containers: readonly CriContainer[] };
  readonly ListPodSandbox: { readonly items: readonly CriSandbox[] };
  readonly ContainerStatus: ContainerStatusAnswer;
  readonly PodSandboxStatus: SandboxStatusAnswer;
}

export type CriCall = keyof CriAnswers;

const { root } = protobuf.parse(CRI);

export function encodeRequest(call: CriCall, request: object): Buffer {
  const type = root.lookupType(`runtime.v1.${call}Request`);
  return Buffer.from(type.encode(type.fromObject(request)).finish());
}

/** @throws Error if the bytes are no such message */
export function decodeAnswer<C extends CriCall>(call: C, bytes: Buffer): CriAnswers[C] {
  const type = root.lookupType(`runtime.v1.${call}Response`);
  // The one place where the type of an answer is asserted: the message above gives it.
  return type.toObject(type.decode(bytes), { defaults: true, arrays: true, objects: true }) as CriAnswers[C];
}
