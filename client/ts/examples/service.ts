/**
 * A service of one's own, which users of the accounts server call with access tokens. It
 * verifies them by itself, and says who calls and whether they may see the workspace.
 *
 *     npm run --silent service -w client/ts -- http://localhost:8080 http://localhost:8080 8090
 *     curl -H "Authorization: Bearer $TOKEN" http://localhost:8090/workspaces/wsp_…
 */
import { createServer } from "node:http";
import { allows, callerOf, createTokenVerifier, guardNode } from "@logicspike/manager/token";

const [issuer = "http://localhost:8080", audience = issuer, port = "8090"] = process.argv.slice(2);

const guard = guardNode(createTokenVerifier({ issuer, audience }));

const server = createServer((request, response) => {
  guard(request, response, (error) => {
    if (error !== undefined) {
      console.error(error);
      return response.writeHead(500).end();
    }
    const caller = callerOf(request);
    const workspace = /^\/workspaces\/(wsp_[0-9a-z]+)$/.exec(request.url ?? "")?.[1] ?? "";
    if (!allows(caller, workspace, "workspace.get")) {
      return response.writeHead(404).end("not found\n");
    }
    return response.writeHead(200, { "Content-Type": "application/json" }).end(
      `${JSON.stringify({ user: caller.userId, workspace, role: caller.role, onBehalfOf: caller.impersonatorUserId !== undefined })}\n`,
    );
  });
});
server.listen(Number(port), "localhost", () => console.log(`http://localhost:${port} accepts tokens of ${issuer} for ${audience}`));
