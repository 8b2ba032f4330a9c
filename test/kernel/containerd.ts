/**
 * A containerd of a test's own, with its CRI: its storage, its network namespace, and a pure cgroup v2. It sets no limits, since
 * cgroup v2 may have no controllers here: then a container's cgroup lies at the root.
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client, credentials } from "@grpc/grpc-js";
import protobuf from "protobufjs";
import { waitUntil } from "../wait.js";
import { freezeProcess } from "./freeze.js";

const run = promisify(execFile);
const PROGRAMS = ["/usr/bin/containerd", "/usr/bin/ctr", "/usr/sbin/runc", "/usr/lib/cni/bridge", "/bin/busybox"];

/** Returns why containerd cannot be tested here; null if it can. */
export function whyNoContainerd(): string | null {
  const missing = PROGRAMS.filter((path) => !existsSync(path));
  return missing.length === 0 ? null : `missing: ${missing.join(", ")}; \`sh bin/setup tests\` brings them`;
}

/** What makes containers: the messages of CRI, as far as a test fills them in. */
const CRI = `
syntax = "proto3";
message NamespaceOption { uint32 network = 1; }
message Security { NamespaceOption namespace_options = 1; }
message LinuxPod { Security security_context = 2; }
message PodMeta { string name = 1; string uid = 2; string namespace = 3; uint32 attempt = 4; }
message Pod { PodMeta metadata = 1; string hostname = 2; string log_directory = 3; map<string, string> labels = 6; LinuxPod linux = 8; }
message RunPodSandboxRequest { Pod config = 1; }
message RunPodSandboxResponse { string pod_sandbox_id = 1; }
message Meta { string name = 1; uint32 attempt = 2; }
message ImageSpec { string image = 1; }
message Config { Meta metadata = 1; ImageSpec image = 2; repeated string command = 3; map<string, string> labels = 9; }
message CreateContainerRequest { string pod_sandbox_id = 1; Config config = 2; Pod sandbox_config = 3; }
message CreateContainerResponse { string container_id = 1; }
message StartContainerRequest { string container_id = 1; }
message StartContainerResponse {}
message RemovePodSandboxRequest { string pod_sandbox_id = 1; }
message RemovePodSandboxResponse {}
message StopPodSandboxRequest { string pod_sandbox_id = 1; }
message StopPodSandboxResponse {}
`;
const { root: messages } = protobuf.parse(CRI);

export const IMAGE = "registry.example.com/shop/web:1";

export interface PodContainer {
  readonly pod: string;
  readonly container: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly isOnHostNetwork?: boolean;
}

export class Containerd {
  readonly folder = mkdtempSync(join(tmpdir(), "ztap-containerd-"));
  readonly socket = join(this.folder, "containerd.sock");
  readonly #process: ChildProcess;
  readonly #pods: string[] = [];
  #client: Client | null = null;

