const key = "manager.workspace";

/** The workspace that was looked at last in this browser, by its slug: no more than a convenience. */
export const lastWorkspace = {
  read(): string | undefined {
    return localStorage.getItem(key) ?? undefined;
  },
  write(slug: string): void {
    localStorage.setItem(key, slug);
  },
};
