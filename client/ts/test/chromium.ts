import { execFileSync } from "node:child_process";
import { chromium, type Browser } from "playwright-core";

// The first one is Chromium without its windows, which takes a quarter less.
const names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];

/**
 * Starts the Chromium of this machine, named by the variable CHROMIUM or found on PATH,
 * with a profile that is new and goes with it. It fails when there is none.
 */
export async function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: findChromium(),
    headless: true,
    // On a signal, the servers end in order first; with this process the browser ends too.
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--js-flags=--no-opt --no-maglev --single-threaded-gc", // Pages live for seconds: optimizing their scripts never pays.
      "--process-per-site", // A process for each page costs more than what most tests do.
    ],
  });
}

function findChromium(): string {
  const named = process.env["CHROMIUM"];
  if (named) {
    return named;
  }
  for (const name of names) {
    try {
      return execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
    } catch {
      // The next one.
    }
  }
  throw new Error("This test needs Chromium. Install it (Debian: apt-get install chromium-headless-shell), or name it: CHROMIUM=/path/to/it");
}
