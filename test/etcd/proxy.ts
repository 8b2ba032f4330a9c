/**
 * A TCP proxy in front of one etcd member, for faults of the network: it cuts connections, goes
 * silent, refuses, and loses single answers of the member.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

interface Link {
  readonly client: Socket;
  readonly server: Socket;
}

export class Proxy {
  /** `host:port` to connect to in place of the member's own. */
  endpoint = "";
  /** How many connections were ever made, and how many answers were lost. */
  connections = 0;
  lost = 0;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #mode: "open" | "silent" | "refusing" = "open";
  #loseAfter: string | null = null;
  #isLosing = false;
  #loseWith: string | null = null;

  private constructor(target: string) {
    const [host = "", port = ""] = target.split(":");
    this.#server = createServer({ allowHalfOpen: false }, (client) => this.#accept(client, host, Number(port)));
  }

  static async start(target: string): Promise<Proxy> {
    const proxy = new Proxy(target);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    const address = proxy.#server.address();
    if (address !== null && typeof address === "object") proxy.endpoint = `127.0.0.1:${address.port}`;
    return proxy;
  }

  /** Ends every connection; new ones are taken. Forgets what was to be lost. */
  cut(): void {
    this.#isLosing = false;
    this.#loseAfter = null;
    for (const { client, server } of this.#links) {
      client.destroy();
      server.destroy();
    }
  }

  /** Connections stay and new ones are taken, but nothing passes any more. */
  silence(): void {
    this.#mode = "silent";
  }

  /** Ends every connection and takes no new one. */
  refuse(): void {
    this.#mode = "refusing";
    this.cut();
  }

  /** Takes connections again; those that were silenced are cut, since bytes of theirs are gone. */
  heal(): void {
    this.#mode = "open";
    this.cut();
  }

  /** Once a request with this text has passed, nothing of the member's gets back, until `cut`. */
  loseAnswersAfter(text: string): void {
    this.#loseAfter = text;
  }

  /** Loses the next that the member sends with this text in it. */
  loseAnswerWith(text: string): void {
    this.#loseWith = text;
  }

  async close(): Promise<void> {
    this.cut();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  #accept(client: Socket, host: string, port: number): void {
    this.connections += 1;
    if (this.#mode === "refusing") return void client.destroy();
    const server = connect(port, host);
    const link = { client, server };
    this.#links.add(link);
    const end = (): void => {
      this.#links.delete(link);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.setNoDelay(true).on("error", end).on("close", end);
    client.on("data", (chunk: Buffer) => {
      if (this.#mode === "silent") return;
      if (this.#loseAfter !== null && chunk.includes(this.#loseAfter)) this.#isLosing = true;
      server.write(chunk);
    });
    server.on("data", (chunk: Buffer) => {
      if (this.#mode === "silent") return;
      const isTheOne = this.#loseWith !== null && chunk.includes(this.#loseWith);
      if (isTheOne) this.#loseWith = null;
      if (isTheOne || this.#isLosing) this.lost += 1;
      else client.write(chunk);
    });
  }
}
