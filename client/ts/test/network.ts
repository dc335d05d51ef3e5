import { createServer, request as send, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What becomes of a call on its way to the server. */
export type Fault =
  /** It has its effect, and the answer is lost. */
  | "lost"
  /** It has its effect, and half of the answer is lost. */
  | "cut"
  /** It is lost itself. */
  | "never"
  /** A proxy answers whose server is gone. */
  | "gateway"
  /** The server answers by this error. */
  | { code: string; reason?: string; retryAfter?: number };

/** What lies between a client and a server. */
export interface Network {
  readonly url: string;
  /** Says what becomes of the next calls of a method. */
  fail(method: string, ...faults: Fault[]): void;
  /** Tells when the method was called since then. */
  times(method: string): number[];
  close(): void;
}

/** Leads to a server from a port of its own. */
export async function startNetwork(to: string): Promise<Network> {
  const faults: Record<string, Fault[]> = {};
  const calls: Record<string, number[]> = {};
  const server = createServer((request, response) => {
    const method = request.url!.replace(/.*\//, "");
    const fault = request.method === "POST" ? ((calls[method] ??= []).push(Date.now()), faults[method]?.shift()) : undefined;
    const drop = () => void response.socket?.destroy();
    if (fault === "never") {
      drop();
    } else if (fault === "gateway") {
      response.writeHead(502).end("bad gateway");
    } else if (typeof fault === "object") {
      answer(response, fault);
    } else {
      forward(to, request).then(({ answer, body }) => {
        if (fault === "lost") {
          return drop();
        }
        response.writeHead(answer.statusCode!, answer.headers);
        if (fault === "cut") {
          return response.write(body.subarray(0, body.length / 2), drop);
        }
        return response.end(body);
      }, drop);
    }
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    fail(method, ...list) {
      faults[method] = list;
      calls[method] = [];
    },
    times: (method) => calls[method] ?? [],
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function forward(to: string, request: IncomingMessage): Promise<{ answer: IncomingMessage; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const headers = { ...request.headers, host: new URL(to).host, connection: "close" };
    const onward = send(new URL(request.url!, to), { method: request.method!, headers }, (answer) => {
      const parts: Buffer[] = [];
      answer.on("data", (part: Buffer) => parts.push(part)).on("error", reject);
      answer.on("end", () => resolve({ answer, body: Buffer.concat(parts) }));
    });
    request.pipe(onward.on("error", reject));
  });
}

/** Answers by an error of Connect, its reason as google.rpc.ErrorInfo: reason = 1, domain = 2. */
function answer(response: ServerResponse, { code, reason, retryAfter }: Exclude<Fault, string>): void {
  const field = (number: number, text: string) => [number * 8 + 2, text.length, ...Buffer.from(text)];
  const details = reason === undefined ? [] : [{ type: "google.rpc.ErrorInfo", value: Buffer.from([...field(1, reason), ...field(2, "manager.logicspike")]).toString("base64") }];
  const headers = { "Content-Type": "application/json", ...(retryAfter === undefined ? {} : { "Retry-After": `${retryAfter}` }) };
  response.writeHead(503, headers).end(JSON.stringify({ code, details }));
}
