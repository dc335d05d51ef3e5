import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { build } from "esbuild";
import { packageFolder, repository } from "./paths.js";

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
    // What the package depends on comes from this repository, so that no network is needed.
    const dependencies = ["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-web", "jose"];
    const folders = dependencies.map((name) => join(repository, "node_modules", name));
    await run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(project, packed.filename), ...folders], { cwd: project, env });
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
    const options = { target: "ES2022", module: "NodeNext", lib: ["ES2022", "DOM"], types: [], strict: true };
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["main.ts"] }));
    await run(process.execPath, [tsc], { cwd: project });
    const { stdout } = await run(process.execPath, ["main.js"], { cwd: project });
    assert.equal(stdout, "refused true\nfailed false\n");
  });

  it("costs a bundle only what is used", async () => {
    const all = await bundledSize(`export * from "@logicspike/manager"`);
    const errors = await bundledSize(`export { reasonOf } from "@logicspike/manager"`);
    assert.ok(errors < all / 4, `${errors} of ${all} bytes`);
    const passkeys = await bundledSize(`export { passkeys } from "@logicspike/manager"`);
    assert.ok(passkeys < all / 4, `${passkeys} of ${all} bytes`);
    assert.ok(!(await bundled(`export * from "@logicspike/manager"`)).includes("at+jwt"), "browsers get what services need");
  });

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
