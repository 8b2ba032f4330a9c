/**
 * Manager: as systemd does with socket activation, makes sockets and gives them to a service, which a cgroup of its own gets before
 * it runs its program. The first argument is the descriptor of that cgroup's cgroup.procs.
 *
 * Prints the ports of two listeners: the service inherits the first, and gets each connection of the second in a message. Each line
 * of the standard input is a command for the service, and is answered with a line: `write TEXT COUNT` writes that many times to
 * every connection, `close` closes all of them.
 */
import { spawn, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const self = fileURLToPath(import.meta.url);
const connections: Socket[] = [];

if (process.argv[2] === "service") {
  createServer((connection) => serve(connection, "inherited")).listen({ fd: 4 });
  process.on("message", (message, connection) => {
    if (connection !== undefined) serve(connection as Socket, "handed");
    else void obey(String(message)).then(() => process.send?.("done"));
  });
  process.send?.("ready");
} else {
  const [inherited, handed] = [createServer(), createServer({ pauseOnConnect: true })];
  for (const server of [inherited, handed]) await once(server.listen(0, "0.0.0.0"), "listening");
  const enter = `echo $$ >&5 && exec 5>&- "$1" "$2" service`;
  const stdio: StdioOptions = ["ignore", "inherit", "inherit", "ipc", descriptorOf(inherited), Number(process.argv[2])];
  const service = spawn("sh", ["-c", enter, "sh", process.execPath, self], { stdio });
  service.once("exit", () => process.exit());
  await once(service, "message");
  const ports = [portOf(inherited), portOf(handed)];
  inherited.close();
  handed.on("connection", (connection) => service.send("connection", connection));
  service.on("message", () => process.stdout.write("done\n"));
  const commands = createInterface({ input: process.stdin });
  commands.on("line", (command) => service.send(command));
  commands.once("close", () => service.kill("SIGKILL"));
  process.stdout.write(`${ports.join(" ")}\n`);
}

function serve(connection: Socket, how: string): void {
  connections.push(connection);
  connection.on("error", () => undefined);
  connection.on("data", (data) => connection.write(data));
  connection.write(how);
  connection.resume();
}

async function obey(command: string): Promise<void> {
  const [verb, text = "", count] = command.split(" ");
  if (verb === "write") for (const connection of connections) connection.write(text.repeat(Number(count)));
  else await Promise.all(connections.splice(0).map((connection) => once(connection.destroy(), "close")));
}

/** Node.js has no function for this. */
function descriptorOf(server: Server): number {
  const handle: unknown = Reflect.get(server, "_handle");
  return typeof handle === "object" && handle !== null ? Number(Reflect.get(handle, "fd")) : -1;
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}
