import { execFileSync, spawn } from "node:child_process";
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { outputFolder, repository } from "./paths.js";

const startTimeout = 60_000;
const stopTimeout = 30_000;
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A real server of one test file's own, with a database of its own. */
export interface Server {
  /** Where it is, for example `http://localhost:40123`. */
  readonly url: string;
  /** Ends it in order and removes its data. It is rejected if the server fails in that. */
  stop(): Promise<void>;
}

/**
 * Starts `bin/manager serve` on a free port, with a private PostgreSQL in a new folder,
 * and waits until it is ready. Its log goes to test-output/<name>.log. The variable TEST_DATA
 * may name a folder that `manager migrate up` has made, to begin with a copy of.
 *
 * @param settings - environment variables `MANAGER_*` beside the usual ones
 */
export async function startServer(name: string, settings: Record<string, string> = {}): Promise<Server> {
  const program = process.env["MANAGER_PROGRAM"] ?? join(repository, "bin", "manager");
  if (!existsSync(program)) {
    throw new Error(`${program} is missing: run \`make build\``);
  }
  const data = mkdtempSync(join(dataParent(), "manager-test-"));
  chmodSync(data, 0o755); // As root, PostgreSQL runs as another user.
  const prepared = process.env["TEST_DATA"];
  if (prepared) {
    execFileSync("cp", ["-a", `${prepared}/.`, data]);
  }
  mkdirSync(outputFolder, { recursive: true });
  const logFile = join(outputFolder, `${name}.log`);
  const log = openSync(logFile, "w");

  const port = await freePort();
  const url = `http://localhost:${port}`;
  const child = spawn(program, ["serve"], {
    stdio: ["ignore", log, log],
    detached: true, // Or Ctrl-C would reach it twice, and it would not end in order.
    env: {
      ...environmentWithoutSettings(),
      MANAGER_LISTEN: `localhost:${port}`,
      MANAGER_ADMIN_LISTEN: "",
      MANAGER_PUBLIC_URL: url,
      MANAGER_DATA_DIR: data,
      MANAGER_PUBLIC_RATE: "10000",
      MANAGER_PUBLIC_BURST: "10000",
      ...settings,
    },
  });
  closeSync(log);
  const told = () => child.kill("SIGTERM");
  const interrupted = () => void stop().finally(() => process.exit(1));
  process.once("exit", told); // However this process ends, the server does not outlive it.
  for (const signal of signals) {
    process.once(signal, interrupted);
  }

  const exited = new Promise<string | undefined>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (status, signal) => resolve(status === 0 ? undefined : `it ended with ${signal ?? `status ${status}`}`));
  });
  const failed = (what: string) => new Error(`${what}; its log:\n${readFileSync(logFile, "utf8").slice(-4000)}`);

  const stop = async () => {
    told();
    const late = AbortSignal.timeout(stopTimeout);
    late.onabort = () => child.kill("SIGKILL");
    const failure = await exited;
    late.onabort = null;
    process.off("exit", told);
    for (const signal of signals) {
      process.off(signal, interrupted);
    }
    rmSync(data, { recursive: true, force: true });
    if (failure !== undefined) {
      throw failed(`the server did not stop in order: ${failure}`);
    }
  };

  let early: string | undefined;
  void exited.then((failure) => (early = failure ?? "it ended"));
  for (const deadline = Date.now() + startTimeout; !(await isReady(url)); await sleep(25)) {
    if (early !== undefined || Date.now() > deadline) {
      const error = failed(`the server did not start: ${early ?? "it was not ready in time"}`);
      await stop().catch(() => undefined);
      throw error;
    }
  }
  return { url, stop };
}

/** Where Linux keeps files in memory, if it has room: what PostgreSQL writes is safe there at once. Else the system's folder. */
function dataParent(): string {
  const memory = "/dev/shm";
  if (process.env["TMPDIR"] === undefined && existsSync(memory)) {
    const { bavail, bsize } = statfsSync(memory);
    if (bavail * bsize >= 4 * 2 ** 30) {
      return memory;
    }
  }
  return tmpdir();
}

/** Returns a port of localhost that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "localhost", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function isReady(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/readyz`);
    await answer.text();
    return answer.ok;
  } catch {
    return false; // It does not listen yet.
  }
}

function environmentWithoutSettings(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("MANAGER_")));
}
