import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

// The running server that `npm run dev` passes on what is the server's to: calls, the pages that
// mails link to with their assets, ways back from identity providers, the mailbox, public keys.
const server = process.env.MANAGER_URL || "http://localhost:8080";
const served = [
  "/logicspike.", "/external-sign-in/", "/mailbox/", "/.well-known/", "/pages/",
  "/verify-registration", "/accept-invitation", "/reset-password", "/confirm-email", "/sign-in-by-email",
];

function folder(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}

/** Leaves compressed forms beside the built files, for console.go to serve. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    writeBundle: ({ dir }) => {
      const assets = join(dir!, "console");
      for (const name of readdirSync(assets).filter((name) => /\.(js|css)$/.test(name))) {
        const content = readFileSync(join(assets, name));
        if (content.length > 1024) {
          writeFileSync(join(assets, `${name}.br`), brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_LGWIN]: 22, [constants.BROTLI_PARAM_SIZE_HINT]: content.length } }));
          writeFileSync(join(assets, `${name}.gz`), gzipSync(content, { level: 9 }));
        }
      }
    },
  };
}

/** Leaves the schema of the rules out of the generated files: it is large, and first pages do without. */
function withoutRules(): Plugin {
  return {
    name: "without-rules",
    enforce: "pre",
    resolveId: (source, importer) => (source.endsWith("/buf/validate/validate_pb.js") && importer?.includes("/gen/ts/") ? folder("src/no-rules.ts") : null),
  };
}

export default defineConfig({
  plugins: [withoutRules(), react(), compressed()],
  resolve: { alias: { "@gen": folder("../gen/ts/logicspike"), "@client": folder("../client/ts/src") } },
  build: { assetsDir: "console", target: "es2022", modulePreload: { polyfill: false }, chunkSizeWarningLimit: 700 },
  server: {
    proxy: Object.fromEntries(
      served.map((path) => [
        path,
        { target: server, changeOrigin: false }, // The server takes calls from the host that it is asked as.
      ]),
    ),
  },
});
