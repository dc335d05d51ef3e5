import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, errorInfoOf, isReason, reasonOf, retryAfterSeconds, violationsOf } from "@logicspike/manager";

const domain = "manager.logicspike";

describe("reasonOf", () => {
  it("is the reason that the server gave", () => {
    const error = failure(errorInfo("REAUTHENTICATION_REQUIRED", domain, { request_id: "r1" }));
    assert.equal(reasonOf(error), "REAUTHENTICATION_REQUIRED");
    assert.ok(isReason(error, "REAUTHENTICATION_REQUIRED"));
    assert.ok(!isReason(error, "SESSION_REQUIRED"));
    // @ts-expect-error: a name that is no reason does not compile
    assert.ok(!isReason(error, "REAUTHENTICATE"));
    assert.deepEqual(errorInfoOf(error), { reason: "REAUTHENTICATION_REQUIRED", domain, metadata: { request_id: "r1" } });
  });

  it("is undefined for reasons of a newer server, which errorInfoOf still tells", () => {
    for (const name of ["NOT_YET_INVENTED", "UNSPECIFIED", "1", "", "toString"]) {
      const error = failure(errorInfo(name, domain));
      assert.equal(reasonOf(error), undefined, name);
      assert.equal(errorInfoOf(error)?.reason, name);
    }
  });

  it("is undefined for what is no answer of this API", () => {
    const others = [
      failure(),
      failure(errorInfo("NOT_FOUND", "example.com")),
      failure({ type: "google.rpc.ErrorInfo", value: new Uint8Array([0xff, 0xff, 0xff]) }),
      new TypeError("fetch failed"),
      "NOT_FOUND",
      undefined,
    ];
    for (const error of others) {
      assert.equal(reasonOf(error), undefined);
      assert.equal(errorInfoOf(error), undefined);
    }
  });
});

describe("violationsOf", () => {
  it("lists the fields in order", () => {
    const error = failure(errorInfo("FIELD_INVALID", domain), badRequest(["email", "is no address"], ["workspace_name", "is too long"]));
    assert.deepEqual(violationsOf(error), [
      { field: "email", description: "is no address" },
      { field: "workspace_name", description: "is too long" },
    ]);
  });

  it("is empty when no field is wrong", () => {
    assert.deepEqual(violationsOf(failure(errorInfo("NOT_FOUND", domain))), []);
    assert.deepEqual(violationsOf(new Error("other")), []);
  });
});

describe("retryAfterSeconds", () => {
  it("is what the detail says, else what the header says", () => {
    assert.equal(retryAfterSeconds(failure(retryInfo(2n, 500_000_000))), 2.5);
    const error = failure();
    error.metadata.set("Retry-After", "7");
    assert.equal(retryAfterSeconds(error), 7);
  });

  it("is undefined when the server did not say", () => {
    const date = failure();
    date.metadata.set("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT");
    for (const error of [date, failure(), failure({ type: "google.rpc.RetryInfo", value: new Uint8Array() }), new Error("other")]) {
      assert.equal(retryAfterSeconds(error), undefined);
    }
  });
});

interface Detail {
  type: string;
  value: Uint8Array;
}

/** An error as it comes from the network. */
function failure(...details: Detail[]): ConnectError {
  const error = new ConnectError("no", Code.FailedPrecondition);
  error.details = [{ type: "google.rpc.Help", value: new Uint8Array([1]) }, ...details];
  return error;
}

function errorInfo(reason: string, from: string, metadata: Record<string, string> = {}): Detail {
  // Field 15 stands for one that is added later.
  const writer = new BinaryWriter().tag(15, WireType.Varint).uint32(1).tag(1, WireType.LengthDelimited).string(reason);
  writer.tag(2, WireType.LengthDelimited).string(from);
  for (const entry of Object.entries(metadata)) {
    writer.tag(3, WireType.LengthDelimited).bytes(strings(...entry));
  }
  return { type: "google.rpc.ErrorInfo", value: writer.finish() };
}

function badRequest(...violations: [field: string, description: string][]): Detail {
  const writer = new BinaryWriter();
  for (const violation of violations) {
    writer.tag(1, WireType.LengthDelimited).bytes(strings(...violation));
  }
  return { type: "google.rpc.BadRequest", value: writer.finish() };
}

function retryInfo(seconds: bigint, nanos: number): Detail {
  const delay = toBinary(DurationSchema, create(DurationSchema, { seconds, nanos }));
  return { type: "google.rpc.RetryInfo", value: new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(delay).finish() };
}

/** A message whose fields 1 and 2 are strings. */
function strings(first: string, second: string): Uint8Array {
  return new BinaryWriter().tag(1, WireType.LengthDelimited).string(first).tag(2, WireType.LengthDelimited).string(second).finish();
}
