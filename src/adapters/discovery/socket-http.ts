/** HTTP over a Unix socket, with bounds on the size and the time of an answer. */
import { request, type IncomingMessage } from "node:http";

const MAX_LINE = 1_048_576;

export class HttpError extends Error {
  constructor(readonly status: number) {
    super(`the answer has status ${status}`);
  }
}

/** @throws Error if there is no answer in that time and size, HttpError if its status is another than 200 */
export async function getJson(
  socketPath: string,
  path: string,
  signal: AbortSignal,
  mostBytes: number,
): Promise<unknown> {
  const response = await open(socketPath, path, signal);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostBytes) throw new Error(`the answer is larger than ${mostBytes} bytes`);
    chunks.push(chunk);
  }
  const value: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  return value;
}

/** Calls with each line of an answer that goes on; lines that are too long are passed over. */
export async function getLines(
  socketPath: string,
  path: string,
  signal: AbortSignal,
  on: { readonly begin: () => void; readonly line: (line: string) => void },
): Promise<void> {
  const response = await open(socketPath, path, signal);
  on.begin();
  let rest = "";
  let isTooLong = false;
  response.setEncoding("utf8");
  for await (const chunk of response as AsyncIterable<string>) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!isTooLong) on.line(line);
      isTooLong = false;
    }
    if (rest.length > MAX_LINE) [rest, isTooLong] = ["", true];
  }
}

async function open(socketPath: string, path: string, signal: AbortSignal): Promise<IncomingMessage> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const call = request({ socketPath, path, signal, headers: { host: "localhost" }, agent: false });
    call.on("response", resolve).on("error", reject).end();
  });
  if (response.statusCode !== 200) {
    response.destroy();
    throw new HttpError(response.statusCode ?? 0);
  }
  return response;
}