  constructor() {
    chmodSync(this.folder, 0o700);
    mkdirSync(join(this.folder, "cni"));
    const ipam = { type: "host-local", subnet: "10.99.0.0/24", dataDir: join(this.folder, "ipam") };
    const bridge = { type: "bridge", bridge: "cni0", isGateway: true, ipam };
    writeFileSync(
      join(this.folder, "cni/1.conflist"),
      JSON.stringify({ cniVersion: "0.4.0", name: "ztap", plugins: [bridge] }),
    );
    writeFileSync(join(this.folder, "config.toml"), this.#config());
    const prepare = `umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; ip link set lo up; exec containerd --config ${join(this.folder, "config.toml")}`;
    const options = {
      stdio: "ignore",
      env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` },
    } as const;
    this.#process = spawn("unshare", ["--mount", "--net", "sh", "-c", prepare], options);
  }

  async start(): Promise<void> {
    await waitUntil(() => existsSync(this.socket), { what: "containerd's socket" });
    await run("ctr", ["--address", this.socket, "--namespace", "k8s.io", "images", "import", await this.#image()]);
    this.#client = new Client(`unix:${this.socket}`, credentials.createInsecure());
  }

  /** Starts a pod with one container. @returns its ID */
  async run({ pod, container, labels = {}, isOnHostNetwork = false }: PodContainer): Promise<string> {
    const config = {
      metadata: { name: pod, uid: pod, namespace: "shop" },
      labels,
      linux: {
        securityContext: { namespaceOptions: { network: isOnHostNetwork ? 2 : 0 } },
      },
    };
    const { podSandboxId } = await this.#call("RunPodSandbox", { config });
    this.#pods.push(String(podSandboxId));
    const made = { metadata: { name: container }, image: { image: IMAGE }, command: ["sleep", "86400"] };
    const { containerId } = await this.#call("CreateContainer", { podSandboxId, config: made, sandboxConfig: config });
    await this.#call("StartContainer", { containerId });
    return String(containerId);
  }

  async removeAll(): Promise<void> {
    for (let pod = this.#pods.pop(); pod !== undefined; pod = this.#pods.pop()) {
      await this.#call("StopPodSandbox", { podSandboxId: pod });
      await this.#call("RemovePodSandbox", { podSandboxId: pod });
    }
  }

  freeze(): Promise<void> {
    return freezeProcess(this.#process);
  }

  thaw(): void {
    this.#process.kill("SIGCONT");
  }

  async clear(): Promise<void> {
    try {
      this.thaw();
      await this.removeAll();
    } finally {
      this.#client?.close();
      const ended = new Promise((resolve) => this.#process.once("exit", resolve));
      this.#process.kill("SIGTERM");
      await ended;
      rmSync(this.folder, { recursive: true, force: true });
    }
  }

  async #call(name: string, request: object): Promise<Readonly<Record<string, unknown>>> {
    const [wanted, answered] = [messages.lookupType(`${name}Request`), messages.lookupType(`${name}Response`)];
    return new Promise((resolve, reject) => {
      this.#client?.makeUnaryRequest(
        `/runtime.v1.RuntimeService/${name}`,
        (value: object) => Buffer.from(wanted.encode(wanted.fromObject(value)).finish()),
        (bytes: Buffer) => answered.toObject(answered.decode(bytes)),
        request,
        (error, answer) =>
          error === null && answer !== undefined ? resolve(answer) : reject(error ?? new Error(name)),
      );
    });
  }

  /** Makes an archive as `docker save` writes it. */
  async #image(): Promise<string> {
    const [rootFolder, archive] = [join(this.folder, "image"), join(this.folder, "archive")];
    mkdirSync(join(rootFolder, "bin"), { recursive: true });
    mkdirSync(archive);
    copyFileSync("/bin/busybox", join(rootFolder, "bin/busybox"));
    symlinkSync("busybox", join(rootFolder, "bin/sleep"));
    await run("tar", ["-C", rootFolder, "-cf", join(archive, "layer.tar"), "."]);
    const digest = createHash("sha256")
      .update(readFileSync(join(archive, "layer.tar")))
      .digest("hex");
    const config = {
      architecture: "amd64",
      os: "linux",
      config: { Cmd: ["sleep", "86400"], Env: ["PATH=/bin"] },
      rootfs: { type: "layers", diff_ids: [`sha256:${digest}`] },
    };
    writeFileSync(join(archive, "config.json"), JSON.stringify(config));
    writeFileSync(
      join(archive, "manifest.json"),
      JSON.stringify([{ Config: "config.json", RepoTags: [IMAGE], Layers: ["layer.tar"] }]),
    );
    const file = join(this.folder, "archive.tar");
    await run("tar", ["-C", archive, "-cf", file, "manifest.json", "config.json", "layer.tar"]);
    return file;
  }

  #config(): string {
    const { folder } = this;
    return `
version = 2
root = "${folder}/root"
state = "${folder}/state"
[grpc]
  address = "${this.socket}"
[ttrpc]
  address = "${folder}/ttrpc.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  disable_apparmor = true
  disable_cgroup = true
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`;
  }
}
