import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createRouterTransport } from "@connectrpc/connect";
import { bearer, createManager, SessionService } from "@logicspike/manager";

describe("createManager with a transport", () => {
  it("uses it as it is, with the token that bearer adds before each call", async () => {
    const seen: (string | null)[] = [];
    let token: string | undefined;
    const transport = createRouterTransport(
      ({ service }) => {
        service(SessionService, {
          getSession(_, context) {
            seen.push(context.requestHeader.get("Authorization"));
            return { session: { id: "ses_1" } };
          },
        });
      },
      { transport: { interceptors: [bearer(() => token)] } },
    );
    const { sessions } = createManager({ transport });

    assert.equal((await sessions.getSession({})).session?.id, "ses_1");
    token = "first";
    await sessions.getSession({});
    token = "second";
    await sessions.getSession({});
    await sessions.getSession({}, { headers: { Authorization: "Bearer own" } });
    assert.deepEqual(seen, [null, "Bearer first", "Bearer second", "Bearer own"]);
  });
});
