import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the package's sources. The tests run from dist/client/ts/test. */
export const packageFolder = fileURLToPath(new URL("../../../..", import.meta.url));

/** The folder of the repository. */
export const repository = join(packageFolder, "..", "..");

/** Where tests leave logs and pictures for people; git ignores it. */
export const outputFolder = join(repository, "test-output");
