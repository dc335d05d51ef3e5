/** What a client's word for itself tells people. */
export interface Client {
  /** As in Firefox; undefined for what is no known browser. */
  browser?: string;
  /** As in macOS. */
  system?: string;
  mobile: boolean;
}

// The first that fits: most name themselves after others as well.
const browsers = [
  [/Edg(e|A|iOS)?\//, "Edge"],
  [/OPR\/|Opera/, "Opera"],
  [/SamsungBrowser\//, "Samsung Internet"],
  [/Firefox\/|FxiOS\//, "Firefox"],
  [/Chrome\/|CriOS\/|Chromium\//, "Chrome"],
  [/Safari\//, "Safari"],
] as const;

const systems = [
  [/iPhone|iPod/, "iPhone"],
  [/iPad/, "iPad"],
  [/Android/, "Android"],
  [/Windows/, "Windows"],
  [/Mac OS X|Macintosh/, "macOS"],
  [/CrOS/, "ChromeOS"],
  [/Linux/, "Linux"],
] as const;

/** Tells browser and system by a `User-Agent`, as far as it is honest. */
export function clientOf(userAgent: string): Client {
  const browser = browsers.find(([pattern]) => pattern.test(userAgent))?.[1];
  const system = systems.find(([pattern]) => pattern.test(userAgent))?.[1];
  return { ...(browser && { browser }), ...(system && { system }), mobile: /Mobi|Android|iPad/.test(userAgent) };
}
