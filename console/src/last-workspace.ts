const key = "manager.workspace";

/** The workspace that was looked at last in this browser, by its slug: no more than a convenience, and none where the browser keeps nothing. */
export const lastWorkspace = {
  read(): string | undefined {
    try {
      return localStorage.getItem(key) ?? undefined;
    } catch {
      return undefined;
    }
  },
  write(slug: string): void {
    try {
      localStorage.setItem(key, slug);
    } catch {
      // The first workspace will do.
    }
  },
};
