// The details that errors of the API carry: three messages of google.rpc, which are as
// good as frozen. Read here by field number, they need no generated code.
import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { DurationSchema } from "@bufbuild/protobuf/wkt";

/** Why a call failed, for programs (`google.rpc.ErrorInfo`). */
export interface ErrorInfo {
  /** The reason's name, for example `FIELD_INVALID`. */
  readonly reason: string;
  /** Who gives the reason: `manager.logicspike`. */
  readonly domain: string;
  /** What belongs to the reason, by name. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** A field of the request that is wrong (`google.rpc.BadRequest.FieldViolation`). */
export interface FieldViolation {
  /** The field's name as in the proto file, for example `workspace_name`. */
  readonly field: string;
  /** What is wrong with it, for people. */
  readonly description: string;
}

export function decodeErrorInfo(value: Uint8Array): ErrorInfo {
  const info = { reason: "", domain: "", metadata: {} as Record<string, string> };
  for (const [number, bytes] of fieldsOf(value)) {
    switch (number) {
      case 1:
        info.reason = text(bytes);
        break;
      case 2:
        info.domain = text(bytes);
        break;
      case 3: {
        const entry = stringsOf(bytes);
        info.metadata[entry[1] ?? ""] = entry[2] ?? "";
        break;
      }
    }
  }
  return info;
}

export function decodeBadRequest(value: Uint8Array): FieldViolation[] {
  return fieldsOf(value)
    .filter(([number]) => number === 1)
    .map(([, bytes]) => {
      const violation = stringsOf(bytes);
      return { field: violation[1] ?? "", description: violation[2] ?? "" };
    });
}

/** Returns seconds, or undefined if the message names no time. */
export function decodeRetryInfo(value: Uint8Array): number | undefined {
  for (const [number, bytes] of fieldsOf(value)) {
    if (number === 1) {
      const delay = fromBinary(DurationSchema, bytes);
      return Number(delay.seconds) + delay.nanos / 1e9;
    }
  }
  return undefined;
}

/** Returns the strings, bytes and messages among the fields of a message, in order. */
function fieldsOf(message: Uint8Array): [number: number, bytes: Uint8Array][] {
  const reader = new BinaryReader(message);
  const fields: [number, Uint8Array][] = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type === WireType.LengthDelimited) {
      fields.push([number, reader.bytes()]);
    } else {
      reader.skip(type, number);
    }
  }
  return fields;
}

/** Returns the fields of a message that holds strings only, by number. */
function stringsOf(message: Uint8Array): Partial<Record<number, string>> {
  return Object.fromEntries(fieldsOf(message).map(([number, bytes]) => [number, text(bytes)]));
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
