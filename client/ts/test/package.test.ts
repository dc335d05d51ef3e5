import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { packageFolder, repository } from "./paths.js";
import { startServer } from "./server.js";

const run = promisify(execFile);
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
/** What `npm test` sets for its scripts would make npm here think of workspaces. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("npm_")));

describe("the package", () => {
  let project: string; // an empty project of somebody else, with the package installed
  let files: string[];

  before(async () => {
    project = mkdtempSync(join(tmpdir(), "manager-package-"));
    writeFileSync(join(project, "package.json"), JSON.stringify({ name: "somebody-elses", private: true, type: "module" }));
    const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", project], { cwd: packageFolder, env });
    const [packed] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
    files = packed.files.map((file) => file.path);
    // What the package depends on is packed, too, from this repository: no network is needed.
    const dependencies = ["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-web", "jose"];
    const folders = dependencies.map((name) => join(repository, "node_modules", name));
    const { stdout: others } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", project, ...folders], { cwd: project, env });
    const all = [packed, ...(JSON.parse(others) as [{ filename: string }])].map(({ filename }) => join(project, filename));
    await run("npm", ["install", "--offline", "--no-audit", "--no-fund", ...all], { cwd: project, env });
  });
  after(() => rmSync(project, { recursive: true, force: true }));

  it("holds the built code, and nothing of the tests", () => {
    assert.ok(files.includes("README.md"));
    assert.ok(files.includes("dist/client/ts/src/index.js"));
    assert.ok(files.includes("dist/gen/ts/logicspike/auth/v1/session_pb.d.ts"));
    assert.deepEqual(
      files.filter((file) => !/^(README\.md|LICENSE|package\.json|dist\/(client\/ts\/src|gen\/ts)\/.*(\.js|\.d\.ts))$/.test(file)),
      [],
    );
  });

  it("can be installed, type-checked and run", async () => {
    writeFileSync(
      join(project, "main.ts"),
      `import { createManager, isReason, type Session } from "@logicspike/manager";
       import { createTokenVerifier, TokenError } from "@logicspike/manager/token";
       const manager = createManager({ baseUrl: "http://localhost:1" });
       const verifier = createTokenVerifier({ issuer: "http://localhost:1", audience: "api" });
       await verifier.verifyHeader(null).catch((error: unknown) => console.log("refused", error instanceof TokenError));
       const failed = (error: unknown) => console.log("failed", isReason(error, "INTERNAL"));
       manager.sessions.getSession({}).then((answer): Session | undefined => answer.session, failed);
       export const mistakes = () => [
         // @ts-expect-error: cookies and a token do not go together
         createManager({ baseUrl: "", credentials: "cookie", sessionToken: "t" }),
         // @ts-expect-error: the request has no such field
         manager.authentication.signInWithPassword({ mail: "ada@example.com" }),
       ];
      `,
    );
    await compile("main.ts");
    const { stdout } = await run(process.execPath, ["main.js"], { cwd: project });
    assert.equal(stdout, "refused true\nfailed false\n");
  });

  it("runs the sample of its README, of which all others compile", async () => {
    const readme = readFileSync(join(packageFolder, "README.md"), "utf8");
    const samples = [...readme.matchAll(/^(<!-- sample -->\n)?```ts\n(.*?)^```/gms)].map(([, runs, code]) => ({ runs, code: code! }));
    assert.ok(samples.length >= 8, `${samples.length} samples`);
    const names = samples.map((_, n) => `sample${n}.ts`);
    // What samples take for granted: what an application has, and what a sample before it has made.
    writeFileSync(
      join(project, "given.d.ts"),
      `import type { Manager } from "@logicspike/manager";
       import type { TokenSource, TokenVerifier } from "@logicspike/manager/token";
       declare global {
         const manager: Manager, verifier: TokenVerifier, source: TokenSource;
         const email: string, password: string, workspaceId: string, code: string, answer: string;
         const keychain: { read(): Promise<string>; write(token: string): Promise<void> };
         function workspaceOf(request: Request): string;
         function showAccount(): void;
         function showError(error: unknown): void;
         const process: { env: Record<string, string | undefined> };
       }`,
    );
    for (const [n, { code }] of samples.entries()) {
      writeFileSync(join(project, names[n]!), `${code}\nexport {};\n`);
    }
    await compile("given.d.ts", ...names);

    const runs = samples.findIndex((sample) => sample.runs);
    assert.notEqual(runs, -1, "no sample is marked");
    const server = await startServer("package");
    try {
      const file = join(project, `sample${runs}.js`);
      writeFileSync(file, readFileSync(file, "utf8").replace("http://localhost:8080", server.url));
      const { stdout } = await run(process.execPath, [file], { cwd: project, timeout: 60_000 });
      assert.match(stdout, /^ada-.*@example\.com owns Analytical Engines\n$/);
    } finally {
      await server.stop();
    }
  });

  it("costs a page that only signs in less than 60 KB over the network", async (t) => {
    const whole = await zippedSize(`import { createManager, isReason } from "@logicspike/manager";
      export const manager = createManager({ baseUrl: "https://accounts.example.com", credentials: "cookie" });
      export const wrong = (error) => isReason(error, "CREDENTIALS_INVALID");`);
    const signIn = await zippedSize(`import { AuthenticationService, createClient, isReason, transportOf } from "@logicspike/manager";
      const transport = transportOf({ baseUrl: "https://accounts.example.com", credentials: "cookie" });
      export const authentication = createClient(AuthenticationService, transport);
      export const wrong = (error) => isReason(error, "CREDENTIALS_INVALID");`);
    t.diagnostic(`sign-in only: ${signIn} bytes; with all services: ${whole} bytes (minified, gzip)`);
    assert.ok(signIn < 60_000, `${signIn} bytes`);
    assert.ok(whole < 90_000, `${whole} bytes`);
  });

  it("costs a bundle only what is used", async () => {
    const all = await bundledSize(`export * from "@logicspike/manager"`);
    const errors = await bundledSize(`export { reasonOf } from "@logicspike/manager"`);
    assert.ok(errors < all / 4, `${errors} of ${all} bytes`);
    const passkeys = await bundledSize(`export { passkeys } from "@logicspike/manager"`);
    assert.ok(passkeys < all / 4, `${passkeys} of ${all} bytes`);
    assert.ok(!(await bundled(`export * from "@logicspike/manager"`)).includes("at+jwt"), "browsers get what services need");
  });

  /** Compiles files of the project, strictly. */
  async function compile(...names: string[]): Promise<void> {
    const options = { target: "ES2022", module: "NodeNext", lib: ["ES2022", "DOM", "DOM.Iterable"], types: [], strict: true };
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: names }));
    await run(process.execPath, [tsc], { cwd: project }).catch((error: { stdout: string }) => assert.fail(error.stdout));
  }

  async function zippedSize(contents: string): Promise<number> {
    return gzipSync(await bundled(contents), { level: 9 }).length;
  }

  async function bundledSize(contents: string): Promise<number> {
    return (await bundled(contents)).length;
  }

  async function bundled(contents: string): Promise<string> {
    const { outputFiles } = await build({
      stdin: { contents, resolveDir: project },
      bundle: true,
      minify: true,
      format: "esm",
      write: false,
    });
    return outputFiles[0]!.text;
  }
});
