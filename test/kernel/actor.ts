/**
 * Actor: a process that tests place into a cgroup and a network namespace, and that opens sockets
 * on command. One JSON command a line on stdin, one JSON answer a line on stdout, matched by `call`.
 */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { connect, createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { pause } from "../wait.js";

interface Peer {
  readonly socket: Socket;
  text: string;
  closed: boolean;
}

interface Datagrams {
  readonly socket: UdpSocket;
  readonly received: { readonly text: string; readonly address: string; readonly port: number }[];
}

interface Flood {
  passed: number;
  refused: number;
  isOn: boolean;
}

const servers: Server[] = [];
const peers: Peer[] = [];
const datagrams: Datagrams[] = [];
const floods: Flood[] = [];
const waiting = new Set<() => void>();

function changed(): void {
  for (const wake of [...waiting]) wake();
}

/** Resolves when `condition` gives something; the tests bound it by ending the process. */
function until<T>(condition: () => T | undefined): Promise<T> {
  return new Promise((resolve) => {
    const look = (): void => {
      const found = condition();
      if (found === undefined) return;
      waiting.delete(look);
      resolve(found);
    };
    waiting.add(look);
    look();
  });
}

function adopt(socket: Socket, echo: boolean): number {
  const peer: Peer = { socket, text: "", closed: false };
  socket.setNoDelay(true);
  socket.on("data", (data) => {
    peer.text += data.toString();
    if (echo) socket.write(data);
    changed();
  });
  socket.on("error", () => undefined);
  socket.on("close", () => {
    peer.closed = true;
    changed();
  });
  changed();
  return peers.push(peer) - 1;
}

type Command = Readonly<Record<string, unknown>>;
const text = (command: Command, name: string): string => {
  const value = command[name];
  return typeof value === "string" ? value : "";
};
const number = (command: Command, name: string): number => Number(command[name] ?? 0);

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}

const commands: Readonly<Record<string, (command: Command) => Promise<unknown>>> = {
  /** An echo server. */
  tcpListen: (command) =>
    new Promise((resolve) => {
      const server = createServer((socket) => adopt(socket, true));
      servers.push(server);
      server.on("error", (error) => resolve({ code: codeOf(error) }));
      server.listen(number(command, "port"), text(command, "host"), () => {
        const address = server.address();
        resolve({ port: typeof address === "object" && address !== null ? address.port : 0 });
      });
    }),
  tcpConnect: (command) =>
    new Promise((resolve) => {
      const from = command["from"] === undefined ? undefined : text(command, "from");
      const socket = connect({ host: text(command, "host"), port: number(command, "port"), localAddress: from });
      socket.once("connect", () => resolve({ id: adopt(socket, false) }));
      socket.once("error", (error) => resolve({ code: codeOf(error) }));
    }),
  tcpSend: (command) => {
    peers[number(command, "id")]?.socket.write(text(command, "text"));
    return Promise.resolve({});
  },
  tcpWait: (command) =>
    until(() => {
      const peer = peers[number(command, "id")];
      return peer !== undefined && (peer.text.includes(text(command, "text")) || peer.closed)
        ? { text: peer.text }
        : undefined;
    }),
  tcpReceived: (command) => Promise.resolve({ text: peers[number(command, "id")]?.text ?? "" }),
  tcpAccepted: () => Promise.resolve({ count: peers.length }),
  udpBind: (command) =>
    new Promise((resolve) => {
      const socket = createSocket(text(command, "host").includes(":") ? "udp6" : "udp4");
      const one: Datagrams = { socket, received: [] };
      const id = datagrams.push(one) - 1;
      socket.on("message", (message, from) => {
        one.received.push({ text: message.toString(), address: from.address, port: from.port });
        if (command["echo"] === true) socket.send(message, from.port, from.address);
        changed();
      });
      socket.on("error", (error) => resolve({ code: codeOf(error) }));
      socket.bind(number(command, "port"), text(command, "host"), () => resolve({ id, port: socket.address().port }));
    }),
  udpConnect: (command) =>
    new Promise((resolve) => {
      const socket = datagrams[number(command, "id")]?.socket;
      try {
        socket?.once("connect", () => resolve({}));
        socket?.once("error", (error) => resolve({ code: codeOf(error) }));
        socket?.connect(number(command, "port"), text(command, "host"));
      } catch (error) {
        resolve({ code: codeOf(error) });
      }
    }),
  udpSend: (command) =>
    new Promise((resolve) => {
      const socket = datagrams[number(command, "id")]?.socket;
      socket?.send(text(command, "text"), number(command, "port"), text(command, "host"), (error) =>
        resolve(error === null ? {} : { code: codeOf(error) }),
      );
    }),
  /** Sends one datagram after the other until udpStop, and counts which of them left. */
  udpFlood: (command) => {
    const socket = datagrams[number(command, "id")]?.socket;
    const flood: Flood = { passed: 0, refused: 0, isOn: true };
    const send = (): void => {
      if (!flood.isOn) return;
      socket?.send("x", number(command, "port"), text(command, "host"), (error) => {
        if (error === null) flood.passed += 1;
        else flood.refused += 1;
        changed();
        // A pause leaves the machine to others; without one, the shortest gap is found.
        if (command["pauseMs"] !== undefined) void pause(number(command, "pauseMs")).then(send);
        else setImmediate(send);
      });
    };
    send();
    return Promise.resolve({ id: floods.push(flood) - 1 });
  },
  /** Resolves when so many more datagrams were sent. */
  udpFlooded: (command) => {
    const sent = (): number => {
      const flood = floods[number(command, "id")];
      return (flood?.passed ?? 0) + (flood?.refused ?? 0);
    };
    const goal = sent() + number(command, "count");
    return until(() => (sent() >= goal ? {} : undefined));
  },
  udpStop: (command) => {
    const flood = floods[number(command, "id")];
    if (flood !== undefined) flood.isOn = false;
    return Promise.resolve({ passed: flood?.passed, refused: flood?.refused });
  },
  udpWait: (command) =>
    until(() => datagrams[number(command, "id")]?.received.find((one) => one.text === text(command, "text"))),
  udpReceived: (command) => Promise.resolve({ received: datagrams[number(command, "id")]?.received ?? [] }),
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const command: Command = JSON.parse(line);
  void commands[text(command, "do")]?.(command).then((answer) => {
    process.stdout.write(`${JSON.stringify({ call: command["call"], answer })}\n`);
  });
});
process.stdin.on("close", () => process.exit(0));
process.stdout.write(`${JSON.stringify({ call: 0, answer: { ready: true } })}\n`);
