import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build } from "esbuild";
import { packageFolder } from "./paths.js";

/** A web server with one page. */
export interface Site {
  readonly port: number;
  close(): void;
}

/** Bundles a script of this folder as an application would do it, from the built package. */
export async function bundlePage(name = "page.ts"): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(packageFolder, "test", name)],
    bundle: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  return outputFiles[0]!.text;
}

/**
 * Serves page.html with the script on 127.0.0.1, which a browser
 * also tries for localhost: so on the origins http://localhost:PORT and
 * http://127.0.0.1:PORT. The page calls the API at apiUrl.
 *
 * @param port - default: a free one
 */
export async function startSite(script: string, apiUrl: string, port = 0): Promise<Site> {
  const html = readFileSync(join(packageFolder, "test", "page.html"), "utf8").replace("{{api}}", apiUrl);
  const server = createServer((request, response) => {
    switch (request.url) {
      case "/":
        return response.setHeader("Content-Type", "text/html; charset=utf-8").end(html);
      case "/page.js":
        return response.setHeader("Content-Type", "text/javascript; charset=utf-8").end(script);
    }
    return response.writeHead(404).end();
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
