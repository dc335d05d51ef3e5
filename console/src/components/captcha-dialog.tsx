import { Stack, Text, useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { captcha } from "../captcha";
import type { Asking } from "../question";
import { captchaTexts as texts } from "../texts/captcha";
import { Dialog as Frame } from "./dialog";
import { Failure } from "./states";

/** What all providers of CAPTCHAs have in common. */
interface Provider {
  render(
    box: HTMLElement,
    options: { sitekey: string; theme: "light" | "dark"; size: "compact" | "normal"; callback: (answer: string) => void; "error-callback": () => void },
  ): unknown;
}

declare global {
  interface Window {
    /** Called by the provider's script once it can be used. */
    captchaLoaded?: () => void;
  }
}

const timeout = 15_000;
let provider: Promise<Provider> | undefined;

/** Shows the CAPTCHA of the server, which is loaded only now, until it is solved. */
export default function Dialog({ done, cancel }: Asking<string>) {
  return (
    <Frame title={texts.title} close={cancel} closeOnClickOutside={false} zIndex={300}>
      <Stack>
        <Text size="sm">{texts.text}</Text>
        <Widget done={done} />
      </Stack>
    </Frame>
  );
}

function Widget({ done }: { done: (answer: string) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const solved = useRef(done);
  const theme = useComputedColorScheme("light");
  const [attempt, setAttempt] = useState(0);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let left = false;
    setFailed(false);
    load().then(
      (provider) => {
        if (left || !box.current) {
          return;
        }
        const place = document.createElement("div"); // No provider shows two in one place.
        box.current.replaceChildren(place);
        provider.render(place, {
          sitekey: captcha?.content ?? "",
          theme,
          size: window.innerWidth < 400 ? "compact" : "normal",
          callback: (answer) => solved.current(answer),
          "error-callback": () => setFailed(true),
        });
      },
      () => setFailed(true),
    );
    return () => {
      left = true;
    };
  }, [attempt, theme]);
  return (
    <>
      <div ref={box} role="group" aria-label={texts.widget} style={{ minHeight: 80 }} />
      {failed && <Failure text={texts.unavailable} retry={() => setAttempt(attempt + 1)} />}
    </>
  );
}

/** Loads the provider's script, once. */
function load(): Promise<Provider> {
  provider ??= new Promise<Provider>((resolve, reject) => {
    const script = document.createElement("script");
    const fail = () => {
      script.remove();
      provider = undefined; // The next time is another try.
      reject(new Error("the script of the CAPTCHA did not load"));
    };
    const late = setTimeout(fail, timeout);
    window.captchaLoaded = () => {
      clearTimeout(late);
      resolve((window as unknown as Record<string, Provider>)[captcha?.dataset["object"] ?? ""]!);
    };
    script.addEventListener("error", fail);
    script.src = captcha?.dataset["script"] ?? "";
    script.async = true;
    document.head.append(script);
  });
  return provider;
}
