import { createSocket } from "node:dgram";
import type { AddressInfo } from "node:net";

/** A DNS server that knows one record, of type TXT, by whatever name it is asked for. */
export interface Dns {
  /** Where it is, as host:port. */
  readonly address: string;
  /** What the record holds; none while it is empty. */
  record: string;
  stop(): void;
}

const answersOneQuestion = 0x8180;
const noSuchName = 3;

/** Starts a DNS server on a free port of this machine. */
export async function startDns(): Promise<Dns> {
  const socket = createSocket("udp4");
  socket.on("message", (asked, { port, address }) => socket.send(answer(asked, dns.record), port, address));
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const dns: Dns = {
    address: `127.0.0.1:${(socket.address() as AddressInfo).port}`,
    record: "",
    stop: () => socket.close(),
  };
  return dns;
}

/** Answers a question (RFC 1035, 4.1). */
function answer(asked: Buffer, record: string): Buffer {
  let end = 12;
  while (asked[end] !== 0) {
    end += asked[end]! + 1;
  }
  const question = asked.subarray(12, end + 5);
  const header = Buffer.alloc(12);
  asked.copy(header, 0, 0, 2);
  header.writeUInt16BE(answersOneQuestion | (record === "" ? noSuchName : 0), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(record === "" ? 0 : 1, 6);
  if (record === "") {
    return Buffer.concat([header, question]);
  }
  const text = Buffer.from(record);
  const about = Buffer.from([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, text.length + 1, text.length]); // its name, TXT, IN, no caching
  return Buffer.concat([header, question, about, text]);
}
