import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The running server that `npm run dev` passes calls on to.
const server = "http://localhost:8080";

function folder(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { "@gen": folder("../gen/ts/logicspike"), "@client": folder("../client/ts/src") } },
  build: { assetsDir: "console", target: "es2022", modulePreload: { polyfill: false }, chunkSizeWarningLimit: 700 },
  server: {
    proxy: Object.fromEntries(["/logicspike.", "/external-sign-in/", "/mailbox/", "/pages/"].map((path) => [path, server])),
  },
});
