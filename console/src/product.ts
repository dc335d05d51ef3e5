import { useDocumentTitle } from "@mantine/hooks";

/** What people call the application, as the server has told the page; nothing without one (npm run dev). */
export const product = document.querySelector<HTMLMetaElement>("meta[name=application-name]")?.content ?? "";

/** Names the page in the browser by what it is about. */
export function usePageTitle(...about: string[]): void {
  useDocumentTitle([...about, product].filter((part) => part !== "").join(" · "));
}
